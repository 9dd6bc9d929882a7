//! Why a call failed, and how much that matters.

use std::borrow::Cow;

use http::header::HeaderValue;
use http::{HeaderMap, HeaderName, Response};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::transport::errors::ErrorReason;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Where the reason of a failure stands. It is decoded only if somebody asks for it.
#[derive(Debug, Default)]
pub(super) enum Failure {
    /// There is none.
    #[default]
    Unexplained,
    /// On the JSON API.
    Reason(ErrorReason),
    /// The details of a gRPC status.
    Details(HeaderValue),
}

/// How much it matters that a call ended with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// The call succeeded, or it is for the caller to change something.
    Info,
    /// The service could not do its work in time, or cannot do it now: the database cannot be used.
    Warn,
    /// A fault of the service, or of its database.
    Error,
}

impl Failure {
    /// Reads the head of a response, of either API.
    pub(super) fn of_response<B>(response: &Response<B>) -> Self {
        match response.extensions().get() {
            Some(reason) => Self::Reason(ErrorReason::clone(reason)),
            None => Self::of_headers(response.headers()),
        }
    }

    /// Reads the head or the trailers of a gRPC response.
    pub(super) fn of_headers(headers: &HeaderMap) -> Self {
        headers.get(DETAILS).cloned().map_or(Self::Unexplained, Self::Details)
    }

    /// Returns the reason, which is that of `google.rpc.ErrorInfo`.
    pub(super) fn reason(&self, code: Code) -> Option<Cow<'static, str>> {
        match self {
            Self::Unexplained => None,
            Self::Reason(ErrorReason(reason)) => Some(reason.clone()),
            Self::Details(details) => {
                let headers = [(STATUS, HeaderValue::from(i32::from(code))), (DETAILS, details.clone())];
                let status = Status::from_header_map(&headers.into_iter().collect())?;
                Some(status.get_error_details().error_info()?.reason.clone().into())
            }
        }
    }
}

impl Severity {
    /// Returns how much it matters that a call ended like this. `is_open_stream`: it ended after its stream of answers
    /// was open. Then a deadline is the time for which its caller wanted the stream.
    pub(super) fn new(code: Code, reason: Option<&str>, is_open_stream: bool) -> Self {
        match code {
            Code::Unknown | Code::Internal | Code::DataLoss => Self::Error,
            Code::Unavailable if matches!(reason, Some("DATABASE_UNAVAILABLE" | "NOT_READY")) => Self::Warn,
            // REQUEST_TOO_SLOW means that the caller was too slow.
            Code::DeadlineExceeded if !is_open_stream && reason != Some("REQUEST_TOO_SLOW") => Self::Warn,
            Code::Ok
            | Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated => Self::Info,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::api::Api;
    use crate::resolver::IdentifyError;
    use crate::store::Outage;
    use crate::transport::errors::ApiError;
    use crate::transport::parse::FieldNames;

    #[test]
    fn failures_of_the_service_matter_more() {
        for (error, reason, severity) in [
            (IdentifyError::Internal.into(), "INTERNAL", Severity::Error),
            (IdentifyError::IdTaken.into(), "AUTOMATIC_ID_TAKEN", Severity::Error),
            (IdentifyError::Unavailable.into(), "DATABASE_UNAVAILABLE", Severity::Warn),
            (ApiError::DatabaseUnusable(Outage::Schema), "NOT_READY", Severity::Warn),
            (ApiError::ShuttingDown, "SHUTTING_DOWN", Severity::Info),
            (IdentifyError::DeadlineExceeded.into(), "DEADLINE_EXCEEDED", Severity::Warn),
            (ApiError::TooSlow, "REQUEST_TOO_SLOW", Severity::Info),
            (IdentifyError::Overloaded.into(), "OVERLOADED", Severity::Info),
            (ApiError::Unauthenticated, "UNAUTHENTICATED", Severity::Info),
        ] {
            let code = error.status(FieldNames::Proto).code();
            for api in [Api::Grpc, Api::Http] {
                let found = Failure::of_response(&api.error_response(&error)).reason(code);
                assert_eq!(found.as_deref(), Some(reason), "{api:?}");
                assert_eq!(Severity::new(code, found.as_deref(), false), severity, "{reason}");
            }
        }
        assert_eq!(Failure::of_response(&Response::new(())).reason(Code::Unknown), None);
        for (code, severity) in [
            (Code::Unknown, Severity::Error),
            (Code::DeadlineExceeded, Severity::Warn),
            (Code::Cancelled, Severity::Info),
            (Code::Ok, Severity::Info),
        ] {
            assert_eq!(Severity::new(code, None, false), severity, "{code:?}");
        }
    }

    #[test]
    fn the_time_limit_of_an_open_stream_is_that_of_its_caller() {
        let expired = Some("DEADLINE_EXCEEDED");
        assert_eq!(Severity::new(Code::DeadlineExceeded, expired, true), Severity::Info);
        assert_eq!(Severity::new(Code::Internal, Some("INTERNAL"), true), Severity::Error);
    }
}
