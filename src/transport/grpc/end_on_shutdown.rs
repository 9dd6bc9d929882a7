//! Services of libraries whose streams must end at the shutdown.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::transport::errors::ApiError;
use crate::transport::parse::FieldNames;
use crate::transport::readiness::Readiness;

/// A service whose streams end when the server shuts down: an open stream would block the shutdown.
#[derive(Clone, Debug)]
pub(super) struct EndOnShutdown<S> {
    inner: S,
    readiness: Readiness,
}

impl<S> EndOnShutdown<S> {
    pub(super) fn new(inner: S, readiness: Readiness) -> Self {
        Self { inner, readiness }
    }
}

impl<S: NamedService> NamedService for EndOnShutdown<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for EndOnShutdown<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shutdown = || self.readiness.clone().closing().boxed();
        let (end_of_requests, end_of_answers) = (shutdown(), shutdown());
        // The requests end too: a service that waits for more of them would keep the stream and its connection open.
        let request = request.map(|body| Body::new(Ending { body, shutdown: Some(end_of_requests), is_answer: false }));
        let response = self.inner.call(request);
        let end = |body| Body::new(Ending { body, shutdown: Some(end_of_answers), is_answer: true });
        async { Ok(response.await?.map(end)) }.boxed()
    }
}

/// A stream of messages that ends at the shutdown. Answers end with UNAVAILABLE.
struct Ending {
    body: Body,
    /// `None` once the stream has ended.
    shutdown: Option<BoxFuture<'static, ()>>,
    is_answer: bool,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(shutdown) = &mut self.shutdown else { return Poll::Ready(None) };
        if shutdown.poll_unpin(cx).is_pending() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        self.shutdown = None;
        if !self.is_answer {
            return Poll::Ready(None);
        }
        let mut end = HeaderMap::new();
        let added = ApiError::ShuttingDown.status(FieldNames::Proto).add_header(&mut end);
        Poll::Ready(Some(added.map(|()| Frame::trailers(end))))
    }
}
