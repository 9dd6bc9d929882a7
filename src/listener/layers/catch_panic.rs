//! Panics of handlers.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::CatchUnwind;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

use crate::listener::call::Call;
use crate::resolver::IdentifyError;
use crate::transport::errors::ApiError;
use crate::transport::request_id::RequestId;

/// Turns a panic of the handler into INTERNAL, and logs it with the id of the request.
///
/// Not the layer of `tower-http`, which boxes the body of every response.
#[derive(Clone)]
pub(crate) struct CatchPanic<S> {
    inner: S,
}

impl<S> CatchPanic<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, B, R> Service<Request<B>> for CatchPanic<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone,
{
    type Response = Response<R>;
    type Error = ApiError;
    type Future = ResponseFuture<CatchUnwind<AssertUnwindSafe<Oneshot<S, Request<B>>>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        Poll::Ready(Ok(())) // `Oneshot` waits until the handler is ready.
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let id = request.extensions().get().map(|call: &Call| call.id.clone());
        // `Oneshot` calls the handler when it is polled, so that a panic of the call itself is caught too.
        ResponseFuture { inner: AssertUnwindSafe(self.inner.clone().oneshot(request)).catch_unwind(), id }
    }
}

pin_project! {
    /// The response, or an error after a panic.
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        id: Option<RequestId>,
    }
}

impl<F, R, P> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Result<R, Infallible>, P>>,
{
    type Output = Result<R, ApiError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(never)) => match never {},
            Err(_) => {
                // Without the panic's message: it may quote what the caller sent.
                tracing::error!(request.id = this.id.as_ref().map(RequestId::as_str), "the handler of a call panicked");
                Err(IdentifyError::Internal.into())
            }
        })
    }
}
