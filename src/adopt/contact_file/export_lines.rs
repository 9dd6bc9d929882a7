//! The lines of an export beside those of contacts.

use serde_json::{Map, Value};

use super::error::FileError;
use super::records::Record;
use crate::domain::Timestamp;
use crate::store::adoption::StoredMerge;
use crate::store::old_table::{OldDate, OldTimeZone};

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
