//! The service in this process, with a caller.

#[path = "../../shared/running_service.rs"]
mod running_service;

use std::net::SocketAddr;

use running_service::RunningService;

use super::{Caller, TestDatabase};

/// A running replica.
pub struct Service {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    pub metrics: Option<SocketAddr>,
    running: RunningService,
}

impl Service {
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(&database.url, &[]).await
    }

    /// With flags as on the command line.
    pub async fn start_with(url: &str, flags: &[&str]) -> Self {
        let running = RunningService::start(url, flags).await.expect("the service starts");
        Self { grpc: running.grpc, http: running.http, metrics: running.metrics, running }
    }

    pub fn caller(&self) -> Caller {
        Caller::new(self.grpc, self.http)
    }

    /// A caller with a token.
    pub fn caller_with(&self, token: &str) -> Caller {
        Caller::with_token(self.grpc, self.http, Some(token))
    }

    /// Drains it and waits until it has ended.
    pub async fn stop(self) {
        self.running.stop().await.expect("a clean end");
    }
}
