//! Sockets, connections, drain, and the stack of layers that each request passes.
//!
//! A connection comes in through `accept` (how many at a time), is served by `connection` (HTTP limits, timeouts), and
//! each of its requests passes `stack`, from top to bottom, to a handler of [`transport`](crate::transport). The answer
//! goes back through `sent_body`, which knows what the peer has not taken yet.

mod accept;
mod api;
mod call;
mod call_task;
mod connection;
mod connection_state;
mod endpoint;
mod file_limit;
mod fixed_limits;
mod handshake;
mod header_timeout;
mod idle_timeout;
mod layers;
mod metrics_port;
mod new_calls;
mod outgoing;
mod peers;
mod preface;
mod reserve;
mod secured_stream;
mod sent_body;
mod stack;
mod unsent_memory;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::accept::{Acceptor, ConnectionCaps};
use self::api::Api;
use self::connection::Connections;
use self::file_limit::{connection_cap, raise_file_limit};
pub use self::fixed_limits::{ConnectionLimits, FixedLimits, UnreadLimits};
use self::handshake::Handshakes;
use self::metrics_port::MetricsPort;
use self::peers::limit_of_one_peer;
use self::stack::request_stack;
use self::unsent_memory::UnsentMemory;
use crate::auth::{AccessControl, Authenticator, Callers};
use crate::metrics::Metrics;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::resolver::{DatabaseState, ReadGraph};
use crate::settings::Settings;
use crate::tls::ServerTls;
use crate::traces::Traces;
use crate::transport::batch_size::batch_body_limit;
use crate::transport::grpc::{self, GrpcSettings};
use crate::transport::gunzip::TextRoom;
use crate::transport::http::{self, HttpSettings, JsonService, OriginRules};
use crate::transport::readiness::Readiness;

/// The bound sockets of the two APIs, and what their connections and calls need.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC: HTTP/2.
    pub grpc: TcpListener,
    /// For JSON: HTTP/1.1, and HTTP/2 for clients that begin with it.
    pub http: TcpListener,
    /// For metrics and health, if there are metrics: HTTP/1.1.
    pub metrics: Option<TcpListener>,
    /// The TLS of both, if there is any.
    pub tls: Option<Arc<ServerTls>>,
    /// Who may call. Without it, everybody.
    pub callers: Option<Arc<Callers>>,
    /// Where the spans of calls go.
    pub traces: Traces,
    /// Services that the JSON API serves besides its own, by the http rules of their descriptors.
    pub json: Vec<JsonService>,
}

/// An API cannot be built: a bug in the build, found before the first call.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The gRPC API.
    #[error(transparent)]
    Grpc(#[from] grpc::DescriptorError),
    /// The JSON API.
    #[error(transparent)]
    Http(#[from] http::GatewayError),
}

/// Serves both APIs until `shutdown`, then drains: health says NOT_SERVING; after `DRAIN_DELAY` no connection is
/// accepted; calls under way finish, and connections that are left after `DRAIN_TIMEOUT` are closed.
///
/// `database` says whether the database can be reached; health and `/readyz` follow it. Dropping the future closes
/// everything at once. The port of metrics stays open until the end of the drain.
///
/// # Errors
/// [`StartError`], at once. Nothing that happens later ends it.
pub async fn serve<R: ReadGraph>(
    listeners: Listeners,
    resolver: R,
    settings: &Settings,
    fixed: FixedLimits,
    database: watch::Receiver<DatabaseState>,
    metrics: &Metrics,
    shutdown: CancellationToken,
) -> Result<(), StartError> {
    let closing = CancellationToken::new();
    let readiness = Readiness::new(database, shutdown.clone(), closing.clone());
    let Settings { listen, identify, limits, queue, .. } = settings;
    // Half of the queue at most: streams always have more to send, and must leave room for single calls.
    let stream_items = (queue.queue_limit / 2).max(1);
    let room = TextRoom::new(fixed.decompressed_bytes, batch_body_limit(limits.http_body_limit), metrics.work());
    let grpc_settings = GrpcSettings {
        identify: *identify,
        limits: *limits,
        reflection: listen.reflection,
        stream_items,
        probe_streams: fixed.probe_streams,
    };
    let grpc = grpc::routes(resolver.clone(), readiness.clone(), grpc_settings, room.clone(), metrics.work())?;
    let graph = JsonService::new(grpc::graph_service(resolver.clone(), grpc_settings), FILE_DESCRIPTOR_SET)?;
    let http_settings = HttpSettings { identify: *identify, limits: *limits, body_timeout: fixed.body_timeout };
    let json = [vec![graph], listeners.json.clone()].concat();
    let http = http::routes(resolver.clone(), readiness.clone(), http_settings, room, listen.http_docs, json)?;

    let connections = connection_cap(limits.max_connections, raise_file_limit());
    // The operator may know better: a load balancer can be the only peer.
    let per_peer = limits.max_connections_per_peer.unwrap_or(limit_of_one_peer(connections));
    let caps = ConnectionCaps { all: connections, per_peer, reserve: fixed.reserve };
    let connection = ConnectionLimits {
        // A caller that waits for its answer sends nothing.
        idle: fixed.connection.idle.max(2 * limits.request_timeout),
        ..fixed.connection
    };
    let memory = Arc::new(UnsentMemory::new(fixed.unsent_bytes));
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    let _cut_when_dropped = cut.clone().drop_guard();
    if let Some(tls) = listeners.tls.clone() {
        tls.measure_by(metrics);
        tokio::spawn(cut.clone().run_until_cancelled_owned(tls.follow(fixed.reload_every)));
    }
    let access = listeners.callers.clone().map(|callers| {
        callers.measure_by(metrics);
        tokio::spawn(cut.clone().run_until_cancelled_owned(Arc::clone(&callers).follow(fixed.reload_every)));
        Arc::new(AccessControl::new(callers as Arc<dyn Authenticator>, metrics))
    });
    let run = |listener, api: Api, routes, origins| {
        let traced = (metrics, &listeners.traces);
        let stack = request_stack(api, resolver.clone(), routes, *limits, fixed, origins, access.clone(), traced);
        let handshakes = Handshakes::new(api, listeners.tls.clone(), connection.handshake, metrics);
        let memory = Arc::clone(&memory);
        let served = Connections::new(api, stack, connection, *limits, closing.clone(), memory, handshakes);
        let (tasks, cut, shutdown) = (tasks.clone(), cut.clone(), closing.clone());
        let counted = Some((metrics.clone(), api.metered()));
        Acceptor { api, served, caps, tasks, shutdown, cut, counted }.run(listener)
    };
    let close = async {
        shutdown.cancelled().await;
        sleep(limits.drain_delay).await;
        closing.cancel();
    };
    let page = http::metrics_routes(metrics.clone(), readiness, access.clone());
    let port = MetricsPort { limits: connection, settings: *limits, memory: Arc::clone(&memory) };
    let _metrics = listeners.metrics.map(|listener| port.open(listener, page));
    let origins = Some(OriginRules::new(listen, access.is_some()));
    tokio::join!(close, run(listeners.grpc, Api::Grpc, grpc, None), run(listeners.http, Api::Http, http, origins));

    tasks.close();
    if timeout(limits.drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "the drain timed out: the remaining connections are closed");
        cut.cancel();
        tasks.wait().await;
    }
    Ok(())
}
