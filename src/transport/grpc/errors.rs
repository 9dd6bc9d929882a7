//! Errors as gRPC responses.

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tonic::{Code, Status};

use crate::transport::errors::ApiError;
use crate::transport::parse::FieldNames;

/// The compressions that the sender of this header can read.
pub(super) const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Returns the error as a gRPC response.
pub fn error_response(error: &ApiError) -> Response<Body> {
    let mut response = error.status(FieldNames::Proto).into_http();
    if *error == ApiError::Encoding {
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip,identity"));
    }
    response
}

/// Returns our error for a request that tonic refused before a handler saw it; `None` for every other response.
///
/// tonic's responses have no details, and two of its codes mislead. It answers INTERNAL to bytes that are no message,
/// so that a mistake of the caller would look like ours. It answers OUT_OF_RANGE to a message that is too large, and
/// RESOURCE_EXHAUSTED to one that is too large after decompression.
pub fn replace_tonic_error(headers: &HeaderMap, limit: usize) -> Option<ApiError> {
    if headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    if status.code() == Code::Unimplemented && headers.contains_key(ACCEPT_ENCODING) {
        return Some(ApiError::Encoding);
    }
    error_from_tonic(&status, limit)
}

/// The same for a status of a stream, whose messages are decoded one by one.
pub(super) fn error_from_tonic(status: &Status, limit: usize) -> Option<ApiError> {
    match status.code() {
        Code::Unimplemented if status.message().is_empty() => Some(ApiError::UnknownMethod),
        Code::OutOfRange | Code::ResourceExhausted => Some(ApiError::TooLarge { limit }),
        Code::Internal => Some(ApiError::Malformed("the request could not be decoded".to_owned())),
        Code::Ok
        | Code::Unimplemented
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => None,
    }
}
