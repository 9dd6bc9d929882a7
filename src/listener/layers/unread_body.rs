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
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::Service;

use crate::listener::call::Call;

/// How much of a body is read and thrown away, in bytes: the largest body of a single request, by default.
const LIMIT: usize = 64 * 1024;

/// How long that may take.
const TIME: Duration = Duration::from_secs(1);

/// Reads the rest of a small body that nobody reads, and throws it away.
///
/// Otherwise HTTP resets the stream of a call that is refused before its body has arrived, or closes the connection.
/// Many clients then report the reset and not the answer. The answer does not wait for the body, and the call keeps no
/// place for it. What is there already costs no task.
#[derive(Clone)]
pub(crate) struct DrainUnread<S> {
    inner: S,
    /// One permit for each body that is still to come.
    bodies: Arc<Semaphore>,
}

impl<S> DrainUnread<S> {
    pub(crate) fn new(inner: S, bodies: Arc<Semaphore>) -> Self {
        Self { inner, bodies }
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let route = request.extensions().get().and_then(|call: &Call| call.route.as_ref());
        let is_stream = route.is_some_and(|route| route.rpc_type.is_stream());
        // A client that waits for `100 Continue` has not sent its body, and does not send it after a refusal.
        let is_drained = !is_stream && !request.headers().contains_key(EXPECT);
        let bodies = is_drained.then(|| Arc::clone(&self.bodies));
        self.inner.call(request.map(|body| DrainedBody { body: Some(body), bodies }))
    }
}

/// The body of a request. What nobody has read of it is thrown away.
pub(crate) struct DrainedBody<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> {
    /// `None` after its end.
    body: Option<B>,
    /// `None` if the rest of the body is not to be read.
    bodies: Option<Arc<Semaphore>>,
}

impl<B: HttpBody<Data = Bytes> + Send + Unpin + 'static> HttpBody for DrainedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
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
        let (Some(body), Some(bodies)) = (self.body.take(), self.bodies.take()) else { return };
        if body.is_end_stream() || body.size_hint().lower() > LIMIT as u64 {
            return;
        }
        let mut rest = Box::pin(discard(body));
        if rest.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return; // All of it is there.
        }
        if let (Ok(runtime), Ok(place)) = (Handle::try_current(), bodies.try_acquire_owned()) {
            runtime.spawn(async move {
                let _ = timeout(TIME, rest).await;
                drop(place);
            });
        }
    }
}

/// Reads a body to its end, up to the limit.
async fn discard<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) {
    let mut discarded = 0;
    while discarded < LIMIT
        && let Some(Ok(frame)) = body.frame().await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}
