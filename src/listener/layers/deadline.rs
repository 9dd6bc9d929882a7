//! Deadlines.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Timeout, timeout_at};
use tower::Service;

use super::admitted::answer_at_once;
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
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let received = request.extensions().get().map_or_else(Instant::now, |call: &Call| call.received);
        match Deadlines::from_headers(request.headers(), received, self.longest) {
            Err(error) => {
                answer_at_once(&request);
                ResponseFuture::Refused { error: Some(error.into()) }
            }
            Ok(deadlines) => {
                request.extensions_mut().insert(deadlines);
                ResponseFuture::Running { inner: timeout_at(deadlines.call.into(), self.inner.call(request)) }
            }
        }
    }
}

pin_project! {
    /// The response, or an error at the deadline.
    #[project = ResponseProjection]
    pub(crate) enum ResponseFuture<F> {
        Refused { error: Option<ApiError> },
        Running { #[pin] inner: Timeout<F> },
    }
}

impl<F, R> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, ApiError>>,
{
    type Output = Result<R, ApiError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ResponseProjection::Refused { error } => {
                Poll::Ready(Err(error.take().unwrap_or_else(|| IdentifyError::Internal.into())))
            }
            ResponseProjection::Running { inner } => {
                Poll::Ready(ready!(inner.poll(cx)).unwrap_or_else(|_| Err(IdentifyError::DeadlineExceeded.into())))
            }
        }
    }
}
