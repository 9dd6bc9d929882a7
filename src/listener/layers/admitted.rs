//! What the layers share that admit a call or refuse it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use tower::Service;

use crate::listener::outgoing::Outgoing;
use crate::resolver::IdentifyError;
use crate::transport::errors::ApiError;

/// The answer of a call needs no work: the task of the connection gives it.
pub(super) fn answer_at_once<B>(request: &Request<B>) {
    if let Some(outgoing) = request.extensions().get::<Arc<Outgoing>>() {
        outgoing.answer_at_once();
    }
}

/// Hands an admitted call to the layer below. A refused call ends here, and its body is not read.
pub(super) fn call_if_admitted<S, B>(
    admitted: Result<(), ApiError>,
    inner: &mut S,
    request: Request<B>,
) -> ResponseFuture<S::Future>
where
    S: Service<Request<B>>,
{
    match admitted {
        Ok(()) => ResponseFuture::Running { inner: inner.call(request) },
        Err(error) => refuse(&request, error),
    }
}

/// Ends a refused call. Its body is not read.
pub(super) fn refuse<B, F>(request: &Request<B>, error: ApiError) -> ResponseFuture<F> {
    answer_at_once(request);
    ResponseFuture::Refused { error: Some(error) }
}

pin_project! {
    /// The response, or why the call is refused.
    #[project = ResponseProjection]
    pub(crate) enum ResponseFuture<F> {
        Refused { error: Option<ApiError> },
        Running { #[pin] inner: F },
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
            ResponseProjection::Running { inner } => inner.poll(cx),
        }
    }
}
