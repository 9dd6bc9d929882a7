//! The paths of an API, with what the log calls them.

use std::collections::HashMap;

use tonic::Code;

use crate::domain::Outcome;

/// The handlers and paths of an API.
#[derive(Debug)]
pub struct RouteTable {
    /// The handlers. The log reads the extensions of a response: an [`Outcome`], the
    /// [`ItemCounts`](super::batch::ItemCounts) of a batch, the [`StreamItemCounts`](super::batch::StreamItemCounts) of
    /// a stream and, on the JSON API, a [`Code`].
    pub router: axum::Router,
    /// Every path of the handlers. Other paths are never logged: they can hold anything.
    pub routes: HashMap<String, Route>,
}

/// What the log says about a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// `package.Service/Method`, if an RPC serves the path.
    pub rpc_method: Option<String>,
    /// The path, on the JSON API.
    pub http_route: Option<String>,
    /// Whether machines call it every few seconds, so that the log shows it at debug level only.
    pub is_probe: bool,
    /// Whether the caller or the service sends a stream of messages.
    pub is_stream: bool,
}

/// The name of an outcome in the log and in the header `Identity-Outcome`.
pub fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "created",
        Outcome::Matched => "matched",
        Outcome::Linked => "linked",
        Outcome::Merged => "merged",
    }
}

/// The name of a code in the log, as gRPC writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
