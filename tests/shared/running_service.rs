//! The service in the process of the test: the real start-up, on free ports.

use std::net::SocketAddr;

use identity::commands::serve::App;
use identity::settings::Settings;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running replica.
pub(crate) struct RunningService {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) metrics: Option<SocketAddr>,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl RunningService {
    /// Starts it on this database, with flags as on the command line.
    pub(crate) async fn start(url: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let own = ["--database-url", url, "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];
        let app = App::start(&Settings::from_flags(own.iter().chain(flags))?).await?;
        let (grpc, http, metrics) = (app.grpc_addr(), app.http_addr(), app.metrics_addr());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(app.run(shutdown.clone()));
        Ok(Self { grpc, http, metrics, shutdown, task })
    }

    /// Drains it and waits until it has ended.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        self.task.await?
    }
}
