//! Calls whose method decodes its request and encodes its answer by itself.

use std::convert::Infallible;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::body::Body;
use tonic::codec::{CompressionEncoding, EnabledCompressionEncodings};
use tonic::server::{Grpc, UnaryService};

use super::bytes_codec::BytesCodec;

/// Returns the response of a method, as tonic's generated servers do. A message may have `limit` bytes, and an answer
/// may be compressed with gzip.
pub(super) fn call_encoded<M>(
    method: M,
    limit: usize,
    request: Request<Body>,
) -> BoxFuture<'static, Result<Response<Body>, Infallible>>
where
    M: UnaryService<Bytes, Response = Vec<u8>, Future: Send> + Send + 'static,
{
    let mut answers = EnabledCompressionEncodings::default();
    answers.enable(CompressionEncoding::Gzip);
    let mut grpc = Grpc::new(BytesCodec)
        .max_decoding_message_size(limit)
        .apply_compression_config(EnabledCompressionEncodings::default(), answers);
    async move { Ok(grpc.unary(method, request).await) }.boxed()
}
