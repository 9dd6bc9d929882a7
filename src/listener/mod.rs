//! Runs both APIs: listeners, limits, the log line of a call, drain.

mod accept;
mod access_log;
mod connection;
mod file_limit;
mod fixed_limits;
mod header_timeout;
mod stack;
mod streaming_body;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accept::Acceptor;
use self::file_limit::{connection_cap, raise_file_limit};
pub use self::fixed_limits::{ConnectionLimits, FixedLimits};
use self::stack::{Api, RequestStack};
use crate::resolver::Identify;
use crate::settings::Settings;
use crate::transport::Readiness;
use crate::transport::grpc::{self, GrpcSettings};
use crate::transport::http;

/// The bound sockets of the two APIs.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC: HTTP/2 without TLS.
    pub grpc: TcpListener,
    /// For JSON: HTTP/1.1, and HTTP/2 for clients that begin with it.
    pub http: TcpListener,
}

/// The APIs cannot be built: a fault of the build, found before the first call.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The gRPC api.
    #[error(transparent)]
    Grpc(#[from] grpc::StartError),
    /// The JSON api.
    #[error(transparent)]
    Http(#[from] http::StartError),
}

/// Serves both APIs until `shutdown`, and then drains: health says NOT_SERVING, nobody new is let in,
/// calls under way finish, and what is still there after `DRAIN_TIMEOUT` is cut.
///
/// `database` says whether the database can be reached; health and `/readyz` follow it. When the future
/// is dropped, everything is cut at once.
///
/// # Errors
/// [`StartError`], at once. Nothing that happens later ends it.
pub async fn serve<R: Identify>(
    listeners: Listeners,
    resolver: R,
    settings: &Settings,
    fixed: FixedLimits,
    database: watch::Receiver<bool>,
    shutdown: CancellationToken,
) -> Result<(), StartError> {
    let readiness = Readiness::new(database, shutdown.clone());
    let Settings { listen, identify, limits, queue, .. } = settings;
    // Half of the queue at most: streams always have more to send, and must leave room for single calls.
    let stream_items = (queue.queue_limit / 2).max(1);
    let grpc = grpc::routes(
        resolver.clone(),
        readiness.clone(),
        GrpcSettings { identify: *identify, limits: *limits, reflection: listen.reflection, stream_items },
    )?;
    let http = http::routes(resolver, readiness, *identify, *limits, fixed.body_timeout)?;

    let connections = connection_cap(limits.max_connections, raise_file_limit());
    let connection = ConnectionLimits {
        // A caller who waits for his answer sends nothing.
        idle: fixed.connection.idle.max(2 * limits.request_timeout),
        ..fixed.connection
    };
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    let _cut_when_dropped = cut.clone().drop_guard();
    let run = |listener, api, routes| {
        let boundary = Arc::new(RequestStack::new(api, routes, *limits, fixed));
        let (tasks, cut, shutdown) = (tasks.clone(), cut.clone(), shutdown.clone());
        Acceptor { boundary, limits: connection, connections, tasks, shutdown, cut }.run(listener)
    };
    tokio::join!(run(listeners.grpc, Api::Grpc, grpc), run(listeners.http, Api::Http, http));

    tasks.close();
    if timeout(limits.drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "the drain timed out: the remaining connections are cut");
        cut.cancel();
        tasks.wait().await;
    }
    Ok(())
}
