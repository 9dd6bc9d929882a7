//! Errors as gRPC responses.

use axum::body::Body;
use http::{HeaderMap, Response};
use tonic::{Code, Status};

use crate::transport::errors::ApiError;
use crate::transport::parse::FieldNames;

/// Returns the error as a gRPC response.
pub fn error_response(error: &ApiError) -> Response<Body> {
    error.status(FieldNames::Proto).into_http()
}

/// Returns our error for a request that tonic refused before a handler saw it; `None` for every other response.
///
/// tonic's responses have no details, and two of its codes mislead. It answers INTERNAL to bytes that are no message,
/// so that a mistake of the caller would look like ours, and OUT_OF_RANGE to a message that is too large. An unknown
/// compression keeps tonic's response, which clients understand.
pub fn replace_tonic_error(headers: &HeaderMap, limit: usize) -> Option<ApiError> {
    if headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    error_from_tonic(&Status::from_header_map(headers)?, limit)
}

/// The same for a status of a stream, whose messages are decoded one by one.
pub(super) fn error_from_tonic(status: &Status, limit: usize) -> Option<ApiError> {
    match status.code() {
        Code::Unimplemented if status.message().is_empty() => Some(ApiError::UnknownMethod),
        Code::OutOfRange => Some(ApiError::TooLarge { limit }),
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
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => None,
    }
}
