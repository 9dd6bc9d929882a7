use std::task::{Context, Poll, ready};

use http::Request;
use tonic::server::NamedService;
use tower::Service;

use crate::transport::batch_body_limit;

/// The one method whose messages may be large.
const BATCH: &str = "/identity.v1.IdentityService/BatchIdentify";

/// The most bytes of a message to the method at `path`, where one of a single request may have `body_limit`.
pub fn message_limit(path: &str, body_limit: usize) -> usize {
    if path == BATCH { batch_body_limit(body_limit) } else { body_limit }
}

/// Two of the same service, since tonic has one limit for all methods of one: calls go to `batch` or to
/// `single`.
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

    fn call(&mut self, request: Request<B>) -> S::Future {
        if request.uri().path() == BATCH { self.batch.call(request) } else { self.single.call(request) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn the_method_is_one_of_the_proto() {
        let pool = prost_reflect::DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let (service, method) = BATCH[1..].split_once('/').unwrap();
        let service = pool.get_service_by_name(service).unwrap();
        assert!(service.methods().any(|of| of.name() == method));
    }
}
