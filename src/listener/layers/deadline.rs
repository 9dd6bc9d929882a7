//! Deadlines.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Timeout, timeout_at};
use tower::Service;

use super::admitted::{ResponseFuture, refuse};
use crate::listener::call::Call;
use crate::resolver::IdentifyError;
use crate::transport::deadline::Deadlines;
use crate::transport::errors::ApiError;

/// Gives each request its [`Deadlines`], and gives the request up when they pass. A stream is bound to them until it is
/// open, not after.
#[derive(Clone)]
pub(crate) struct DeadlineLimit<S> {
    inner: S,
    /// The longest that a call may take.
    longest: Duration,
}

impl<S> DeadlineLimit<S> {
    pub(crate) fn new(inner: S, longest: Duration) -> Self {
        Self { inner, longest }
    }
}

impl<S, B, R> Service<Request<B>> for DeadlineLimit<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = ApiError>,
{
    type Response = Response<R>;
    type Error = ApiError;
    type Future = ResponseFuture<UntilDeadline<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let received = request.extensions().get().map_or_else(Instant::now, |call: &Call| call.received);
        match Deadlines::from_headers(request.headers(), received, self.longest) {
            Err(error) => refuse(&request, error.into()),
            Ok(deadlines) => {
                request.extensions_mut().insert(deadlines);
                let inner = timeout_at(deadlines.call.into(), self.inner.call(request));
                ResponseFuture::Running { inner: UntilDeadline { inner } }
            }
        }
    }
}

pin_project! {
    /// The response, or an error at the deadline.
    pub(crate) struct UntilDeadline<F> {
        #[pin]
        inner: Timeout<F>,
    }
}

impl<F, R> Future for UntilDeadline<F>
where
    F: Future<Output = Result<R, ApiError>>,
{
    type Output = Result<R, ApiError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().inner.poll(cx));
        Poll::Ready(response.unwrap_or_else(|_| Err(IdentifyError::DeadlineExceeded.into())))
    }
}
