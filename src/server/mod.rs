//! Runs both doors: listeners, limits, the log line of a call, drain.

mod accept;
mod boundary;
mod call_log;
mod connection;
mod head_timeout;
mod limits;
mod open_call;
mod options;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accept::Acceptor;
use self::boundary::{Boundary, Door};
use self::limits::{connection_cap, raise_file_limit};
pub use self::options::{ConnectionOptions, ServerOptions};
use crate::api::Readiness;
use crate::grpc::{self, GrpcOptions};
use crate::http::{self, HttpOptions};
use crate::resolver::Identify;

/// The bound sockets of the two doors.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC: HTTP/2 without TLS.
    pub grpc: TcpListener,
    /// For JSON: HTTP/1.1, and HTTP/2 for clients that begin with it.
    pub http: TcpListener,
}

/// The doors cannot be built: a fault of the build, found before the first call.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The gRPC door.
    #[error(transparent)]
    Grpc(#[from] grpc::StartError),
    /// The JSON door.
    #[error(transparent)]
    Http(#[from] http::StartError),
}

/// Serves both doors until `shutdown`, and then drains: health says NOT_SERVING, nobody new is let in,
/// calls under way finish, and what is still there after [`ServerOptions::drain_timeout`] is cut.
///
/// `database` says whether the database can be reached; health and `/readyz` follow it. When the future
/// is dropped, everything is cut at once.
///
/// # Errors
/// [`StartError`], at once. Nothing that happens later ends it.
pub async fn serve<R: Identify>(
    listeners: Listeners,
    resolver: R,
    options: &ServerOptions,
    database: watch::Receiver<bool>,
    shutdown: CancellationToken,
) -> Result<(), StartError> {
    let readiness = Readiness::new(database, shutdown.clone());
    let ServerOptions { body_limit, region, .. } = *options;
    let grpc_options = GrpcOptions {
        body_limit,
        region,
        reflection: options.reflection,
        item_timeout: options.timeouts.default,
        stream_items: options.stream_items,
    };
    let http_options =
        HttpOptions { body_limit, body_timeout: options.body_timeout, spelling: options.spelling, region };
    let grpc = grpc::surface(resolver.clone(), readiness.clone(), grpc_options)?;
    let http = http::surface(resolver, readiness, http_options)?;

    let connections = connection_cap(options.max_connections, raise_file_limit());
    let limits = ConnectionOptions {
        // A caller who waits for his answer sends nothing.
        idle: options.connection.idle.max(2 * options.timeouts.max),
        ..options.connection
    };
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    let _cut_when_dropped = cut.clone().drop_guard();
    let run = |listener, door, surface| {
        let boundary = Arc::new(Boundary::new(door, surface, options));
        let (tasks, cut, shutdown) = (tasks.clone(), cut.clone(), shutdown.clone());
        Acceptor { boundary, options: limits, connections, tasks, shutdown, cut }.run(listener)
    };
    tokio::join!(run(listeners.grpc, Door::Grpc, grpc), run(listeners.http, Door::Http, http));

    tasks.close();
    if timeout(options.drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "the drain timed out: the remaining connections are cut");
        cut.cancel();
        tasks.wait().await;
    }
    Ok(())
}
