//! How a call ended, and its names in the log, in traces, in metrics and in answers.

use tonic::Code;

use crate::domain::Outcome;

/// What became of a request that had an answer, for the log and for traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It was carried out.
    CarriedOut(Outcome),
    /// The caller only wanted to know the answer.
    Validated,
}

impl CallOutcome {
    /// The outcome of a request with this outcome in its answer.
    pub fn new(outcome: Outcome, validate_only: bool) -> Self {
        if validate_only { Self::Validated } else { Self::CarriedOut(outcome) }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::CarriedOut(outcome) => outcome_name(outcome),
            Self::Validated => "validated",
        }
    }
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
