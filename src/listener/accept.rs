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
use super::peers::Peers;
use super::reserve::Reserve;
use crate::metrics::{MeteredApi, Metrics};
use crate::telemetry::Sampler;
use crate::transport::peer::PeerAddr;

/// The pause after an error that an immediate retry would repeat, such as "too many open files".
const PAUSE: Duration = Duration::from_millis(200);

/// How many connections an API takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionCaps {
    /// At a time.
    pub(super) all: usize,
    /// Of one peer.
    pub(super) per_peer: usize,
    /// Beyond the other two, for health only.
    pub(super) reserve: usize,
}

/// Accepts the connections of one API.
///
/// Not `axum::serve` or tonic's server: neither bounds connections, or closes those that are idle or slow.
pub(super) struct Acceptor<S> {
    pub(super) api: Api,
    pub(super) served: Connections<S>,
    pub(super) caps: ConnectionCaps,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    pub(super) cut: CancellationToken,
    /// Where connections are counted. `None` on the port of metrics.
    pub(super) counted: Option<(Metrics, MeteredApi)>,
}

impl<S: RequestService> Acceptor<S> {
    /// Runs until the shutdown begins, and closes the listener.
    ///
    /// A connection beyond the limits is accepted all the same, into the reserve. A health check that waits in the
    /// backlog would look as if the process were dead.
    pub(super) async fn run(self, listener: TcpListener) {
        let api = self.api.name();
        let places = Arc::new(Semaphore::new(self.caps.all));
        let peers = Peers::new(self.caps.per_peer);
        let reserve = Reserve::new(self.caps.reserve);
        let beyond = Sampler::of_warnings();
        while let Some((stream, peer)) = self.shutdown.run_until_cancelled(accept(&listener, api)).await {
            let cut = self.cut.clone();
            let counted = self.counted.as_ref().map(|(metrics, api)| metrics.connection(*api));
            let of_peer = peers.enter(peer);
            let place = of_peer.is_some().then(|| Arc::clone(&places).try_acquire_owned().ok()).flatten();
            if let Some(place) = place {
                let connection = self.served.serve(stream, peer, false);
                self.tasks.spawn(async move {
                    cut.run_until_cancelled_owned(connection).await;
                    drop((place, of_peer, counted));
                });
                continue;
            }
            if let Some(connections) = beyond.count() {
                let limit = if of_peer.is_some() { "MAX_CONNECTIONS" } else { "MAX_CONNECTIONS_PER_PEER" };
                tracing::warn!(api, connections, limit, "connections beyond the limit get answers about health alone");
            }
            let connection = self.served.serve(stream, peer, true);
            let place = reserve.enter(peer);
            self.tasks.spawn(async move {
                tokio::select! {
                    () = connection => {}
                    () = place.replaced() => {}
                    () = cut.cancelled() => {}
                }
                drop(counted);
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
