use axum::body::Body;
use http::{HeaderMap, Response};
use tonic::{Code, Status};

use crate::transport::{ApiError, Naming};

/// A fault as this API tells it.
pub fn reply(fault: &ApiError) -> Response<Body> {
    fault.status(Naming::Proto).into_http()
}

/// What tonic refused before a handler saw it, as a fault of ours; `None` for every other answer.
///
/// Those answers have no details. Two codes would mislead: bytes that are no message are INTERNAL (so a
/// caller's fault would look like ours), and ones that are too many OUT_OF_RANGE. A compression that the
/// service does not know keeps tonic's answer, which clients understand.
pub fn restate(headers: &HeaderMap, limit: usize) -> Option<ApiError> {
    if headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    fault_of(&Status::from_header_map(headers)?, limit)
}

/// The same for a status that is not sent yet: a stream's messages are decoded one by one.
pub(super) fn fault_of(status: &Status, limit: usize) -> Option<ApiError> {
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
