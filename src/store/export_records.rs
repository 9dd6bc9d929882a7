//! The rows of an export, as they are stored.

use sea_orm::QueryResult;

use super::error::{Cause, StoreError};
use super::flags;
use super::rows::moment;
use crate::domain::{IdentifierKind, Timestamp};

/// A row of `Contact`, also of a deleted contact or of a holder. Its values are personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct ContactRecord {
    /// `id`.
    pub id: i64,
    /// `email`.
    pub email: Option<String>,
    /// `phoneNumber`.
    pub phone_number: Option<String>,
    /// `linkedId`.
    pub linked_id: Option<i64>,
    /// `linkPrecedence`, as it is stored.
    pub link_precedence: String,
    /// `createdAt`.
    pub created_at: Timestamp,
    /// `updatedAt`.
    pub updated_at: Timestamp,
    /// `deletedAt`.
    pub deleted_at: Option<Timestamp>,
    /// The kinds of its identifiers that it shows and does not carry: they join nobody.
    pub ignored: Vec<IdentifierKind>,
    /// Whether it is no contact, and holds an ignored identifier.
    pub is_holder: bool,
}

/// A row of `Identifier`. Its value is personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentifierRecord {
    /// `kind`.
    pub kind: String,
    /// `value`.
    pub value: Vec<u8>,
    /// `contactId`.
    pub contact_id: i64,
    /// Whether it is ignored: the contact is a holder.
    pub is_ignored: bool,
}

/// A row of `ContactMerge`. Its cause is personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct MergeRecord {
    /// `id`.
    pub id: i64,
    /// `survivorId`.
    pub survivor_id: i64,
    /// `absorbedId`.
    pub absorbed_id: i64,
    /// `cause`: a text of JSON.
    pub cause: String,
    /// `createdAt`.
    pub created_at: Timestamp,
}

/// A row of `Evidence`. Its identifiers are personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct EvidenceRecord {
    /// `id`.
    pub id: i64,
    /// `contactId`.
    pub contact_id: i64,
    /// `origin`.
    pub origin: String,
    /// `identifiers`: a text of JSON.
    pub identifiers: String,
    /// `createdAt`.
    pub created_at: Timestamp,
}

/// A moment that is never missing.
fn required(row: &QueryResult, index: usize) -> Result<Timestamp, StoreError> {
    moment(row, index)?.ok_or_else(|| StoreError::Rejected(Cause::new("a row without a date")))
}

impl ContactRecord {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        let flags: i16 = row.try_get_by_index(8)?;
        let ignored = IdentifierKind::ALL.into_iter().filter(|kind| flags & flags::ignored(*kind) != 0);
        Ok(Self {
            id: row.try_get_by_index(0)?,
            email: row.try_get_by_index(1)?,
            phone_number: row.try_get_by_index(2)?,
            linked_id: row.try_get_by_index(3)?,
            link_precedence: row.try_get_by_index(4)?,
            created_at: required(row, 5)?,
            updated_at: required(row, 6)?,
            deleted_at: moment(row, 7)?,
            ignored: ignored.collect(),
            is_holder: flags & flags::HOLDER != 0,
        })
    }
}

impl IdentifierRecord {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        let flags: Option<i16> = row.try_get_by_index(3)?;
        Ok(Self {
            kind: row.try_get_by_index(0)?,
            value: row.try_get_by_index(1)?,
            contact_id: row.try_get_by_index(2)?,
            is_ignored: flags.is_some_and(|flags| flags & flags::HOLDER != 0),
        })
    }
}

impl MergeRecord {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get_by_index(0)?,
            survivor_id: row.try_get_by_index(1)?,
            absorbed_id: row.try_get_by_index(2)?,
            cause: row.try_get_by_index(3)?,
            created_at: required(row, 4)?,
        })
    }
}

impl EvidenceRecord {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get_by_index(0)?,
            contact_id: row.try_get_by_index(1)?,
            origin: row.try_get_by_index(2)?,
            identifiers: row.try_get_by_index(3)?,
            created_at: required(row, 4)?,
        })
    }
}
