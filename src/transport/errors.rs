//! Every error that a caller can get, and the one place where errors become codes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::batch_size::{BatchSize, MAX_BATCH_ITEMS};
use super::deadline::MalformedTimeout;
use super::invalid_field::{FieldPath, FieldProblem, InvalidField, MAX_IDENTIFIERS};
use super::parse::{Field, FieldNames, Problem, Violation};
use crate::auth::Scope;
use crate::domain::IdentityTooLarge;
use crate::resolver::IdentifyError;
use crate::store::{MAX_HISTORY_CONTACTS, MAX_HISTORY_SETS, Outage};

/// The `domain` of every `google.rpc.ErrorInfo` of this service.
pub const DOMAIN: &str = "identity.v1";

/// The retry delay when too many requests wait. The queue empties in a fraction of it.
const OVERLOADED_RETRY: Duration = Duration::from_millis(500);
/// The retry delay when the database cannot be reached. A failover takes seconds.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);
/// The shortest retry delay of a caller that calls too often. JSON has it in milliseconds.
const SHORTEST_RETRY: Duration = Duration::from_millis(1);

/// An error of a call or of an item, on either API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Fields with invalid values.
    #[error("the request has invalid fields")]
    Invalid(Vec<Violation>),
    /// Fields of a request that reads the graph, with invalid values. There is at least one.
    #[error("the request has invalid fields")]
    InvalidFields(Vec<InvalidField>),
    /// No identity has the contact that the request names.
    #[error("no identity has a contact with this id")]
    UnknownIdentity,
    /// The identities that a look-up found do not fit into an answer.
    #[error("the identities do not fit into the {limit} bytes of an answer: ask for fewer identifiers")]
    LookUpTooLarge {
        /// Maximum size of an answer, in bytes.
        limit: usize,
    },
    /// The explanation of an identity does not fit into an answer.
    #[error("the explanation does not fit into the {limit} bytes of an answer: list the evidence instead")]
    ExplanationTooLarge {
        /// Maximum size of an answer, in bytes.
        limit: usize,
    },
    /// A batch that is empty or too long.
    #[error(transparent)]
    BatchSize(#[from] BatchSize),
    /// Bytes that are not a request. The text says why, without quoting them.
    #[error("{0}")]
    Malformed(String),
    /// A field with a value that it cannot have, in a request that the gateway of the JSON API translates.
    #[error("{field} {problem}")]
    BadField {
        /// The path of the field, as JSON spells it.
        field: String,
        /// What is wrong, without the value.
        problem: String,
    },
    /// More bytes than `limit`.
    #[error("the request is larger than {limit} bytes")]
    TooLarge {
        /// Maximum size of a request, in bytes.
        limit: usize,
    },
    /// The body took too long to arrive.
    #[error("the body of the request did not arrive in time")]
    TooSlow,
    /// A body whose content type is not JSON.
    #[error("the body must have the content type application/json, or none")]
    ContentType,
    /// A compression that the service does not know.
    #[error("the encoding of the request is not known: the service takes gzip, or none")]
    Encoding,
    /// A web page of an origin that may not call the service.
    #[error("web pages of this origin may not call the service")]
    Origin,
    /// It is not known who calls.
    #[error("the call needs a valid bearer token or client certificate")]
    Unauthenticated,
    /// The caller lacks a scope.
    #[error("the caller lacks the scope {scope}", scope = .0.name())]
    ScopeMissing(Scope),
    /// The caller calls too often, and may call again after this time.
    #[error("the caller calls more often than its rate allows")]
    RateLimited(Duration),
    /// A `grpc-timeout` header that cannot be parsed.
    #[error(transparent)]
    Timeout(#[from] MalformedTimeout),
    /// There is no such gRPC method.
    #[error("there is no such method")]
    UnknownMethod,
    /// There is no such HTTP path.
    #[error("there is nothing at this path")]
    UnknownPath,
    /// The HTTP path exists, but not for this method.
    #[error("the path does not take this HTTP method")]
    WrongHttpMethod,
    /// The service is not ready to take calls, because the database cannot be used.
    #[error("the service is not ready: {0}")]
    DatabaseUnusable(Outage),
    /// The service ends: another connection leads to another replica.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// The answer to an item of a batch did not fit into the answer to the batch. The item was carried out, unless it
    /// had `validate_only`.
    #[error(
        "the answer to the item does not fit into the {limit} bytes of a batch's answer; the item was carried out, \
         unless it was to be validated only"
    )]
    AnswerTooLarge {
        /// Maximum size of an answer, in bytes.
        limit: usize,
    },
    /// The connection is beyond the limits of connections.
    #[error("too many connections are open: beyond the limit only health is answered")]
    ConnectionsFull,
    /// Too many health or reflection streams.
    #[error("too many health and reflection streams are open")]
    StreamsFull,
    /// The connection has reached its maximum age.
    #[error("the connection has reached its maximum age: open the stream again, on a new connection")]
    ConnectionTooOld,
    /// An error of the resolver.
    #[error(transparent)]
    Identify(#[from] IdentifyError),
}

/// The reason of an error, in UPPER_SNAKE case. On the JSON API it is an extension of the response, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReason(pub Cow<'static, str>);

impl ApiError {
    /// Returns the error of a request in which this field is wrong.
    pub fn of_field(path: FieldPath, problem: FieldProblem) -> Self {
        Self::InvalidFields(vec![InvalidField { path, problem }])
    }

    /// Returns the status for the caller: the one place where errors become codes (AIP-193). The JSON API renders the
    /// same status.
    pub fn status(&self, names: FieldNames) -> Status {
        let (code, reason, retry) = self.kind();
        let mut details = ErrorDetails::with_error_info(reason, DOMAIN, self.metadata(names));
        if let Self::Invalid(violations) = self {
            let violations = violations
                .iter()
                .map(|violation| FieldViolation::new(violation.field.name(names), violation.problem.to_string()));
            details.set_bad_request(violations.collect::<Vec<_>>());
        }
        if let Self::InvalidFields(fields) = self {
            details.set_bad_request(fields.iter().map(|field| field.violation()).collect::<Vec<_>>());
        }
        if let Self::BatchSize(size) = self {
            details.set_bad_request([FieldViolation::new("requests", size.to_string())]);
        }
        if let Self::BadField { field, problem } = self {
            details.set_bad_request([FieldViolation::new(field, problem)]);
        }
        if retry.is_some() {
            details.set_retry_info(retry);
        }
        Status::with_error_details(code, self.message(names), details)
    }

    /// Returns the reason, in UPPER_SNAKE case.
    pub fn reason(&self) -> ErrorReason {
        ErrorReason(self.kind().1.into())
    }

    /// Returns whether the service could not do what it was rightly asked for: overload, an outage, a deadline, a
    /// fault. Otherwise the caller has to ask for something else.
    pub fn is_of_service(&self) -> bool {
        is_of_service(self.kind().0)
    }

    /// The code, the reason and, if a retry helps, its delay.
    fn kind(&self) -> (Code, &'static str, Option<Duration>) {
        match self {
            Self::Invalid(violations) if violations.iter().all(|v| v.problem == Problem::Missing) => {
                (Code::InvalidArgument, "IDENTIFIER_MISSING", None)
            }
            Self::Invalid(_) => (Code::InvalidArgument, "IDENTIFIER_INVALID", None),
            Self::InvalidFields(fields) => {
                (Code::InvalidArgument, fields.first().map_or("REQUEST_MALFORMED", |one| one.problem.reason()), None)
            }
            Self::UnknownIdentity => (Code::NotFound, "IDENTITY_UNKNOWN", None),
            Self::BatchSize(BatchSize::Empty) => (Code::InvalidArgument, "BATCH_EMPTY", None),
            Self::BatchSize(BatchSize::TooLong) => (Code::InvalidArgument, "BATCH_TOO_LONG", None),
            Self::Malformed(_) | Self::BadField { .. } => (Code::InvalidArgument, "REQUEST_MALFORMED", None),
            Self::TooLarge { .. } => (Code::InvalidArgument, "REQUEST_TOO_LARGE", None),
            Self::TooSlow => (Code::DeadlineExceeded, "REQUEST_TOO_SLOW", None),
            Self::ContentType => (Code::InvalidArgument, "CONTENT_TYPE_UNKNOWN", None),
            Self::Encoding => (Code::Unimplemented, "ENCODING_UNKNOWN", None),
            Self::Origin => (Code::PermissionDenied, "ORIGIN_NOT_ALLOWED", None),
            Self::Unauthenticated => (Code::Unauthenticated, "UNAUTHENTICATED", None),
            Self::ScopeMissing(_) => (Code::PermissionDenied, "SCOPE_MISSING", None),
            Self::RateLimited(wait) => (Code::ResourceExhausted, "RATE_LIMITED", Some((*wait).max(SHORTEST_RETRY))),
            Self::Timeout(MalformedTimeout) => (Code::InvalidArgument, "TIMEOUT_MALFORMED", None),
            Self::UnknownMethod => (Code::Unimplemented, "METHOD_UNKNOWN", None),
            Self::UnknownPath => (Code::NotFound, "PATH_UNKNOWN", None),
            Self::WrongHttpMethod => (Code::Unimplemented, "HTTP_METHOD_NOT_ALLOWED", None),
            Self::DatabaseUnusable(_) => (Code::Unavailable, "NOT_READY", Some(UNAVAILABLE_RETRY)),
            Self::ShuttingDown => (Code::Unavailable, "SHUTTING_DOWN", Some(UNAVAILABLE_RETRY)),
            // Without a delay: the same batch again would not fit either.
            Self::AnswerTooLarge { .. } | Self::LookUpTooLarge { .. } | Self::ExplanationTooLarge { .. } => {
                (Code::ResourceExhausted, "ANSWER_TOO_LARGE", None)
            }
            Self::Identify(IdentifyError::IdentityTooLarge(_) | IdentifyError::HistoryTooLarge) => {
                (Code::FailedPrecondition, "IDENTITY_TOO_LARGE", None)
            }
            Self::Identify(IdentifyError::OnlyIgnored) => (Code::FailedPrecondition, "IDENTIFIERS_IGNORED", None),
            Self::ConnectionsFull => (Code::ResourceExhausted, "CONNECTIONS_FULL", Some(UNAVAILABLE_RETRY)),
            Self::StreamsFull => (Code::ResourceExhausted, "STREAMS_FULL", Some(UNAVAILABLE_RETRY)),
            Self::ConnectionTooOld => (Code::Unavailable, "CONNECTION_TOO_OLD", Some(OVERLOADED_RETRY)),
            Self::Identify(IdentifyError::Overloaded) => {
                (Code::ResourceExhausted, "OVERLOADED", Some(OVERLOADED_RETRY))
            }
            Self::Identify(IdentifyError::Unavailable) => {
                (Code::Unavailable, "DATABASE_UNAVAILABLE", Some(UNAVAILABLE_RETRY))
            }
            Self::Identify(IdentifyError::DeadlineExceeded) => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", None),
            Self::Identify(IdentifyError::IdTaken) => (Code::Internal, "AUTOMATIC_ID_TAKEN", None),
            Self::Identify(IdentifyError::Internal) => (Code::Internal, "INTERNAL", None),
        }
    }

    /// Details for programs, beside the reason.
    fn metadata(&self, names: FieldNames) -> HashMap<String, String> {
        match self {
            Self::Invalid(violations) => {
                let fields: Vec<_> = violations.iter().map(|violation| violation.field.name(names)).collect();
                HashMap::from([("fields".to_owned(), fields.join(","))])
            }
            Self::BadField { field, .. } => HashMap::from([("fields".to_owned(), field.clone())]),
            Self::InvalidFields(fields) => {
                let names: Vec<_> = fields.iter().map(|field| field.path.name()).collect();
                let limit = (fields.iter().any(|field| field.problem.is_too_many()))
                    .then(|| ("limit_items".to_owned(), MAX_IDENTIFIERS.to_string()));
                limit.into_iter().chain([("fields".to_owned(), names.join(","))]).collect()
            }
            Self::TooLarge { limit }
            | Self::AnswerTooLarge { limit }
            | Self::LookUpTooLarge { limit }
            | Self::ExplanationTooLarge { limit } => HashMap::from([("limit_bytes".to_owned(), limit.to_string())]),
            Self::BatchSize(_) => HashMap::from([("limit_items".to_owned(), MAX_BATCH_ITEMS.to_string())]),
            Self::Identify(IdentifyError::IdentityTooLarge(IdentityTooLarge { limit })) => {
                HashMap::from([("limit_contacts".to_owned(), limit.to_string())])
            }
            Self::Identify(IdentifyError::HistoryTooLarge) => HashMap::from([
                ("limit_contacts".to_owned(), MAX_HISTORY_CONTACTS.to_string()),
                ("limit_sets".to_owned(), MAX_HISTORY_SETS.to_string()),
            ]),
            Self::ScopeMissing(scope) => HashMap::from([("scope".to_owned(), scope.name().to_owned())]),
            Self::Malformed(_)
            | Self::TooSlow
            | Self::ContentType
            | Self::Encoding
            | Self::Origin
            | Self::Unauthenticated
            | Self::RateLimited(_)
            | Self::Timeout(_)
            | Self::UnknownMethod
            | Self::UnknownPath
            | Self::WrongHttpMethod
            | Self::UnknownIdentity
            | Self::DatabaseUnusable(_)
            | Self::ShuttingDown
            | Self::ConnectionsFull
            | Self::StreamsFull
            | Self::ConnectionTooOld
            | Self::Identify(_) => HashMap::new(),
        }
    }

    /// The message for a developer. It names the fields.
    fn message(&self, names: FieldNames) -> String {
        if let Self::InvalidFields(fields) = self {
            return fields.iter().map(|field| field.message()).collect::<Vec<_>>().join("; ");
        }
        let Self::Invalid(violations) = self else { return self.to_string() };
        if violations.iter().all(|violation| violation.problem == Problem::Missing) {
            return format!("{} must be given", Field::ALL.map(|field| field.name(names)).join(" or "));
        }
        let each = violations.iter().map(|v| format!("{} {}", v.field.name(names), v.problem));
        each.collect::<Vec<_>>().join("; ")
    }
}

/// Returns whether a code says that the service could not do what it was rightly asked for.
pub fn is_of_service(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::InvalidEmail;
    use crate::transport::invalid_field::IdentifierList;

    fn every_error() -> Vec<ApiError> {
        vec![
            ApiError::Invalid(vec![Violation { field: Field::Email, problem: InvalidEmail::NotOneAt.into() }]),
            ApiError::Invalid(vec![Violation { field: Field::Email, problem: Problem::Missing }]),
            ApiError::of_field(FieldPath::Kind(IdentifierList::Identifiers, 7), FieldProblem::Kind),
            ApiError::UnknownIdentity,
            ApiError::LookUpTooLarge { limit: 7 },
            ApiError::ExplanationTooLarge { limit: 7 },
            ApiError::BatchSize(BatchSize::Empty),
            ApiError::BatchSize(BatchSize::TooLong),
            ApiError::Malformed("no JSON".into()),
            ApiError::BadField { field: "policy.name".into(), problem: "must be a text".into() },
            ApiError::TooLarge { limit: 7 },
            ApiError::TooSlow,
            ApiError::ContentType,
            ApiError::Encoding,
            ApiError::Origin,
            ApiError::Unauthenticated,
            ApiError::ScopeMissing(Scope::Erase),
            ApiError::RateLimited(Duration::ZERO),
            ApiError::Timeout(MalformedTimeout),
            ApiError::UnknownMethod,
            ApiError::UnknownPath,
            ApiError::WrongHttpMethod,
            ApiError::DatabaseUnusable(Outage::Schema),
            ApiError::ShuttingDown,
            ApiError::AnswerTooLarge { limit: 7 },
            ApiError::Identify(IdentityTooLarge { limit: 7 }.into()),
            ApiError::Identify(IdentifyError::HistoryTooLarge),
            ApiError::ConnectionsFull,
            ApiError::StreamsFull,
            ApiError::ConnectionTooOld,
            ApiError::Identify(IdentifyError::OnlyIgnored),
            ApiError::Identify(IdentifyError::Overloaded),
            ApiError::Identify(IdentifyError::Unavailable),
            ApiError::Identify(IdentifyError::DeadlineExceeded),
            ApiError::Identify(IdentifyError::IdTaken),
            ApiError::Identify(IdentifyError::Internal),
        ]
    }

    #[test]
    fn every_status_follows_aip_193() {
        for error in every_error() {
            let status = error.status(FieldNames::Proto);
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!(info.domain, DOMAIN);
            assert!(info.reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{}", info.reason);
            assert!(!status.message().is_empty());
            let retryable = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
                && error.reason().0 != "ANSWER_TOO_LARGE";
            assert_eq!(details.retry_info().is_some(), retryable, "{error:?}");
            let names_fields = matches!(
                error,
                ApiError::Invalid(_) | ApiError::InvalidFields(_) | ApiError::BatchSize(_) | ApiError::BadField { .. }
            );
            assert_eq!(details.bad_request().is_some(), names_fields);
        }
    }

    #[test]
    fn fields_have_the_names_of_the_api() {
        let error = ApiError::Invalid(vec![
            Violation { field: Field::Email, problem: Problem::NotText },
            Violation { field: Field::PhoneNumber, problem: Problem::GivenTwice },
        ]);
        let message = |names| error.status(names).message().to_owned();
        assert!(message(FieldNames::Json).contains("; phoneNumber must"), "{}", message(FieldNames::Json));
        assert!(message(FieldNames::Proto).contains("; phone_number must"));
        assert_eq!(
            error.status(FieldNames::Proto).get_error_details().error_info().unwrap().metadata["fields"],
            "email,phone_number"
        );
    }
}
