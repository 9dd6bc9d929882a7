//! Serves an RPC as JSON, in this process.

use std::convert::Infallible;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures::FutureExt;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TE, TRANSFER_ENCODING,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::bindings::{self, Binding, BodyRule};
use super::status::StatusBody;
use super::stream::Lines;
use super::{frame, request, response};
use crate::resolver::IdentifyError;
use crate::transport::errors::ApiError;
use crate::transport::gunzip::TextRoom;
use crate::transport::http::body::{self, RequestText};
use crate::transport::http::errors::{JSON, error_response, status_response};
use crate::transport::http::gzip;
use crate::transport::http::settings::HttpSettings;
use crate::transport::methods;
use crate::transport::parse::FieldNames;
use crate::transport::readiness::Readiness;
use crate::transport::stream_end::{shutdown_or_age, time_or_permission_ended};
use crate::transport::template::Capture;

/// A service of the gRPC API, without the layers of the listener: the call of the JSON API has passed them.
pub(super) type RpcService = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>;

/// The content type of a stream of answers.
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Headers of a JSON request that say nothing about the RPC.
const OF_THE_BODY: [HeaderName; 6] = [
    ACCEPT_ENCODING,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
];

/// Serves an RPC at one of its paths.
#[derive(Clone, Debug)]
pub(super) struct RpcHandler {
    pub(super) binding: Binding,
    pub(super) service: RpcService,
    pub(super) settings: HttpSettings,
    pub(super) room: TextRoom,
    pub(super) readiness: Readiness,
}

impl RpcHandler {
    pub(super) async fn call(&self, request: Request, captures: &[Capture<'_>]) -> Response {
        let is_gzip_accepted = gzip::is_accepted(request.headers()) && !self.binding.rpc.is_server_streaming();
        let answer = async {
            let answer = self.answer(request, captures).await;
            let mut response = answer.unwrap_or_else(|error| error_response(&error));
            // Customers' data stay out of caches, and are what their content type says.
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            response
        };
        if self.binding.rpc.is_server_streaming() {
            answer.await
        } else {
            gzip::negotiate(is_gzip_accepted, answer).await
        }
    }

    async fn answer(&self, request: Request, captures: &[Capture<'_>]) -> Result<Response, ApiError> {
        let (head, message) = self.read(request, captures).await?;
        // Few messages are larger than their JSON, such as lists of negative numbers. tonic would refuse them too.
        let limit = self.message_limit();
        if message.encoded_len() > limit {
            return Err(ApiError::TooLarge { limit });
        }
        let is_stream = self.binding.rpc.is_server_streaming();
        let ended = is_stream.then(|| {
            let by_caller = time_or_permission_ended(&head.extensions);
            let by_service = shutdown_or_age(&head.extensions, Some(self.readiness.clone()));
            async {
                tokio::select! { error = by_caller => error, error = by_service => error }
            }
            .boxed()
        });
        let service = self.service.clone();
        let request = rpc_request(&self.binding, head, &message);
        // It can take much more memory than the text, and is not needed while the RPC runs.
        drop(message);
        let called = service.oneshot(request).await;
        let answer = called.unwrap_or_else(|never| match never {});
        let (head, body) = answer.into_parts();
        let failure = Status::from_header_map(&head.headers).filter(|status| status.code() != Code::Ok);
        let mut response = match (failure, ended) {
            (Some(status), _) => self.failed(&status),
            (None, Some(ended)) => {
                let Binding { rpc, response_body, .. } = &self.binding;
                let lines = Lines::new(body, rpc.output(), response_body.clone(), ended);
                ([(CONTENT_TYPE, LINES)], axum::body::Body::new(lines)).into_response()
            }
            (None, None) => self.unary(body).await?,
        };
        // For the log and the metrics.
        let own = std::mem::replace(response.extensions_mut(), head.extensions);
        response.extensions_mut().extend(own);
        Ok(response)
    }

    /// Returns the head of a request, and what the request means.
    async fn read(&self, request: Request, captures: &[Capture<'_>]) -> Result<(Parts, DynamicMessage), ApiError> {
        let query = request.uri().query().map(str::to_owned);
        if self.binding.body == BodyRule::Nothing {
            // Its body, if it has one, is not read.
            let message = request::build_message(&self.binding, captures, query.as_deref(), b"")?;
            return Ok((request.into_parts().0, message));
        }
        let (head, body) = request.into_parts();
        let mut of_body = Request::new(body);
        *of_body.headers_mut() = head.headers.clone();
        *of_body.extensions_mut() = head.extensions.clone();
        let (limit, time) = (self.message_limit(), self.settings.body_timeout);
        let RequestText { bytes, room } = body::read(of_body, limit, time, &self.room).await?;
        let message = request::build_message(&self.binding, captures, query.as_deref(), &bytes);
        drop((bytes, room));
        Ok((head, message?))
    }

    /// Returns the answer to a call that has one.
    async fn unary(&self, body: Body) -> Result<Response, ApiError> {
        let collected = match body.collect().await {
            Ok(collected) => collected,
            Err(status) => return Ok(self.failed(&status)),
        };
        let internal = || ApiError::from(IdentifyError::Internal);
        // Without a status, the answer may be a part of one.
        let status = collected.trailers().and_then(Status::from_header_map).ok_or_else(internal)?;
        if status.code() != Code::Ok {
            return Ok(self.failed(&status));
        }
        let mut received = BytesMut::from(collected.to_bytes());
        let message = frame::decode(&mut received, &self.binding.rpc.output());
        let message = message.ok().flatten().filter(|_| received.is_empty()).ok_or_else(internal)?;
        let json = response::message_to_json(&message, self.binding.response_body.as_ref()).map_err(|_| internal())?;
        Ok(([JSON], json).into_response())
    }

    /// The largest message of the RPC, in bytes.
    fn message_limit(&self) -> usize {
        let path = format!("/{}", bindings::name(&self.binding.rpc));
        methods::message_limit(&path, self.settings.limits.http_body_limit)
    }

    /// The answer to a call that failed.
    fn failed(&self, status: &Status) -> Response {
        failed(status, self.binding.rpc.parent_pool())
    }
}

/// The answer to a call that failed. A fault without details is one of tonic, such as a message that it cannot read. It
/// is never that of the caller: the gateway made the message.
fn failed(status: &Status, pool: &DescriptorPool) -> Response {
    if status.details().is_empty() && [Code::Internal, Code::Unknown].contains(&status.code()) {
        return error_response(&IdentifyError::Internal.into());
    }
    status_response(status, StatusBody::new(status, pool).json())
}

/// Returns the request of the RPC. It has the headers and the extensions of the JSON request.
fn rpc_request(binding: &Binding, head: Parts, message: &DynamicMessage) -> http::Request<Body> {
    let Parts { mut headers, mut extensions, .. } = head;
    extensions.insert(FieldNames::Json);
    OF_THE_BODY.iter().for_each(|name| drop(headers.remove(name)));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let mut request = http::Request::new(Body::new(Full::new(frame::encode(message))));
    *request.method_mut() = http::Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    // Names of services and methods are always a valid path.
    *request.uri_mut() = format!("/{}", bindings::name(&binding.rpc)).parse().unwrap_or_default();
    *request.headers_mut() = headers;
    *request.extensions_mut() = extensions;
    request
}
