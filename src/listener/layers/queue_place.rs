//! A place in the queue of the resolver, before the body of a call is read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use super::admitted::{self, call_if_admitted};
use crate::listener::call::Call;
use crate::listener::endpoint::Endpoint;
use crate::listener::outgoing::Outgoing;
use crate::resolver::{Identify, IdentifyError};
use crate::transport::call_place::CallPlace;
use crate::transport::deadline::Deadlines;
use crate::transport::errors::ApiError;
use crate::transport::peer::caller;

/// Takes a place in the queue for each call that has a request to identify, and refuses the call if there is none.
///
/// The layers run when a call's head has arrived, in the task of its connection. So a refusal costs little, and it
/// needs no turn but that of its connection. A batch asks for its other places when they are counted. A stream waits
/// for places, so it needs none here.
#[derive(Clone)]
pub(crate) struct QueuePlace<S, R> {
    inner: S,
    resolver: R,
}

impl<S, R: Identify> QueuePlace<S, R> {
    pub(crate) fn new(inner: S, resolver: R) -> Self {
        Self { inner, resolver }
    }

    /// Returns the call that keeps the place; nothing if the call needs none.
    fn admit<B>(&self, request: &mut Request<B>) -> Result<Option<Arc<Outgoing>>, ApiError> {
        let extensions = request.extensions();
        let route = extensions.get().and_then(|call: &Call| call.route.as_ref());
        let is_call = |route: &Endpoint| route.is_translated || request.method() == Method::POST;
        if !route.is_some_and(|route| route.takes_place && is_call(route)) {
            return Ok(None);
        }
        let outgoing: Arc<Outgoing> = extensions.get().cloned().ok_or(IdentifyError::Internal)?;
        let deadline = Deadlines::call_deadline(extensions).ok_or(IdentifyError::Internal)?;
        outgoing.reserve(self.resolver.reserve(caller(extensions), deadline)?);
        request.extensions_mut().insert(CallPlace::new(Arc::clone(&outgoing) as _));
        Ok(Some(outgoing))
    }
}

impl<S, Q, B, R> Service<Request<B>> for QueuePlace<S, Q>
where
    S: Service<Request<B>, Response = Response<R>, Error = ApiError>,
    Q: Identify,
{
    type Response = Response<R>;
    type Error = ApiError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (admitted, awaits_body) = match self.admit(&mut request) {
            Ok(call) => (Ok(()), call),
            Err(error) => (Err(error), None),
        };
        ResponseFuture { inner: call_if_admitted(admitted, &mut self.inner, request), awaits_body }
    }
}

pin_project! {
    /// The response. A call that has had its turn and waits for its body keeps its place for a while only.
    pub(crate) struct ResponseFuture<F> {
        #[pin]
        inner: admitted::ResponseFuture<F>,
        // `None` after the first turn.
        awaits_body: Option<Arc<Outgoing>>,
    }
}

impl<F, R> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, ApiError>>,
{
    type Output = Result<R, ApiError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = this.inner.poll(cx);
        if let Some(call) = this.awaits_body.take()
            && response.is_pending()
        {
            call.await_body();
        }
        response
    }
}
