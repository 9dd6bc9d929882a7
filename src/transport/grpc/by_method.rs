//! Message limits by method.

use std::task::{Context, Poll, ready};

use http::Request;
use tonic::server::NamedService;
use tower::Service;

use super::errors::ACCEPT_ENCODING;
use crate::transport::methods;

/// Two instances of one service, because tonic has one message limit for all methods of a service. Calls go to `batch`
/// or to `single`.
#[derive(Clone, Debug)]
pub(super) struct ByMethod<S> {
    pub(super) single: S,
    pub(super) batch: S,
}

impl<S: NamedService> NamedService for ByMethod<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for ByMethod<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        ready!(self.single.poll_ready(cx))?;
        self.batch.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if methods::answers_a_stream(request.uri().path()) {
            // tonic would compress each answer by itself, for more time than its few bytes are worth.
            request.headers_mut().remove(ACCEPT_ENCODING);
        }
        let service = if methods::takes_batch(request.uri().path()) { &mut self.batch } else { &mut self.single };
        service.call(request)
    }
}
