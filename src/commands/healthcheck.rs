//! `identity healthcheck`: asks a running service for its health.

use std::time::Duration;

use clap::Args;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::settings::{ListenAddr, value};

/// How to ask for health.
#[derive(Clone, Debug, Args)]
pub struct HealthcheckArgs {
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = value::timeout())]
    pub timeout: Duration,
}

/// Why a service does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum Unhealthy {
    /// Port 0 is whichever was free: it cannot be asked for.
    #[error("port 0 of the gRPC address says nothing about where the service listens")]
    UnknownPort,
    /// No answer in time.
    #[error("no answer from {0} within {timeout}", timeout = humantime::format_duration(*.1))]
    Timeout(ListenAddr, Duration),
    /// Nobody listens there, or it is no gRPC server.
    #[error("cannot reach {0}")]
    Unreachable(ListenAddr, #[source] tonic::transport::Error),
    /// The service answered with an error.
    #[error("{0} answered {code:?}", code = .1)]
    Refused(ListenAddr, tonic::Code),
    /// The service says that it is not serving.
    #[error("{0} says {status}", status = .1.as_str_name())]
    NotServing(ListenAddr, ServingStatus),
}

/// Whether the service that listens at `addr` says SERVING, within `timeout` in all. An address that means
/// every interface is asked at loopback.
///
/// # Errors
/// [`Unhealthy`] says why not.
pub async fn healthcheck(addr: &ListenAddr, timeout: Duration) -> Result<(), Unhealthy> {
    if addr.port() == 0 {
        return Err(Unhealthy::UnknownPort);
    }
    let addr = addr.reachable_locally();
    match tokio::time::timeout(timeout, status(&addr)).await {
        Ok(status) => match status? {
            ServingStatus::Serving => Ok(()),
            status @ (ServingStatus::Unknown | ServingStatus::NotServing | ServingStatus::ServiceUnknown) => {
                Err(Unhealthy::NotServing(addr, status))
            }
        },
        Err(_) => Err(Unhealthy::Timeout(addr, timeout)),
    }
}

async fn status(addr: &ListenAddr) -> Result<ServingStatus, Unhealthy> {
    let unreachable = |error| Unhealthy::Unreachable(addr.clone(), error);
    let channel = Endpoint::from_shared(format!("http://{addr}")).map_err(unreachable)?;
    let channel = channel.connect().await.map_err(unreachable)?;
    // The empty name is the server as a whole.
    let request = HealthCheckRequest { service: String::new() };
    let answer = HealthClient::new(channel).check(request).await;
    Ok(answer.map_err(|status| Unhealthy::Refused(addr.clone(), status.code()))?.into_inner().status())
}
