//! Bodies that nobody reads, because their calls are refused.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tower::Service;

use crate::listener::call::Call;
use crate::listener::fixed_limits::UnreadLimits;
use crate::listener::header_timeout::Busy;
use crate::listener::outgoing::Outgoing;
use crate::listener::peers::Peers;
use crate::resolver::Caller;
use crate::transport::batch_size::batch_body_limit;
use crate::transport::peer::caller;

/// The bytes of a gRPC message before the message itself.
const PREFIX: usize = 5;

/// Reads the rest of a body that nobody reads, and throws it away: as much as the call may send, for a while.
///
/// Otherwise HTTP resets the stream of a call that is refused before its body has arrived, or closes the connection.
/// Many clients then report the reset and not the answer. The answer does not wait for the body, and the call keeps no
/// place for it.
///
/// What HTTP/2 has received costs no task. On HTTP/1 each body that is left costs one: hyper hands a body on only in
/// its next turn. A body that a handler has begun to read is not read on, nor that of a stream. Nor is that of a client
/// that waits for `100 Continue`: it does not send it.
#[derive(Clone)]
pub(crate) struct DrainUnread<S> {
    inner: S,
    limits: UnreadLimits,
    /// The largest body of a single request, in bytes.
    body_limit: usize,
    /// Bodies that are still to come, by caller. All callers that authentication refuses are one.
    bodies: Peers<Caller>,
}

impl<S> DrainUnread<S> {
    pub(crate) fn new(inner: S, limits: UnreadLimits, body_limit: usize, bodies: Peers<Caller>) -> Self {
        Self { inner, limits, body_limit, bodies }
    }
}

impl<S, B, R> Service<Request<B>> for DrainUnread<S>
where
    S: Service<Request<DrainedBody<B>>, Response = Response<R>>,
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let busy = request.extensions_mut().remove::<Arc<Busy>>();
        let extensions = request.extensions();
        let route = extensions.get().and_then(|call: &Call| call.route.as_ref());
        let is_stream = route.is_some_and(|route| route.rpc_type.is_stream());
        let is_drained = !is_stream && !request.headers().contains_key(EXPECT);
        let rest = is_drained.then(|| {
            let takes_batch = route.is_some_and(|route| route.takes_batch);
            let limit = if takes_batch { batch_body_limit(self.body_limit) } else { self.body_limit };
            Rest {
                limit: limit.min(self.limits.bytes).saturating_add(PREFIX),
                time: self.limits.time,
                address: caller(extensions),
                call: extensions.get().cloned(),
                bodies: self.bodies.clone(),
            }
        });
        self.inner.call(request.map(|body| DrainedBody { body: Some(body), rest, busy }))
    }
}

/// How the rest of a body is thrown away.
struct Rest {
    /// Maximum bytes.
    limit: usize,
    /// How long it may take to come.
    time: Duration,
    /// Who calls, as long as authentication has not found it out.
    address: Caller,
    call: Option<Arc<Outgoing>>,
    bodies: Peers<Caller>,
}

impl Rest {
    /// By whom the body is counted.
    fn caller(&self) -> Caller {
        let Some(call) = &self.call else { return self.address };
        if call.is_refused() {
            return Caller::Unknown;
        }
        call.caller().map_or(self.address, |known| Caller::Known(known.id()))
    }
}

/// The body of a request. If nobody has read any of it, it is thrown away.
pub(crate) struct DrainedBody<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> {
    /// `None` after its end.
    body: Option<B>,
    /// `None` if the rest of the body is not to be read.
    rest: Option<Rest>,
    /// HTTP/1: while the body comes, no head is awaited.
    busy: Option<Arc<Busy>>,
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> HttpBody for DrainedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // A handler reads it now. If it gives up, the body has had its time.
        self.rest = None;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
            self.busy = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> Drop for DrainedBody<B> {
    fn drop(&mut self) {
        let (Some(body), Some(rest)) = (self.body.take(), self.rest.take()) else { return };
        if body.is_end_stream() || body.size_hint().lower() > rest.limit as u64 {
            return;
        }
        let mut unread = Box::pin(discard(body, rest.limit));
        if unread.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return; // All of it is there.
        }
        if let (Ok(runtime), Some(place)) = (Handle::try_current(), rest.bodies.enter(rest.caller())) {
            let (time, busy) = (rest.time, self.busy.take());
            runtime.spawn(async move {
                let _ = timeout(time, unread).await;
                drop((place, busy));
            });
        }
    }
}

/// Reads a body to its end, unless it has more bytes than the limit.
async fn discard<B: HttpBody<Data = Bytes> + Unpin>(mut body: B, limit: usize) {
    let mut discarded = 0;
    while discarded <= limit
        && let Some(Ok(frame)) = body.frame().await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}
