use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::fixed_limits::ConnectionLimits;
use super::header_timeout::{HeaderClock, HeaderTimeout};
use super::stack::{Api, RequestStack};

/// HTTP/1: what a head may take, and a body that waits to be read.
const BUFFER: usize = 64 * 1024;

/// HTTP/2: calls under way on one connection. Clients put all of theirs on one, so this must not be
/// what stops them; the calls of all connections together have a limit of their own.
const STREAMS: u32 = 1024;

/// HTTP/2: what a client may send before it is read, on one stream and on all of a connection.
///
/// The connection's is large for the sake of streams that are held back. Many clients send each message in
/// a frame of its own, and h2 closes a connection on which small frames wait that take more than half of
/// this window in book-keeping (256 bytes each): 64 KiB of the smallest items take some 750 KiB of it.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// HTTP/2: what waits to be sent on one stream, when the client does not take it.
const SEND_BUFFER: usize = 64 * 1024;

/// HTTP/2: all headers of a request, decompressed.
const HEADER_LIST: u32 = 16 * 1024;

/// HTTP/2: streams that a client opened and gave up before they were seen ("rapid reset"), and ones
/// that we reset for its mistakes. Past these the connection is closed.
const PENDING_RESETS: usize = 64;
const LOCAL_RESETS: usize = 256;

/// How the connections of a api are served.
pub(super) struct Connections {
    boundary: Arc<RequestStack>,
    builder: Arc<Builder<TokioExecutor>>,
    limits: ConnectionLimits,
    shutdown: CancellationToken,
}

impl Connections {
    pub(super) fn new(boundary: Arc<RequestStack>, limits: ConnectionLimits, shutdown: CancellationToken) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // To hyper the wait for the next request is part of its head; `HeaderTimeout` tells them apart.
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
        let builder = match boundary.api() {
            Api::Grpc => builder.http2_only(),
            Api::Http => builder,
        };
        Self { boundary, builder: Arc::new(builder), limits, shutdown }
    }

    /// One connection, until either side closes it. After the shutdown began it takes no new call.
    pub(super) fn serve(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + 'static {
        let (boundary, builder, shutdown) =
            (Arc::clone(&self.boundary), Arc::clone(&self.builder), self.shutdown.clone());
        let ConnectionLimits { head, idle, .. } = self.limits;
        async move {
            // Answers are small and whole: to wait for more to send with them only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY cannot be set");
            }
            let mut stream = TimeoutStream::new(stream);
            stream.set_read_timeout(Some(idle));
            stream.set_write_timeout(Some(idle));
            let clock = Arc::new(HeaderClock::default());
            let io = TokioIo::new(HeaderTimeout::new(Box::pin(stream), head, Arc::clone(&clock)));
            let service = service_fn(|request| {
                let (boundary, busy) = (Arc::clone(&boundary), HeaderClock::busy(&clock));
                async move {
                    let response = boundary.handle(request).await;
                    drop(busy);
                    Ok::<_, Infallible>(response)
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
                // Garbage, resets and time-outs: everyday at an open port.
                tracing::debug!(api = boundary.api().name(), %error, "connection ended");
            }
        }
    }
}
