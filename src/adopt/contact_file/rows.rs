//! From records to contacts.

use super::columns::{Columns, HOLDER, IGNORED};
use super::error::FileError;
use super::records::Record;
use crate::domain::adoption::{OldContact, UnreadableParts};
use crate::domain::{IdentifierKind, Timestamp};
use crate::store::old_table::{Field, OldDate, OldPrecedence, OldTimeZone};

/// Makes contacts of records.
pub(super) struct RowReader<'a> {
    columns: &'a Columns,
    zone: Option<&'a OldTimeZone>,
    utc: OldTimeZone,
    last_id: i64,
}

/// What a record stands for.
pub(super) enum FileRow {
    Contact(OldContact),
    /// An ignored identifier: its kind, and its value.
    Held(IdentifierKind, String),
}

impl<'a> RowReader<'a> {
    pub(super) fn new(columns: &'a Columns, zone: Option<&'a OldTimeZone>) -> Self {
        Self { columns, zone, utc: OldTimeZone::utc(), last_id: 0 }
    }

    /// Returns what a record stands for, by the names of the columns. Without a column for ids, they are given by the
    /// order of the records.
    pub(super) fn row(&mut self, record: &Record, names: &[String]) -> Result<FileRow, FileError> {
        let line = record.line;
        let text = |field: Field| match self.columns.get(field) {
            Some(column) => record.text(names, column),
            None => Ok(None),
        };
        let id = match self.columns.get(Field::Id) {
            None => self.last_id + 1,
            Some(_) => {
                let id = text(Field::Id)?.and_then(|id| id.trim().parse::<i64>().ok()).filter(|id| *id > 0);
                id.ok_or(FileError::BadId(line))?
            }
        };
        if id <= self.last_id {
            return Err(FileError::Order(line));
        }
        self.last_id = id;
        let (email, phone_number) = (text(Field::Email)?, text(Field::PhoneNumber)?);
        let flag = |name: &str| if self.columns.is_export { record.text(names, name) } else { Ok(None) };
        let holder = flag(HOLDER)?.unwrap_or_default().to_ascii_lowercase();
        if !matches!(&*holder, "true" | "false" | "") {
            return Err(FileError::Holder(line));
        }
        if holder == "true" {
            let held = email.map(|email| (IdentifierKind::Email, email));
            let held = held.or(phone_number.map(|phone| (IdentifierKind::Phone, phone)));
            let (kind, value) = held.ok_or(FileError::BadId(line))?;
            return Ok(FileRow::Held(kind, value));
        }
        let shown = flag(IGNORED)?.unwrap_or_default();
        let shown = IdentifierKind::ALL.map(|kind| shown.split_whitespace().any(|name| name == kind.name()));
        let mut unreadable = UnreadableParts::default();
        let linked_id = match text(Field::LinkedId)?.map(|id| id.trim().parse::<i64>()) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => {
                unreadable.link = true;
                None
            }
        };
        let date = |field: Field, is_unreadable: &mut bool| -> Result<Option<Timestamp>, FileError> {
            let Some(text) = text(field)? else { return Ok(None) };
            if self.zone.is_none() && OldDate::needs_zone(&text) {
                return Err(FileError::NoTimeZone { line, field: field.name() });
            }
            match OldDate::from_text(&text, self.zone.unwrap_or(&self.utc)) {
                OldDate::Absent => Ok(None),
                OldDate::At(at) => Ok(Some(at)),
                OldDate::Unreadable => {
                    *is_unreadable = true;
                    Ok(None)
                }
            }
        };
        let created_at = date(Field::CreatedAt, &mut unreadable.created_at)?;
        let updated_at = date(Field::UpdatedAt, &mut unreadable.updated_at)?;
        let mut is_bad_deletion = false;
        let deleted_at = date(Field::DeletedAt, &mut is_bad_deletion)?;
        if is_bad_deletion {
            return Err(FileError::BadDeletion(line));
        }
        let precedence = text(Field::LinkPrecedence)?;
        let is_secondary = OldPrecedence::from_text(precedence.as_deref()).is_secondary();
        Ok(FileRow::Contact(OldContact {
            id,
            email,
            phone_number,
            linked_id,
            says_primary: is_secondary.map(|is_secondary| !is_secondary),
            created_at,
            updated_at,
            deleted_at,
            shown,
            unreadable,
            precedence,
        }))
    }
}
