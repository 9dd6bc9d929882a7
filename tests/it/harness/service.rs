//! The service in this process: the real start-up, on free ports.

use std::net::SocketAddr;

use identity::commands::serve::App;
use identity::settings::Settings;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Caller, TestDatabase};

/// A running replica.
pub struct Service {
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Service {
    pub async fn start(database: &TestDatabase) -> Self {
        Self::start_with(&database.url, &[]).await
    }

    /// With flags as on the command line.
    pub async fn start_with(url: &str, flags: &[&str]) -> Self {
        let own = ["--database-url", url, "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];
        let settings = Settings::from_flags(own.iter().chain(flags)).expect("settings");
        let app = App::start(&settings).await.expect("the service starts");
        let (grpc, http) = (app.grpc_addr(), app.http_addr());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { app.run(shutdown).await.expect("the service runs") }
        });
        Self { grpc, http, shutdown, task }
    }

    pub fn caller(&self) -> Caller {
        Caller::new(self.grpc, self.http)
    }

    /// Drains it and waits until it is gone.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("a clean end");
    }
}
