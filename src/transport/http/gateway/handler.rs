//! Serves an RPC as JSON, in this process.

use std::convert::Infallible;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TE, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use prost_reflect::DynamicMessage;
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
use crate::transport::grpc::replace_tonic_error;
use crate::transport::gunzip::TextRoom;
use crate::transport::http::body::{self, RequestText};
use crate::transport::http::errors::{JSON, error_response, status_response};
use crate::transport::http::gzip;
use crate::transport::http::settings::HttpSettings;
use crate::transport::methods;
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
}

impl RpcHandler {
    pub(super) async fn call(&self, request: Request, captures: &[Capture<'_>]) -> Response {
        let is_gzip_accepted = gzip::is_accepted(request.headers()) && !self.binding.rpc.is_server_streaming();
        let answer = async {
            let answer = self.answer(request, captures).await;
            answer.unwrap_or_else(|error| error_response(&error))
        };
        if self.binding.rpc.is_server_streaming() {
            answer.await
        } else {
            gzip::negotiate(is_gzip_accepted, answer).await
        }
    }

    async fn answer(&self, request: Request, captures: &[Capture<'_>]) -> Result<Response, ApiError> {
        let (head, message) = self.read(request, captures).await?;
        let service = self.service.clone();
        let request = rpc_request(&self.binding, head, &message);
        // It can take much more memory than the text, and is not needed while the RPC runs.
        drop(message);
        let called = service.oneshot(request).await;
        let answer = called.unwrap_or_else(|never| match never {});
        if let Some(error) = replace_tonic_error(answer.headers(), self.settings.limits.http_body_limit) {
            return Err(error);
        }
        let (head, body) = answer.into_parts();
        let mut response = match Status::from_header_map(&head.headers) {
            Some(status) if status.code() != Code::Ok => failed(&status),
            _ if self.binding.rpc.is_server_streaming() => {
                let lines = Lines::new(body, self.binding.rpc.output(), self.binding.response_body.clone());
                ([(CONTENT_TYPE, LINES)], axum::body::Body::new(lines)).into_response()
            }
            _ => self.unary(body).await?,
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
            let message = request::message(&self.binding, captures, query.as_deref(), b"")?;
            return Ok((request.into_parts().0, message));
        }
        let (head, body) = request.into_parts();
        let mut of_body = Request::new(body);
        *of_body.headers_mut() = head.headers.clone();
        *of_body.extensions_mut() = head.extensions.clone();
        let path = format!("/{}", bindings::name(&self.binding.rpc));
        let limit = methods::message_limit(&path, self.settings.limits.http_body_limit);
        let RequestText { bytes, room } = body::read(of_body, limit, self.settings.body_timeout, &self.room).await?;
        let message = request::message(&self.binding, captures, query.as_deref(), &bytes);
        drop((bytes, room));
        Ok((head, message?))
    }

    /// Returns the answer to a call that has one.
    async fn unary(&self, body: Body) -> Result<Response, ApiError> {
        let collected = match body.collect().await {
            Ok(collected) => collected,
            Err(status) => return Ok(failed(&status)),
        };
        let status = collected.trailers().and_then(Status::from_header_map);
        match status {
            Some(status) if status.code() != Code::Ok => return Ok(failed(&status)),
            _ => {}
        }
        let mut received = BytesMut::from(collected.to_bytes());
        let internal = || ApiError::from(IdentifyError::Internal);
        let message = frame::decode(&mut received, &self.binding.rpc.output());
        let message = message.ok().flatten().ok_or_else(internal)?;
        let json = response::json(&message, self.binding.response_body.as_ref()).map_err(|_| internal())?;
        Ok(([JSON], json).into_response())
    }
}

/// The answer to a call that failed.
fn failed(status: &Status) -> Response {
    status_response(status, StatusBody::new(status).json())
}

/// Returns the request of the RPC. It has the headers and the extensions of the JSON request.
fn rpc_request(binding: &Binding, head: Parts, message: &DynamicMessage) -> http::Request<Body> {
    let Parts { mut headers, extensions, .. } = head;
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
