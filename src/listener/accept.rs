//! Accepting connections, at most so many at a time.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::Api;
use super::connection::{Connections, RequestService};
use crate::transport::peer::PeerAddr;

/// The pause after an error that an immediate retry would repeat, such as "too many open files".
const PAUSE: Duration = Duration::from_millis(200);

/// Accepts the connections of one API.
///
/// Not `axum::serve` or tonic's server: neither bounds connections, or closes those that are idle or slow.
pub(super) struct Acceptor<S> {
    pub(super) api: Api,
    pub(super) served: Connections<S>,
    /// Maximum connections at a time.
    pub(super) connections: usize,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    pub(super) cut: CancellationToken,
}

impl<S: RequestService> Acceptor<S> {
    /// Runs until the shutdown begins, and closes the listener.
    pub(super) async fn run(self, listener: TcpListener) {
        let api = self.api.name();
        let places = Arc::new(Semaphore::new(self.connections));
        let next = async || {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, accept(&listener, api).await)
        };
        while let Some((place, (stream, peer))) = self.shutdown.run_until_cancelled(next()).await {
            let (connection, cut) = (self.served.serve(stream, peer), self.cut.clone());
            self.tasks.spawn(async move {
                cut.run_until_cancelled_owned(connection).await;
                drop(place);
            });
        }
    }
}

/// Returns the next connection, however long errors last. A series of errors is logged once.
async fn accept(listener: &TcpListener, api: &str) -> (TcpStream, PeerAddr) {
    let mut is_logged = false;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, PeerAddr::new(address.ip())),
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_logged, true) {
                    tracing::error!(api, %error, "connections cannot be accepted; trying again until it works");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether only one connection failed, because its client went away. The next may be in the queue already.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}
