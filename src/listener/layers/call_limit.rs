//! A bound on the calls under way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

use crate::resolver::IdentifyError;
use crate::transport::batch::StreamItemCounts;
use crate::transport::errors::ApiError;

/// Gives each call a place among those under way, and refuses what has none with RESOURCE_EXHAUSTED. A stream keeps its
/// place until its end.
#[derive(Clone)]
pub(crate) struct CallLimit<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl<S> CallLimit<S> {
    pub(crate) fn new(inner: S, places: Arc<Semaphore>) -> Self {
        Self { inner, places }
    }
}

impl<S, B> Service<Request<B>> for CallLimit<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = ApiError>,
{
    type Response = Response<Body>;
    type Error = ApiError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => ResponseFuture::Running { inner: self.inner.call(request), place: Some(place) },
            Err(_) => ResponseFuture::Refused,
        }
    }
}

pin_project! {
    /// The response, with the place kept for as long as it takes.
    #[project = ResponseProjection]
    pub(crate) enum ResponseFuture<F> {
        Refused,
        Running {
            #[pin]
            inner: F,
            // `None` once it is given away.
            place: Option<OwnedSemaphorePermit>,
        },
    }
}

impl<F> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<Body>, ApiError>>,
{
    type Output = Result<Response<Body>, ApiError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ResponseProjection::Refused => Poll::Ready(Err(IdentifyError::Overloaded.into())),
            ResponseProjection::Running { inner, place } => {
                let response = ready!(inner.poll(cx))?;
                let place = place.take();
                if response.extensions().get::<StreamItemCounts>().is_none() {
                    return Poll::Ready(Ok(response));
                }
                Poll::Ready(Ok(response.map(|body| Body::new(BodyWithPlace { body, _place: place }))))
            }
        }
    }
}

/// The answers of a stream, which keep its place.
struct BodyWithPlace {
    body: Body,
    _place: Option<OwnedSemaphorePermit>,
}

impl HttpBody for BodyWithPlace {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
