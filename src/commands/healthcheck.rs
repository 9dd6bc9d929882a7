//! `identity healthcheck`: checks the health of a running service.

use std::error::Error;
use std::time::Duration;

use clap::Args;
use tonic::Status;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::settings::{ListenAddr, Settings, value};
use crate::tls::{ClientTls, ClientTlsArgs, ClientTlsError, WithoutAuthority, connect_grpc};

/// The arguments of `identity healthcheck`.
#[derive(Clone, Debug, Args)]
pub struct HealthcheckArgs {
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = value::timeout())]
    pub timeout: Duration,
    /// How to speak TLS.
    #[command(flatten)]
    pub tls: ClientTlsArgs,
}

/// Why a service is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// The gRPC address has port 0, which stands for any free port.
    #[error("port 0 of the gRPC address does not say where the service listens")]
    UnknownPort,
    /// The command cannot speak TLS.
    #[error(transparent)]
    Tls(#[from] ClientTlsError),
    /// No answer in time.
    #[error("no answer from {0} within {timeout}", timeout = humantime::format_duration(*.1))]
    Timeout(ListenAddr, Duration),
    /// No server listens at the address, or the server does not speak gRPC.
    #[error("cannot reach {0}")]
    Unreachable(ListenAddr, #[source] tonic::transport::Error),
    /// The connection ended without an answer. The text says what may be missing.
    #[error("{0} ended the connection without an answer: {1}")]
    NoAnswer(ListenAddr, &'static str),
    /// The service answered with an error.
    #[error("{0} answered {code:?}", code = .1)]
    Refused(ListenAddr, tonic::Code),
    /// The service answered with a status other than SERVING.
    #[error("{0} says {status}", status = .1.as_str_name())]
    NotServing(ListenAddr, ServingStatus),
}

/// Succeeds if the service of these settings answers SERVING in time, which includes the connection.
///
/// If its address stands for every interface, it connects to the loopback address.
///
/// # Errors
/// [`Unhealthy`] says why the service is not healthy.
pub async fn healthcheck(args: &HealthcheckArgs, settings: &Settings) -> Result<(), Unhealthy> {
    let addr = &settings.listen.grpc_addr;
    if addr.port() == 0 {
        return Err(Unhealthy::UnknownPort);
    }
    let addr = addr.reachable_locally();
    let tls = ClientTls::new(&args.tls, &settings.tls, WithoutAuthority::Any)?;
    let without_answer = match (&tls, &args.tls.client_cert) {
        (None, _) => "if the service speaks TLS, give --ca, or TLS_CERT as the service has it",
        (Some(_), None) => "if the service asks for a client certificate, give --client-cert and --client-key",
        (Some(_), Some(_)) => {
            "it may not accept the client certificate; TLS_CLIENT_CA of the service has the authority"
        }
    };
    match tokio::time::timeout(args.timeout, query_status(&addr, tls.as_ref(), without_answer)).await {
        Ok(status) => match status? {
            ServingStatus::Serving => Ok(()),
            status @ (ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown) => {
                Err(Unhealthy::NotServing(addr, status))
            }
        },
        Err(_) => Err(Unhealthy::Timeout(addr, args.timeout)),
    }
}

async fn query_status(
    addr: &ListenAddr,
    tls: Option<&ClientTls>,
    without_answer: &'static str,
) -> Result<ServingStatus, Unhealthy> {
    let channel = connect_grpc(addr, tls, |endpoint| endpoint).await;
    let channel = channel.map_err(|error| Unhealthy::Unreachable(addr.clone(), error))?;
    // The empty name stands for the whole server.
    let request = HealthCheckRequest { service: String::new() };
    let answer = HealthClient::new(channel).check(request).await;
    let unhealthy = |status: Status| match status.source() {
        // The status is not from the service.
        Some(_) => Unhealthy::NoAnswer(addr.clone(), without_answer),
        None => Unhealthy::Refused(addr.clone(), status.code()),
    };
    Ok(answer.map_err(unhealthy)?.into_inner().status())
}
