//! Errors as responses.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use crate::listener::api::Api;
use crate::transport::errors::ApiError;
use crate::transport::{grpc, methods};

/// Turns the errors of the layers below into responses, and tonic's own error responses into ours.
#[derive(Clone)]
pub(crate) struct ErrorResponse<S> {
    inner: S,
    api: Api,
    /// The largest message of a single request, in bytes.
    body_limit: usize,
}

impl<S> ErrorResponse<S> {
    pub(crate) fn new(inner: S, api: Api, body_limit: usize) -> Self {
        Self { inner, api, body_limit }
    }
}

impl<S, B> Service<Request<B>> for ErrorResponse<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = ApiError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The layers below are always ready: they refuse in `call`.
        self.inner.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let body_limit = methods::message_limit(request.uri().path(), self.body_limit);
        ResponseFuture { inner: self.inner.call(request), api: self.api, body_limit }
    }
}

pin_project! {
    /// The response, whatever happened.
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        api: Api,
        body_limit: usize,
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<Body>, ApiError>>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match ready!(this.inner.poll(cx)) {
            Ok(response) => response,
            Err(error) => return Poll::Ready(Ok(this.api.error_response(&error))),
        };
        let replaced = match this.api {
            Api::Grpc => grpc::replace_tonic_error(response.headers(), *this.body_limit),
            Api::Http => None,
        };
        Poll::Ready(Ok(replaced.map_or(response, |error| this.api.error_response(&error))))
    }
}
