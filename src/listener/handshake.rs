//! The TLS handshake of a connection: its deadline, and what is logged of those that fail.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::idle_timeout::IdleTimeout;
use super::secured_stream::SecuredStream;
use crate::metrics::{AuthFailure, Metrics};
use crate::telemetry::Sampler;
use crate::tls::ServerTls;

/// The TLS handshakes of an API.
#[derive(Debug)]
pub(super) struct Handshakes {
    api: Api,
    /// `None` if the API speaks without TLS.
    tls: Option<Arc<ServerTls>>,
    limit: Duration,
    metrics: Metrics,
    warnings: Sampler,
}

impl Handshakes {
    /// `limit`: how long a handshake may take.
    pub(super) fn new(api: Api, tls: Option<Arc<ServerTls>>, limit: Duration, metrics: &Metrics) -> Self {
        Self { api, tls, limit, metrics: metrics.clone(), warnings: Sampler::of_warnings() }
    }

    /// The configuration for a new connection.
    fn config(&self) -> Option<Arc<ServerConfig>> {
        let configs = self.tls.as_ref()?.current();
        Some(Arc::clone(match self.api {
            Api::Grpc => &configs.grpc,
            Api::Http => &configs.http,
        }))
    }

    /// Does the handshake of a connection, if the API speaks TLS. `None` if it fails, takes too long, or is overtaken
    /// by the shutdown.
    pub(super) async fn accept(&self, stream: IdleTimeout, shutdown: &CancellationToken) -> Option<SecuredStream> {
        let handshake = timeout(self.limit, SecuredStream::accept(stream, self.config()));
        let result = tokio::select! {
            biased;
            result = handshake => result,
            () = shutdown.cancelled() => return None,
        };
        match result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.report(&error);
                None
            }
        }
    }

    fn report(&self, error: &io::Error) {
        let api = self.api.name();
        tracing::debug!(api, %error, "TLS handshake failed");
        // All else is normal on an open port: probes that connect and close, resets, clients that are too slow.
        let is_refused_by_tls = error.kind() == io::ErrorKind::InvalidData;
        if !is_refused_by_tls {
            return;
        }
        self.metrics.count_auth_failure(AuthFailure::Handshake);
        if let Some(handshakes) = self.warnings.count() {
            tracing::warn!(api, handshakes, %error, "TLS handshakes failed; this is the reason of the last one");
        }
    }
}
