//! The lines of an export beside those of contacts.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::FileError;
use super::records::Record;
use crate::domain::{EvidenceOrigin, IdentifierKind, Timestamp};
use crate::store::adoption::StoredMerge;
use crate::store::old_table::{OldDate, OldTimeZone};

/// A set of identifiers that were seen together.
pub(in super::super) struct FileSet {
    pub(in super::super) id: i64,
    /// The contact that it names.
    pub(in super::super) contact: i64,
    pub(in super::super) origin: EvidenceOrigin,
    /// As they are written there: personal data. None if one is of a kind that this version does not know.
    pub(in super::super) identifiers: Vec<(IdentifierKind, String)>,
    pub(in super::super) created_at: Timestamp,
}

#[derive(Deserialize)]
struct WrittenIdentifier {
    kind: String,
    value: String,
}

/// Returns the set of a line of an export, whose id is above this one.
pub(super) fn set_from_record(record: &Record, after: i64) -> Result<FileSet, FileError> {
    let wrong = || FileError::Evidence(record.line);
    let object = record.object().ok_or_else(wrong)?;
    let number = |name: &str| object.get(name).and_then(Value::as_i64).ok_or_else(wrong);
    let (id, contact) = (number("id")?, number("contactId")?);
    if id <= after {
        return Err(FileError::Order(record.line));
    }
    let origin = object.get("origin").and_then(Value::as_str);
    let origin = EvidenceOrigin::ALL.into_iter().find(|one| origin == Some(one.name())).ok_or_else(wrong)?;
    let created_at = created_at(object).ok_or_else(wrong)?;
    let written = object.get("identifiers").map(Vec::<WrittenIdentifier>::deserialize);
    let written = written.and_then(Result::ok).ok_or_else(wrong)?;
    let known = |one: WrittenIdentifier| {
        let kind = IdentifierKind::ALL.into_iter().find(|kind| kind.name() == one.kind)?;
        Some((kind, one.value))
    };
    // A part of a set would be another set.
    let identifiers = written.into_iter().map(known).collect::<Option<_>>().unwrap_or_default();
    Ok(FileSet { id, contact, origin, identifiers, created_at })
}

/// Returns the merge of a line of an export, whose id is above this one.
pub(super) fn merge(record: &Record, after: i64) -> Result<StoredMerge, FileError> {
    let wrong = || FileError::Json(record.line);
    let object = record.object().ok_or_else(wrong)?;
    let id = |name: &str| object.get(name).and_then(Value::as_i64).ok_or_else(wrong);
    if id("id")? <= after {
        return Err(FileError::Order(record.line));
    }
    let at = created_at(object).ok_or_else(wrong)?;
    let cause = object.get("cause").ok_or_else(wrong)?;
    StoredMerge::from_export((id("id")?, id("survivorId")?, id("absorbedId")?), cause, at).ok_or_else(wrong)
}

fn created_at(object: &Map<String, Value>) -> Option<Timestamp> {
    match OldDate::from_text(object.get("createdAt")?.as_str()?, &OldTimeZone::utc()) {
        OldDate::At(at) => Some(at),
        OldDate::Absent | OldDate::Unreadable => None,
    }
}
