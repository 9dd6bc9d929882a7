//! Errors as JSON responses.

use std::collections::HashMap;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt};

use crate::transport::errors::{ApiError, ErrorReason};
use crate::transport::parse::FieldNames;

/// The content type of every response of this API.
pub(super) const JSON: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("application/json"));

/// Returns the error as a JSON response: the status of the gRPC API, in proto3 JSON.
pub fn error_response(error: &ApiError) -> Response {
    let status = error.status(FieldNames::Json);
    // Strings and numbers can always be serialised.
    let body = serde_json::to_vec(&ErrorBody::from_status(&status)).unwrap_or_default();
    let mut response = response(http_status(error, &status), &status, body);
    // What the caller may send instead (RFC 9110).
    if *error == ApiError::ContentType {
        response.headers_mut().insert(ACCEPT, JSON.1);
    }
    if *error == ApiError::Encoding {
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if *error == ApiError::Unauthenticated {
        // The same for a missing and for an unknown token.
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response.extensions_mut().insert(error.reason());
    response
}

/// Returns the status of an RPC as a JSON response, with this body.
pub(super) fn status_response(status: &Status, body: Vec<u8>) -> Response {
    let mut response = response(http_status_of_code(status.code()), status, body);
    if let Some(info) = status.get_details_error_info() {
        response.extensions_mut().insert(ErrorReason(info.reason.into()));
    }
    response
}

/// What all responses with an error have.
fn response(http_status: StatusCode, status: &Status, body: Vec<u8>) -> Response {
    let mut response = (http_status, [JSON], body).into_response();
    if let Some(delay) = status.get_details_retry_info().and_then(|info| info.retry_delay) {
        // In whole seconds, and never 0, which would mean "at once".
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(delay.as_secs_f64().ceil().max(1.0) as u64));
    }
    response.extensions_mut().insert(status.code());
    response
}

/// The HTTP status of an error: that of grpc-gateway for its code, unless HTTP has a more exact one.
fn http_status(error: &ApiError, status: &Status) -> StatusCode {
    match error {
        ApiError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        ApiError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        ApiError::ContentType | ApiError::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ApiError::WrongHttpMethod => StatusCode::METHOD_NOT_ALLOWED,
        // Not the fault of this caller.
        ApiError::ConnectionsFull => StatusCode::SERVICE_UNAVAILABLE,
        ApiError::Invalid(_)
        | ApiError::InvalidFields(_)
        | ApiError::UnknownIdentity
        | ApiError::LookUpTooLarge { .. }
        | ApiError::ExplanationTooLarge { .. }
        | ApiError::BatchSize(_)
        | ApiError::Malformed(_)
        | ApiError::BadField { .. }
        | ApiError::Origin
        | ApiError::Unauthenticated
        | ApiError::ScopeMissing(_)
        | ApiError::RateLimited(_)
        | ApiError::Timeout(_)
        | ApiError::UnknownMethod
        | ApiError::UnknownPath
        | ApiError::DatabaseUnusable(_)
        | ApiError::ShuttingDown
        | ApiError::AnswerTooLarge { .. }
        | ApiError::StreamsFull
        | ApiError::ConnectionTooOld
        | ApiError::Identify(_) => http_status_of_code(status.code()),
    }
}

/// `HTTPStatusFromCode` of grpc-gateway.
fn http_status_of_code(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // 499, "client closed request", has no name.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A status in proto3 JSON.
#[derive(Serialize)]
pub(super) struct ErrorBody {
    code: i32,
    message: String,
    details: Vec<Detail>,
}

impl ErrorBody {
    pub(super) fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().cloned();
        let violations = details.bad_request().map(|request| request.field_violations.iter().map(Into::into).collect());
        let retry = details.retry_info().and_then(|info| info.retry_delay);
        let details = [
            info.map(|ErrorInfo { reason, domain, metadata, .. }| Detail::ErrorInfo { reason, domain, metadata }),
            violations.map(|field_violations| Detail::BadRequest { field_violations }),
            retry.map(|delay| Detail::RetryInfo { retry_delay: proto_duration(delay) }),
        ];
        Self {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: details.into_iter().flatten().collect(),
        }
    }
}

/// A message of `google.rpc` in proto3 JSON.
#[derive(Serialize)]
#[serde(tag = "@type")]
enum Detail {
    #[serde(rename = "type.googleapis.com/google.rpc.ErrorInfo")]
    ErrorInfo { reason: String, domain: String, metadata: HashMap<String, String> },
    #[serde(rename = "type.googleapis.com/google.rpc.BadRequest", rename_all = "camelCase")]
    BadRequest { field_violations: Vec<FieldViolation> },
    #[serde(rename = "type.googleapis.com/google.rpc.RetryInfo", rename_all = "camelCase")]
    RetryInfo { retry_delay: String },
}

#[derive(Serialize)]
struct FieldViolation {
    field: String,
    description: String,
}

impl From<&tonic_types::FieldViolation> for FieldViolation {
    fn from(violation: &tonic_types::FieldViolation) -> Self {
        Self { field: violation.field.clone(), description: violation.description.clone() }
    }
}

/// `google.protobuf.Duration` in proto3 JSON: `1s`, `0.500s`.
fn proto_duration(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if nanos == 0 { format!("{seconds}s") } else { format!("{seconds}.{:03}s", nanos / 1_000_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_proto3_json() {
        assert_eq!(proto_duration(Duration::from_secs(3)), "3s");
        assert_eq!(proto_duration(Duration::from_millis(50)), "0.050s");
        assert_eq!(proto_duration(Duration::from_millis(1_500)), "1.500s");
    }
}
