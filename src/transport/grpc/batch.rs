//! `BatchIdentify`, without tonic's decoding and encoding of whole messages.
//!
//! Tonic decodes a message before its method sees it, and encodes it after. For a batch both would run at once and
//! without a look at the deadline, also for a batch that is refused. So this method takes and returns bytes: it counts
//! the items, waits for room, decodes and parses them in slices, and encodes each identity once.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::UnaryService;
use tower::Service;

use super::batch_request::{EncodedItems, decode};
use super::compression::{accepts_compression, compress_if_worthwhile};
use super::encoded_call::call_encoded;
use super::identity_api::{IdentityApi, deadline, parsed};
use super::inflate::MessageRoom;
use super::proto_format::ProtoFormat;
use crate::resolver::Identify;
use crate::transport::batch::{ItemCounts, identify_batch};
use crate::transport::batch_answer;
use crate::transport::call_place::CallPlace;
use crate::transport::errors::ApiError;
use crate::transport::parse::FieldNames;
use crate::transport::peer::resolver_for;

/// Serves `BatchIdentify` alone.
#[derive(Debug)]
pub(super) struct BatchService<R> {
    api: Arc<IdentityApi<R>>,
    /// The largest message, in bytes.
    limit: usize,
}

impl<R> BatchService<R> {
    pub(super) fn new(api: Arc<IdentityApi<R>>, limit: usize) -> Self {
        Self { api, limit }
    }
}

impl<R> Clone for BatchService<R> {
    fn clone(&self) -> Self {
        Self { api: Arc::clone(&self.api), ..*self }
    }
}

impl<R: Identify> Service<Request<Body>> for BatchService<R> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        call_encoded(BatchIdentify(Arc::clone(&self.api)), self.limit, request)
    }
}

struct BatchIdentify<R>(Arc<IdentityApi<R>>);

impl<R: Identify> UnaryService<Bytes> for BatchIdentify<R> {
    type Response = Vec<u8>;
    type Future = BoxFuture<'static, Result<tonic::Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let api = Arc::clone(&self.0);
        async move {
            let accepts_compression = accepts_compression(request.metadata());
            let (answer, counts) = api.answer_batch(request).await.map_err(|error| error.status(FieldNames::Proto))?;
            let mut response = tonic::Response::new(answer);
            response.extensions_mut().insert(counts);
            compress_if_worthwhile(&mut response, accepts_compression, Vec::len);
            Ok(response)
        }
        .boxed()
    }
}

impl<R: Identify> IdentityApi<R> {
    /// Returns the encoded answer to an encoded batch.
    async fn answer_batch(&self, request: tonic::Request<Bytes>) -> Result<(Vec<u8>, ItemCounts), ApiError> {
        let deadline = deadline(&request)?;
        let resolver = resolver_for(&self.resolver, request.extensions());
        let place = CallPlace::from_extensions(request.extensions());
        let room: Option<MessageRoom> = request.extensions().get().cloned();
        let items = EncodedItems::new(request.into_inner());
        let count = items.count_up_to_limit()?;
        let items = items.map(move |item| {
            let _until_parsed = &room;
            Ok(parsed(&decode(item?)?, &self.settings))
        });
        let results = identify_batch(&resolver, place.take(), count, items, deadline).await?;
        batch_answer::encode(&ProtoFormat, &results, self.settings.limits.answer_limit, deadline).await
    }
}
