//! From the fields of a request to its note.

use tonic_types::FieldViolation;

use super::parse::FieldNames;
use crate::domain::{InvalidMoment, InvalidNote, MAX_EXTERNAL_REF, MAX_SOURCE, Note, Timestamp, note_text};

/// A field of a request that says something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteField {
    /// Where it comes from.
    Source,
    /// What the source calls it.
    ExternalRef,
    /// When it happened.
    OccurredTime,
}

/// What is wrong with such a field. Never holds its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteProblem {
    /// It is a text that cannot be kept.
    #[error(transparent)]
    Text(#[from] InvalidNote),
    /// It is no moment that can be kept.
    #[error(transparent)]
    Moment(#[from] InvalidMoment),
    /// It is not a JSON string, or not Unicode.
    #[error("must be a string")]
    NotText,
    /// It is not a JSON string with a moment.
    #[error("must be a date and time, such as 2026-11-27T10:00:00Z")]
    NotMoment,
    /// The field was given under both of its names.
    #[error("must be given once, not under both of its names")]
    GivenTwice,
}

/// A field and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoteViolation {
    /// The field.
    pub field: NoteField,
    /// What is wrong with it.
    pub problem: NoteProblem,
}

/// The fields of a request, each `None` if it is absent, or with what is wrong with it already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteFields<'a> {
    /// Where it comes from.
    pub source: Result<Option<&'a str>, NoteProblem>,
    /// What the source calls it.
    pub external_ref: Result<Option<&'a str>, NoteProblem>,
    /// When it happened.
    pub occurred_time: Result<Option<Timestamp>, NoteProblem>,
}

impl NoteFields<'_> {
    /// Returns the note, or `None` if no field is given. Absent, empty and blank all mean "not given".
    ///
    /// # Errors
    /// What is wrong with each malformed field.
    pub fn parse(self) -> Result<Option<Note>, Vec<NoteViolation>> {
        let mut violations = Vec::new();
        let source = self.source.and_then(|text| given_text(text, MAX_SOURCE));
        let external_ref = self.external_ref.and_then(|text| given_text(text, MAX_EXTERNAL_REF));
        let source = well_formed(NoteField::Source, source, &mut violations);
        let external_ref = well_formed(NoteField::ExternalRef, external_ref, &mut violations);
        let occurred_at = well_formed(NoteField::OccurredTime, self.occurred_time, &mut violations);
        if violations.is_empty() { Ok(Note::new(source, external_ref, occurred_at)) } else { Err(violations) }
    }
}

impl NoteField {
    /// The field's name at an API.
    pub fn name(self, names: FieldNames) -> &'static str {
        match (self, names) {
            (Self::Source, _) => "source",
            (Self::ExternalRef, FieldNames::Proto) => "external_ref",
            (Self::ExternalRef, FieldNames::Json) => "externalRef",
            (Self::OccurredTime, FieldNames::Proto) => "occurred_time",
            (Self::OccurredTime, FieldNames::Json) => "occurredTime",
        }
    }
}

/// Returns what is wrong with these fields as a message for a developer.
pub(super) fn message(violations: &[NoteViolation], names: FieldNames) -> String {
    violations.iter().map(|one| format!("{} {}", one.field.name(names), one.problem)).collect::<Vec<_>>().join("; ")
}

/// Returns the same as details of an error.
pub(super) fn violations(violations: &[NoteViolation], names: FieldNames) -> Vec<FieldViolation> {
    let violation = |one: &NoteViolation| FieldViolation::new(one.field.name(names), one.problem.to_string());
    violations.iter().map(violation).collect()
}

/// Returns the names of these fields.
pub(super) fn field_names(violations: &[NoteViolation], names: FieldNames) -> String {
    violations.iter().map(|one| one.field.name(names)).collect::<Vec<_>>().join(",")
}

fn given_text(text: Option<&str>, limit: usize) -> Result<Option<String>, NoteProblem> {
    Ok(text.map_or(Ok(None), |text| note_text(text, limit))?)
}

fn well_formed<T>(
    field: NoteField,
    parsed: Result<Option<T>, NoteProblem>,
    violations: &mut Vec<NoteViolation>,
) -> Option<T> {
    parsed.unwrap_or_else(|problem| {
        violations.push(NoteViolation { field, problem });
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: NoteFields<'_> = NoteFields { source: Ok(None), external_ref: Ok(None), occurred_time: Ok(None) };

    #[test]
    fn any_part_makes_a_note_and_blank_ones_make_none() {
        let blank = NoteFields { source: Ok(Some("")), external_ref: Ok(Some(" \t")), ..ABSENT };
        for none in [ABSENT, blank] {
            assert_eq!(none.parse(), Ok(None));
        }
        let note = NoteFields { source: Ok(Some(" shop ")), ..ABSENT }.parse().unwrap().unwrap();
        assert_eq!((note.source(), note.external_ref(), note.occurred_at()), (Some("shop"), None, None));
        let note = NoteFields { occurred_time: Ok(Some(Timestamp(7))), ..ABSENT }.parse().unwrap().unwrap();
        assert_eq!((note.source(), note.occurred_at()), (None, Some(Timestamp(7))));
    }

    #[test]
    fn everything_wrong_is_reported_at_once_and_never_quoted() {
        let (long, moment) = ("secret".repeat(99), NoteProblem::Moment(InvalidMoment));
        let fields = NoteFields {
            source: Ok(Some(&long)),
            external_ref: Ok(Some("secret\u{202e}")),
            occurred_time: Err(moment),
        };
        let violations = fields.parse().unwrap_err();
        assert_eq!(field_names(&violations, FieldNames::Json), "source,externalRef,occurredTime");
        let said = message(&violations, FieldNames::Proto);
        assert!(said.starts_with("source must have at most 64 bytes; external_ref must consist of visible"), "{said}");
        assert!(said.contains("; occurred_time must be a moment") && !said.contains("secret"), "{said}");
    }
}
