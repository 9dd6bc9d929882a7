use super::*;
use crate::domain::InvalidEmail;
use crate::transport::invalid_field::IdentifierList;
use crate::transport::note::{NoteField, NoteProblem};

fn every_error() -> Vec<ApiError> {
    vec![
        ApiError::Invalid(vec![Violation { field: Field::Email, problem: InvalidEmail::NotOneAt.into() }]),
        ApiError::Invalid(vec![Violation { field: Field::Email, problem: Problem::Missing }]),
        ApiError::of_field(FieldPath::Kind(IdentifierList::Identifiers, 7), FieldProblem::Kind),
        ApiError::InvalidNote(vec![NoteViolation { field: NoteField::Source, problem: NoteProblem::NotText }]),
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
            ApiError::Invalid(_)
                | ApiError::InvalidFields(_)
                | ApiError::InvalidNote(_)
                | ApiError::BatchSize(_)
                | ApiError::BadField { .. }
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
