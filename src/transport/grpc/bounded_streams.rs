//! Bounds on the streams of health and reflection: how many are open, and when they end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::{Extensions, HeaderMap, Request, Response};
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::metrics::{ShedReason, WorkMetrics};
use crate::transport::access::permission_withdrawn;
use crate::transport::connection::ConnectionStreams;
use crate::transport::errors::ApiError;
use crate::transport::parse::FieldNames;
use crate::transport::readiness::Readiness;
use crate::transport::stream_end::shutdown_or_age;

/// When a stream must end, and why. Its requests and its answers share it: the service can notice the end of the
/// requests, and end the answers with OK, before the answers are polled.
type End = Shared<BoxFuture<'static, ApiError>>;

/// The bounds of all health and reflection streams together.
#[derive(Clone, Debug)]
pub(super) struct StreamBounds {
    places: Arc<Semaphore>,
    /// When the streams must end: an open stream would block the shutdown. `None` if they end by themselves.
    readiness: Option<Readiness>,
    work: WorkMetrics,
}

impl StreamBounds {
    /// At most so many streams at once. Each connection has a limit of its own beside it.
    pub(super) fn new(streams: usize, work: WorkMetrics) -> Self {
        Self { places: Arc::new(Semaphore::new(streams.min(Semaphore::MAX_PERMITS))), readiness: None, work }
    }

    /// The same bounds, for streams that do not end by themselves when the service shuts down.
    pub(super) fn end_on_shutdown(&self, readiness: Readiness) -> Self {
        Self { readiness: Some(readiness), ..self.clone() }
    }

    /// Returns the places of a stream.
    fn admit(&self, connection: &ConnectionStreams) -> Result<[OwnedSemaphorePermit; 2], ApiError> {
        let place = |places: &Arc<Semaphore>| {
            Arc::clone(places).try_acquire_owned().map_err(|_| {
                self.work.count_shed(ShedReason::Streams, 1);
                ApiError::StreamsFull
            })
        };
        Ok([place(&connection.probes)?, place(&self.places)?])
    }

    /// Resolves when the stream with these request extensions must end, with the reason.
    fn end(&self, extensions: &Extensions) -> End {
        let ended = shutdown_or_age(extensions, self.readiness.clone());
        let withdrawn = permission_withdrawn(extensions);
        async {
            tokio::select! { error = ended => error, error = withdrawn => error }
        }
        .boxed()
        .shared()
    }
}

/// A service whose streams are counted, and end in time.
#[derive(Clone, Debug)]
pub(super) struct BoundedStreams<S> {
    inner: S,
    bounds: StreamBounds,
}

impl<S> BoundedStreams<S> {
    pub(super) fn new(inner: S, bounds: StreamBounds) -> Self {
        Self { inner, bounds }
    }
}

impl<S: NamedService> NamedService for BoundedStreams<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for BoundedStreams<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Only the requests of streams have it.
        let Some(connection) = request.extensions().get::<ConnectionStreams>().cloned() else {
            return self.inner.call(request).boxed();
        };
        let places = match self.bounds.admit(&connection) {
            Ok(places) => places,
            Err(error) => {
                let refusal = error.status(FieldNames::Proto).into_http();
                return std::future::ready(Ok(refusal)).boxed();
            }
        };
        let end = self.bounds.end(request.extensions());
        let end_of_requests = Some(end.clone());
        // The requests end too: a service that waits for more of them would keep the stream and its connection open.
        let request = request.map(|body| Body::new(Ending { body, end: end_of_requests, places: None }));
        let response = self.inner.call(request);
        let ending = |body| Body::new(Ending { body, end: Some(end), places: Some(places) });
        async { Ok(response.await?.map(ending)) }.boxed()
    }
}

/// A stream of messages that ends in time. Answers, which have places, end with the reason.
struct Ending {
    body: Body,
    /// `None` once the stream has ended.
    end: Option<End>,
    places: Option<[OwnedSemaphorePermit; 2]>,
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        let Poll::Ready(error) = end.poll_unpin(cx) else { return Pin::new(&mut self.body).poll_frame(cx) };
        self.end = None;
        if self.places.is_none() {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::new();
        let added = error.status(FieldNames::Proto).add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }
}
