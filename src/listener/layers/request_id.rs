//! Ids of requests.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use crate::listener::api::Api;
use crate::listener::call::Call;
use crate::listener::endpoint::Endpoints;
use crate::listener::outgoing::Outgoing;
use crate::traces::CallTrace;
use crate::transport::request_id::RequestId;

/// Gives each request its [`Call`], and each response the header `x-request-id`. The request of a stream also gets what
/// the streams of its connection share.
#[derive(Clone)]
pub(crate) struct AssignRequestId<S> {
    inner: S,
    api: Api,
    routes: Arc<Endpoints>,
}

impl<S> AssignRequestId<S> {
    pub(crate) fn new(inner: S, api: Api, routes: Arc<Endpoints>) -> Self {
        Self { inner, api, routes }
    }
}

impl<S, B, R> Service<Request<B>> for AssignRequestId<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let received = Instant::now();
        let id = RequestId::from_headers(request.headers());
        let header = id.to_header();
        let route = self.routes.find(request.method(), request.uri().path());
        let is_stream = route.as_ref().is_some_and(|route| route.rpc_type.is_stream());
        let extensions = request.extensions_mut();
        if is_stream && let Some(outgoing) = extensions.get::<Arc<Outgoing>>() {
            let streams = outgoing.connection.streams.clone();
            extensions.insert(streams);
        }
        extensions.insert(Call { api: self.api, id, route, received, trace: CallTrace::default() });
        ResponseFuture { inner: self.inner.call(request), header: Some(header) }
    }
}

pin_project! {
    /// The response, with the header.
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: F,
        // `None` once it is given away.
        header: Option<HeaderValue>,
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        if let Some(header) = this.header.take() {
            response.headers_mut().insert(RequestId::HEADER, header);
        }
        Poll::Ready(Ok(response))
    }
}
