//! Message limits by method.

use std::task::{Context, Poll, ready};

use futures::future::Either;
use http::Request;
use tonic::server::NamedService;
use tower::Service;

use super::errors::ACCEPT_ENCODING;
use crate::transport::methods;

/// A service and, for batches, another one: tonic has one message limit for all methods of a service, and it decodes a
/// message before the service sees it. Calls go to `batch` or to `single`.
#[derive(Clone, Debug)]
pub(super) struct ByMethod<S, B> {
    pub(super) single: S,
    pub(super) batch: B,
}

impl<S: NamedService, B> NamedService for ByMethod<S, B> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, T> Service<Request<T>> for ByMethod<S, B>
where
    S: Service<Request<T>>,
    B: Service<Request<T>, Response = S::Response, Error = S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, B::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.single.poll_ready(cx))?;
        self.batch.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<T>) -> Self::Future {
        if methods::answers_a_stream(request.uri().path()) {
            // tonic would compress each answer by itself, for more time than its few bytes are worth.
            request.headers_mut().remove(ACCEPT_ENCODING);
        }
        if methods::takes_batch(request.uri().path()) {
            Either::Right(self.batch.call(request))
        } else {
            Either::Left(self.single.call(request))
        }
    }
}
