//! Serving one connection: HTTP limits and timeouts.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::api::Api;
use super::call_task::CallExecutor;
use super::connection_state::ConnectionState;
use super::fixed_limits::ConnectionLimits;
use super::handshake::Handshakes;
use super::header_timeout::{HeaderClock, HeaderTimeout};
use super::idle_timeout::IdleTimeout;
use super::new_calls::{AnsweringConnection, NewCalls};
use super::outgoing::Outgoing;
use super::sent_body::SentBody;
use super::unsent_memory::UnsentMemory;
use crate::settings::LimitSettings;
use crate::telemetry::Sampler;
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

/// HTTP/2: maximum streams that a client opens and resets before they are handled ("rapid reset"). Above it the
/// connection is closed.
const PENDING_RESETS: usize = 64;

/// HTTP/2: maximum streams that the service resets for errors of the client, as long as the connection lasts. Above it
/// the connection is closed, with the calls on it.
///
/// A frame of a body that comes after the reset of its call is such an error. So a client whose calls are refused
/// makes them without a fault of its own. Dropping the future of a call ends its work, so a reset leaves none behind.
const LOCAL_RESETS: usize = 16 * 1024;

/// Serves the connections of an API.
pub(super) struct Connections<S> {
    api: Api,
    stack: S,
    limits: ConnectionLimits,
    settings: LimitSettings,
    shutdown: CancellationToken,
    memory: Arc<UnsentMemory>,
    handshakes: Arc<Handshakes>,
    resets: Arc<Sampler>,
    cuts: Arc<Sampler>,
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

/// Why a connection is to end.
enum End {
    Shutdown,
    /// `MAX_CONNECTION_AGE`
    Age,
    /// A connection beyond the limits has had its call.
    ReserveUsed,
    /// The peer does not take its answers.
    Stalled,
}

impl<S: RequestService> Connections<S> {
    pub(super) fn new(
        api: Api,
        stack: S,
        limits: ConnectionLimits,
        settings: LimitSettings,
        shutdown: CancellationToken,
        memory: Arc<UnsentMemory>,
        handshakes: Handshakes,
    ) -> Self {
        let sampler = || Arc::new(Sampler::of_warnings());
        let handshakes = Arc::new(handshakes);
        Self { api, stack, limits, settings, shutdown, memory, handshakes, resets: sampler(), cuts: sampler() }
    }

    /// Serves one connection until either side closes it. After the shutdown began it takes no new call.
    ///
    /// On a connection of the reserve only health is answered, once, and within the time for a header.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        peer: PeerAddr,
        is_reserve: bool,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (api, stack, new_calls) = (self.api, Mutex::new(self.stack.clone()), Arc::new(NewCalls::default()));
        let state = Arc::new(ConnectionState::new(is_reserve, self.limits.probe_streams, Arc::clone(&self.memory)));
        let executor = CallExecutor {
            connection: Arc::clone(&state),
            new_calls: Arc::clone(&new_calls),
            send_timeout: self.settings.send_timeout,
            resets: Arc::clone(&self.resets),
        };
        let builder = http_builder(api, &self.limits, executor);
        let lifetime = Lifetime {
            state: Arc::clone(&state),
            limits: self.limits,
            settings: self.settings,
            shutdown: self.shutdown.clone(),
        };
        let (cuts, handshakes) = (Arc::clone(&self.cuts), Arc::clone(&self.handshakes));
        async move {
            // Nagle's algorithm would only delay answers: each is written at once.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY cannot be set");
            }
            let (idle, send) = (lifetime.limits.idle, lifetime.settings.send_timeout);
            let stream = IdleTimeout::new(stream, Arc::clone(&state), idle, send);
            let Some(stream) = handshakes.accept(stream, &lifetime.shutdown).await else { return };
            state.set_certificate_names(stream.certificate_names());
            let clock = Arc::new(HeaderClock::default());
            // On the JSON port load balancers open connections in advance.
            let speaks_first = api == Api::Grpc || is_reserve;
            let io = HeaderTimeout::new(stream, lifetime.limits.head, speaks_first, Arc::clone(&clock));
            let calls = Arc::clone(&new_calls);
            let service = service_fn(move |mut request: Request<Incoming>| {
                let busy = Arc::new(HeaderClock::busy(&clock));
                let is_http1 = request.version() < Version::HTTP_2;
                let is_connect = request.method() == Method::CONNECT;
                let call = Arc::new(Outgoing::new(Arc::clone(&state), !is_http1));
                if !is_http1 {
                    calls.begin(Arc::clone(&call));
                }
                if is_http1 {
                    // The rest of the body may come after the answer.
                    request.extensions_mut().insert(Arc::clone(&busy));
                }
                request.extensions_mut().insert(peer);
                request.extensions_mut().insert(Arc::clone(&call));
                // The layers run here, in the task of the connection. Every layer is always ready.
                let response = stack.lock().unwrap_or_else(PoisonError::into_inner).call(request);
                let state = Arc::clone(&state);
                async move {
                    let mut response = response.await?;
                    if is_connect && response.status().is_success() {
                        // An error of gRPC has the status 200, which would open a tunnel.
                        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                    }
                    if is_http1 && (is_reserve || state.is_old()) {
                        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    drop(busy);
                    Ok::<_, Infallible>(response.map(|body| SentBody::new(body, call)))
                }
            });
            let connection = builder.serve_connection(TokioIo::new(io), service);
            let mut connection = pin!(AnsweringConnection::new(connection, new_calls));
            // Polled only when it is woken itself, not with each call.
            let mut lifetime_end = FuturesUnordered::from_iter([lifetime.end()]);
            let end = tokio::select! {
                biased;
                result = &mut connection => return log_end(api, result),
                Some(end) = lifetime_end.next() => end,
            };
            let is_cut = match end {
                // Nothing would be lost: it has no call, or its peer takes nothing.
                End::Shutdown => !lifetime.state.has_called(),
                End::Stalled => true,
                End::Age | End::ReserveUsed => false,
            };
            if is_cut {
                return log_cut(api, &end, &cuts);
            }
            if matches!(end, End::Age) && lifetime.state.has_called() && !lifetime.state.is_http2() {
                // The next answer says `Connection: close`. A client that sends its next request now must not lose it.
                lifetime.state.set_old();
                tokio::select! {
                    biased;
                    result = &mut connection => return log_end(api, result),
                    () = sleep(lifetime.limits.age_grace) => {}
                    () = lifetime.shutdown.cancelled() => {}
                }
            }
            connection.as_mut().inner().graceful_shutdown();
            tokio::select! {
                biased;
                result = &mut connection => log_end(api, result),
                () = lifetime.closed(&end) => log_cut(api, &end, &cuts),
            }
        }
    }
}

/// How long a connection may last.
struct Lifetime {
    state: Arc<ConnectionState>,
    limits: ConnectionLimits,
    settings: LimitSettings,
    shutdown: CancellationToken,
}

impl Lifetime {
    /// Resolves when the connection is to end.
    async fn end(&self) -> End {
        let reserve_used = async {
            match self.state.is_reserve {
                true => self.state.called().await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => End::Shutdown,
            () = sleep(self.age()), if !self.settings.max_connection_age.is_zero() => End::Age,
            () = self.state.stalled(self.settings.send_timeout) => End::Stalled,
            () = reserve_used => End::ReserveUsed,
        }
    }

    /// `MAX_CONNECTION_AGE`, up to a tenth shorter or longer, so that connections that began together do not end
    /// together.
    fn age(&self) -> Duration {
        jittered(self.settings.max_connection_age, fastrand::f64())
    }

    /// Resolves when a connection that takes no new calls is to be cut, because it does not close by itself.
    async fn closed(&self, end: &End) {
        let streams_end = async {
            match end {
                End::Age => {
                    sleep(self.limits.age_grace).await;
                    self.state.streams.end.cancel();
                    // The last answers are taken, however slowly, or the peer stalls.
                    std::future::pending().await
                }
                End::ReserveUsed => sleep(self.limits.head).await,
                End::Shutdown | End::Stalled => std::future::pending().await,
            }
        };
        tokio::select! {
            () = streams_end => {}
            () = self.state.stalled(self.settings.send_timeout) => {}
            // The client does not close the connection after GOAWAY.
            () = self.state.idle_for(self.limits.close_grace) => {}
        }
    }
}

/// The HTTP of a connection.
fn http_builder(api: Api, limits: &ConnectionLimits, executor: CallExecutor) -> Builder<CallExecutor> {
    let mut builder = Builder::new(executor);
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
    match api {
        Api::Grpc => builder.http2_only(),
        Api::Http => builder,
    }
}

fn log_end<E: std::fmt::Display>(api: Api, result: Result<(), E>) {
    if let Err(error) = result {
        // Garbage, resets and timeouts are normal on an open port.
        tracing::debug!(api = api.name(), %error, "connection ended");
    }
}

fn log_cut(api: Api, end: &End, cuts: &Sampler) {
    match end {
        End::Stalled => {
            if let Some(connections) = cuts.count() {
                let api = api.name();
                tracing::warn!(api, connections, "connections were cut: their peers did not take the answers");
            }
        }
        End::Shutdown | End::Age | End::ReserveUsed => tracing::debug!(api = api.name(), "connection cut"),
    }
}

/// Returns nine to eleven tenths of an age, by a number between 0 and 1.
fn jittered(age: Duration, random: f64) -> Duration {
    age.mul_f64(0.9 + 0.2 * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_end_up_to_a_tenth_earlier_or_later_than_their_age() {
        let age = |random| jittered(Duration::from_secs(100), random).as_millis();
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(age), [90_000, 95_000, 100_000, 110_000]);
    }
}
