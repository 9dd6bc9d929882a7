//! Serving one connection: HTTP limits and timeouts.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::api::Api;
use super::fixed_limits::ConnectionLimits;
use super::header_timeout::{HeaderClock, HeaderTimeout};
use crate::transport::peer::PeerAddr;

/// HTTP/1: the buffer for a header, and for a body that waits to be read, in bytes.
const BUFFER: usize = 64 * 1024;

/// HTTP/2: maximum calls under way on one connection. Clients put all their calls on one connection, so this must not
/// be what stops them. The calls of all connections together have a limit of their own.
const STREAMS: u32 = 1024;

/// HTTP/2: the flow-control windows of one stream and of a connection, in bytes.
///
/// The connection's window is large because of streams that are held back. Many clients send each message in a frame of
/// its own. h2 closes a connection whose waiting small frames take more than half of this window in overhead (256 bytes
/// each): 64 KiB of the smallest items take some 750 KiB of it.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// HTTP/2: the buffer of one stream for data that the client does not take, in bytes.
const SEND_BUFFER: usize = 64 * 1024;

/// HTTP/2: maximum size of the headers of a request after decompression, in bytes.
const HEADER_LIST: u32 = 16 * 1024;

/// HTTP/2: maximum streams that a client opens and resets before they are handled ("rapid reset"), and maximum streams
/// that the service resets for errors of the client. Above them the connection is closed.
const PENDING_RESETS: usize = 64;
const LOCAL_RESETS: usize = 256;

/// Serves the connections of an API.
pub(super) struct Connections<S> {
    api: Api,
    stack: S,
    builder: Arc<Builder<TokioExecutor>>,
    limits: ConnectionLimits,
    shutdown: CancellationToken,
}

/// What answers the requests of a connection.
pub(super) trait RequestService:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> RequestService for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S: RequestService> Connections<S> {
    pub(super) fn new(api: Api, stack: S, limits: ConnectionLimits, shutdown: CancellationToken) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // hyper counts the wait for the next request as a part of its header. `HeaderTimeout` tells them apart.
            .header_read_timeout(limits.idle)
            .max_buf_size(BUFFER);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.ping_every)
            .keep_alive_timeout(limits.ping_timeout)
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEADER_LIST)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(LOCAL_RESETS);
        let builder = match api {
            Api::Grpc => builder.http2_only(),
            Api::Http => builder,
        };
        Self { api, stack, builder: Arc::new(builder), limits, shutdown }
    }

    /// Serves one connection until either side closes it. After the shutdown began it takes no new call.
    pub(super) fn serve(&self, stream: TcpStream, peer: PeerAddr) -> impl Future<Output = ()> + Send + 'static {
        let (api, stack) = (self.api, self.stack.clone());
        let (builder, shutdown) = (Arc::clone(&self.builder), self.shutdown.clone());
        let ConnectionLimits { head, idle, .. } = self.limits;
        async move {
            // Nagle's algorithm would only delay answers: each is written at once.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY cannot be set");
            }
            let mut stream = TimeoutStream::new(stream);
            stream.set_read_timeout(Some(idle));
            stream.set_write_timeout(Some(idle));
            let clock = Arc::new(HeaderClock::default());
            let io = TokioIo::new(HeaderTimeout::new(Box::pin(stream), head, Arc::clone(&clock)));
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                let (mut stack, busy) = (stack.clone(), HeaderClock::busy(&clock));
                async move {
                    // Every layer is always ready.
                    let response = stack.call(request).await;
                    drop(busy);
                    response
                }
            });
            let mut connection = pin!(builder.serve_connection(io, service));
            let result = tokio::select! {
                result = &mut connection => result,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                // Garbage, resets and timeouts are normal on an open port.
                tracing::debug!(api = api.name(), %error, "connection ended");
            }
        }
    }
}
