//! `LookupIdentities`, without tonic's decoding of whole messages: it may be as large as a batch, and then has room for
//! half a million empty identifiers. So they are counted before they are decoded.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::UnaryService;
use tower::Service;

use super::api::GraphApi;
use super::call::Call;
use super::lookup_identities;
use crate::proto::identity::v1::graph_service_server::GraphServiceServer;
use crate::resolver::ReadGraph;
use crate::transport::errors::ApiError;
use crate::transport::grpc::compression::{accepts_compression, compress_if_worthwhile};
use crate::transport::grpc::encoded_call::call_encoded;
use crate::transport::grpc::inflate::MessageRoom;
use crate::transport::methods;
use crate::transport::parse::FieldNames;

/// Serves the calls with many identifiers. `LookupIdentities` is decoded here, the others by tonic.
#[derive(Debug)]
pub(in crate::transport::grpc) struct LookUpService<R> {
    api: Arc<GraphApi<R>>,
    /// The largest message, in bytes.
    limit: usize,
    others: GraphServiceServer<GraphApi<R>>,
}

impl<R: ReadGraph> LookUpService<R> {
    pub(in crate::transport::grpc) fn new(api: Arc<GraphApi<R>>, limit: usize) -> Self {
        let others = GraphServiceServer::from_arc(Arc::clone(&api))
            .max_decoding_message_size(limit)
            .send_compressed(CompressionEncoding::Gzip);
        Self { api, limit, others }
    }
}

impl<R> Clone for LookUpService<R> {
    fn clone(&self) -> Self {
        Self { api: Arc::clone(&self.api), others: self.others.clone(), ..*self }
    }
}

impl<R: ReadGraph> Service<Request<Body>> for LookUpService<R> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if !methods::is_look_up(request.uri().path()) {
            return self.others.call(request);
        }
        call_encoded(EncodedLookUp(Arc::clone(&self.api)), self.limit, request)
    }
}

struct EncodedLookUp<R>(Arc<GraphApi<R>>);

impl<R: ReadGraph> UnaryService<Bytes> for EncodedLookUp<R> {
    type Response = Vec<u8>;
    type Future = BoxFuture<'static, Result<tonic::Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let api = Arc::clone(&self.0);
        async move {
            let accepts_compression = accepts_compression(request.metadata());
            let names = FieldNames::from_extensions(request.extensions());
            let answer = api.look_up(request).await.map_err(|error| error.status(names))?;
            let mut response = tonic::Response::new(answer);
            compress_if_worthwhile(&mut response, accepts_compression, Vec::len);
            Ok(response)
        }
        .boxed()
    }
}

impl<R: ReadGraph> GraphApi<R> {
    /// Returns the encoded answer to an encoded request.
    async fn look_up(&self, request: tonic::Request<Bytes>) -> Result<Vec<u8>, ApiError> {
        let room: Option<MessageRoom> = request.extensions().get().cloned();
        let (call, message) = Call::begin(&self.resolver, &self.settings, request)?;
        let message = lookup_identities::decode(message)?;
        drop(room); // Of the compressed text.
        Ok(lookup_identities::lookup_identities(call, &message).await?.encode_to_vec())
    }
}
