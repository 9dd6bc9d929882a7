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

use crate::transport::{ApiError, Naming, Readiness};

/// A service whose streams end when the server shuts down: an open one would hold the shutdown up.
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
        let (asked, told) = (self.readiness.clone().drained().boxed(), self.readiness.clone().drained().boxed());
        // The questions end too: whoever reads them would hold on to the stream, and so to the connection.
        let request = request.map(|body| Body::new(Ending { body, drained: Some(asked), is_answer: false }));
        let response = self.inner.call(request);
        let end = |body| Body::new(Ending { body, drained: Some(told), is_answer: true });
        async { Ok(response.await?.map(end)) }.boxed()
    }
}

/// A stream of messages that ends once `drained` resolves: answers with UNAVAILABLE.
struct Ending {
    body: Body,
    /// `None` once the end is told.
    drained: Option<BoxFuture<'static, ()>>,
    is_answer: bool,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(drained) = &mut self.drained else { return Poll::Ready(None) };
        if drained.poll_unpin(cx).is_pending() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        self.drained = None;
        if !self.is_answer {
            return Poll::Ready(None);
        }
        let mut end = HeaderMap::new();
        let told = ApiError::NotReady.status(Naming::Proto).add_header(&mut end);
        Poll::Ready(Some(told.map(|()| Frame::trailers(end))))
    }
}
