//! `Identify`, with an answer that is encoded here: an identity with many contacts is encoded once, and its bytes are
//! kept with its copy in memory. No message is made of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{NamedService, UnaryService};
use tower::Service;

use super::batch_request::decode;
use super::compression::{accepts_compression, compress_if_worthwhile};
use super::encoded_call::call_encoded;
use super::identity_api::{IdentityApi, deadline, parsed};
use super::proto_format::{ProtoFormat, identify_response};
use crate::proto::identity::v1 as pb;
use crate::proto::identity::v1::identity_service_server::IdentityServiceServer;
use crate::resolver::Identify;
use crate::transport::answered::Answered;
use crate::transport::call_outcome::CallOutcome;
use crate::transport::call_place::CallPlace;
use crate::transport::errors::ApiError;
use crate::transport::identity_bytes::write_identity;
use crate::transport::listing::ENVELOPE;
use crate::transport::methods;
use crate::transport::parse::{FieldNames, Parsed};
use crate::transport::peer::resolver_for;
use crate::transport::slices::Slices;

/// Serves `Identify`, and leaves the other methods to tonic's generated server.
#[derive(Debug)]
pub(super) struct IdentifyService<R> {
    api: Arc<IdentityApi<R>>,
    others: IdentityServiceServer<IdentityApi<R>>,
    /// The largest message, in bytes.
    limit: usize,
}

impl<R: Identify> IdentifyService<R> {
    pub(super) fn new(api: Arc<IdentityApi<R>>, limit: usize) -> Self {
        let others = IdentityServiceServer::from_arc(Arc::clone(&api))
            .max_decoding_message_size(limit)
            .send_compressed(CompressionEncoding::Gzip);
        Self { api, others, limit }
    }
}

impl<R> Clone for IdentifyService<R> {
    fn clone(&self) -> Self {
        Self { api: Arc::clone(&self.api), others: self.others.clone(), limit: self.limit }
    }
}

impl<R> NamedService for IdentifyService<R> {
    const NAME: &'static str = IdentityServiceServer::<IdentityApi<R>>::NAME;
}

impl<R: Identify> Service<Request<Body>> for IdentifyService<R> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if methods::is_identify(request.uri().path()) {
            call_encoded(EncodedIdentify(Arc::clone(&self.api)), self.limit, request)
        } else {
            self.others.call(request)
        }
    }
}

struct EncodedIdentify<R>(Arc<IdentityApi<R>>);

impl<R: Identify> UnaryService<Bytes> for EncodedIdentify<R> {
    type Response = Vec<u8>;
    type Future = BoxFuture<'static, Result<tonic::Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let api = Arc::clone(&self.0);
        async move {
            let accepts_compression = accepts_compression(request.metadata());
            let (answer, outcome) = api.answer(request).await.map_err(|error| error.status(FieldNames::Proto))?;
            let mut response = tonic::Response::new(answer);
            response.extensions_mut().insert(outcome);
            compress_if_worthwhile(&mut response, accepts_compression, Vec::len);
            Ok(response)
        }
        .boxed()
    }
}

impl<R: Identify> IdentityApi<R> {
    /// Returns the encoded answer to an encoded request.
    async fn answer(&self, request: tonic::Request<Bytes>) -> Result<(Vec<u8>, CallOutcome), ApiError> {
        let deadline = deadline(&request)?;
        let resolver = resolver_for(&self.resolver, request.extensions());
        let place = CallPlace::from_extensions(request.extensions());
        // The request and its headers are dropped before the wait.
        let message: pb::IdentifyRequest = decode(request.into_inner())?;
        let Parsed { request, malformed } = parsed(&message, &self.settings)?;
        drop(message);
        let validate_only = request.validate_only;
        let answer = resolver.identify_reserved(place.take(), request, deadline).await;
        let answered = Answered::new(answer, malformed)?;
        let room = self.settings.limits.answer_limit.saturating_sub(ENVELOPE);
        let (slices, mut identity) = (&mut Slices::of_answer(deadline), Vec::new());
        write_identity(&ProtoFormat, &answered.answer.identity, room, slices, &mut identity).await?;
        let outcome = CallOutcome::new(answered.answer.outcome, validate_only);
        Ok((identify_response(&answered, &identity), outcome))
    }
}
