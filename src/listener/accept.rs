use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Connections;
use super::fixed_limits::ConnectionLimits;
use super::stack::RequestStack;

/// The pause after an error that trying again at once would only repeat, such as "too many open files".
const PAUSE: Duration = Duration::from_millis(200);

/// Lets connections in at one api.
///
/// Not `axum::serve` or tonic's server: neither closes a connection that is idle or slow, or counts them.
pub(super) struct Acceptor {
    pub(super) boundary: Arc<RequestStack>,
    pub(super) limits: ConnectionLimits,
    /// The most connections at a time.
    pub(super) connections: usize,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    pub(super) cut: CancellationToken,
}

impl Acceptor {
    /// Runs until the shutdown begins, and closes the listener.
    pub(super) async fn run(self, listener: TcpListener) {
        let api = self.boundary.api().name();
        let places = Arc::new(Semaphore::new(self.connections));
        let connections = Connections::new(self.boundary, self.limits, self.shutdown.clone());
        let next = async || {
            // Closed never, so `None` never.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, accept(&listener, api).await)
        };
        while let Some((place, stream)) = self.shutdown.run_until_cancelled(next()).await {
            let (connection, cut) = (connections.serve(stream), self.cut.clone());
            self.tasks.spawn(async move {
                cut.run_until_cancelled_owned(connection).await;
                drop(place);
            });
        }
    }
}

/// The next connection, however long errors last; a row of errors is logged once.
async fn accept(listener: &TcpListener, api: &str) -> TcpStream {
    let mut is_logged = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_logged, true) {
                    tracing::error!(api, %error, "no connection can be accepted; trying again until it works");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Somebody went away before he was let in; the next may be in the queue already.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}
