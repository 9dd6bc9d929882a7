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

/// The columns of the statement of [`ContactRecord`], in order.
#[derive(Clone, Copy)]
enum ContactColumn {
    Id,
    Email,
    PhoneNumber,
    LinkedId,
    LinkPrecedence,
    CreatedAt,
    UpdatedAt,
    DeletedAt,
    Flags,
}

/// The columns of the statement of [`IdentifierRecord`], in order.
#[derive(Clone, Copy)]
enum IdentifierColumn {
    Kind,
    Value,
    ContactId,
    /// `flags` of the contact, if the contact exists.
    OwnerFlags,
}

/// The columns of the statement of [`MergeRecord`], in order.
#[derive(Clone, Copy)]
enum MergeColumn {
    Id,
    SurvivorId,
    AbsorbedId,
    Cause,
    CreatedAt,
}

/// The columns of the statement of [`EvidenceRecord`], in order.
#[derive(Clone, Copy)]
enum EvidenceColumn {
    Id,
    ContactId,
    Origin,
    Identifiers,
    CreatedAt,
}

/// A moment that is never missing.
fn required_moment(row: &QueryResult, index: usize) -> Result<Timestamp, StoreError> {
    moment(row, index)?.ok_or_else(|| StoreError::Rejected(Cause::new("a row without a date")))
}

impl ContactRecord {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        let flags: i16 = row.try_get_by_index(ContactColumn::Flags as usize)?;
        let ignored = IdentifierKind::ALL.into_iter().filter(|kind| flags & flags::ignored(*kind) != 0);
        Ok(Self {
            id: row.try_get_by_index(ContactColumn::Id as usize)?,
            email: row.try_get_by_index(ContactColumn::Email as usize)?,
            phone_number: row.try_get_by_index(ContactColumn::PhoneNumber as usize)?,
            linked_id: row.try_get_by_index(ContactColumn::LinkedId as usize)?,
            link_precedence: row.try_get_by_index(ContactColumn::LinkPrecedence as usize)?,
            created_at: required_moment(row, ContactColumn::CreatedAt as usize)?,
            updated_at: required_moment(row, ContactColumn::UpdatedAt as usize)?,
            deleted_at: moment(row, ContactColumn::DeletedAt as usize)?,
            ignored: ignored.collect(),
            is_holder: flags & flags::HOLDER != 0,
        })
    }
}

impl IdentifierRecord {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        let flags: Option<i16> = row.try_get_by_index(IdentifierColumn::OwnerFlags as usize)?;
        Ok(Self {
            kind: row.try_get_by_index(IdentifierColumn::Kind as usize)?,
            value: row.try_get_by_index(IdentifierColumn::Value as usize)?,
            contact_id: row.try_get_by_index(IdentifierColumn::ContactId as usize)?,
            is_ignored: flags.is_some_and(|flags| flags & flags::HOLDER != 0),
        })
    }
}

impl MergeRecord {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get_by_index(MergeColumn::Id as usize)?,
            survivor_id: row.try_get_by_index(MergeColumn::SurvivorId as usize)?,
            absorbed_id: row.try_get_by_index(MergeColumn::AbsorbedId as usize)?,
            cause: row.try_get_by_index(MergeColumn::Cause as usize)?,
            created_at: required_moment(row, MergeColumn::CreatedAt as usize)?,
        })
    }
}

impl EvidenceRecord {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get_by_index(EvidenceColumn::Id as usize)?,
            contact_id: row.try_get_by_index(EvidenceColumn::ContactId as usize)?,
            origin: row.try_get_by_index(EvidenceColumn::Origin as usize)?,
            identifiers: row.try_get_by_index(EvidenceColumn::Identifiers as usize)?,
            created_at: required_moment(row, EvidenceColumn::CreatedAt as usize)?,
        })
    }
}
