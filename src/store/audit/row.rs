//! The rows, and how they are read.

use sea_orm::QueryResult;

use crate::domain::{ContactId, Identifier, IdentifierKind, Timestamp};
use crate::store::StoreError;
use crate::store::convert::{from_columns, from_naive};

/// A row of `Contact`, deleted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredContact {
    /// `id`.
    pub id: ContactId,
    /// What it carries.
    pub identifiers: Vec<Identifier>,
    /// `linkedId`.
    pub linked_to: Option<ContactId>,
    /// Whether `linkPrecedence` is `primary`.
    pub says_primary: bool,
    /// `createdAt`.
    pub created_at: Timestamp,
    /// `updatedAt`.
    pub updated_at: Timestamp,
    /// Whether `deletedAt` is set.
    pub is_deleted: bool,
}

impl StoredContact {
    /// The row that its identity is found by.
    pub fn root(&self) -> ContactId {
        self.linked_to.unwrap_or(self.id)
    }

    /// What contacts are ordered by: the oldest first.
    pub fn age(&self) -> (Timestamp, ContactId) {
        (self.created_at, self.id)
    }
}

/// A contact with what it points at.
#[derive(Clone, Debug)]
pub struct ContactRow {
    /// The row itself.
    pub contact: StoredContact,
    /// The row that `linkedId` names, if there is one.
    pub target: Option<Target>,
    /// Who owns each identifier that it carries, where somebody does.
    pub owners: Vec<(Identifier, Option<Owner>)>,
}

/// What a `linkedId` leads to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its own `linkedId`.
    pub linked_to: Option<ContactId>,
    /// Its `createdAt`.
    pub created_at: Timestamp,
    /// Whether it is deleted.
    pub is_deleted: bool,
}

/// What an `Identifier` row says.
#[derive(Clone, Debug)]
pub struct Owner {
    /// `contactId`.
    pub id: ContactId,
    /// The row of that id, if there is one.
    pub found: Option<FoundOwner>,
}

/// The contact that an `Identifier` row names.
#[derive(Clone, Debug)]
pub struct FoundOwner {
    /// The row that its identity is found by.
    pub root: ContactId,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// Whether it carries the identifier in question.
    pub carries: bool,
}

impl Owner {
    /// Whether a live contact that carries the identifier owns it, as it should be; then that one's root.
    pub fn rightful_root(&self) -> Option<ContactId> {
        self.found.as_ref().filter(|found| found.carries && !found.is_deleted).map(|found| found.root)
    }
}

/// A row of `Identifier`.
#[derive(Clone, Debug)]
pub struct IdentifierRow {
    /// `kind`, whatever it says.
    pub kind: String,
    /// `value`. Personal data.
    pub value: Vec<u8>,
    /// Whom it names.
    pub owner: Owner,
}

/// A row of `ContactMerge`.
#[derive(Clone, Debug)]
pub struct MergeRow {
    /// `id`.
    pub id: i64,
    /// `survivorId`, and the root of that live contact.
    pub survivor: Merged,
    /// `absorbedId`, likewise.
    pub absorbed: Merged,
}

/// A contact that a merge names.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Its id.
    pub id: ContactId,
    /// Whether there is a row of that id.
    pub exists: bool,
    /// The row that its identity is found by, while it is not deleted.
    pub live_root: Option<ContactId>,
}

pub(super) fn stored(row: &QueryResult) -> Result<StoredContact, StoreError> {
    let linked_to: Option<i64> = row.try_get_by_index(3)?;
    let precedence: String = row.try_get_by_index(4)?;
    Ok(StoredContact {
        id: ContactId(row.try_get_by_index(0)?),
        identifiers: from_columns(row.try_get_by_index(1)?, row.try_get_by_index(2)?),
        linked_to: linked_to.map(ContactId),
        says_primary: precedence == "primary",
        created_at: from_naive(row.try_get_by_index(5)?),
        updated_at: from_naive(row.try_get_by_index(6)?),
        is_deleted: is_set(row, 7)?,
    })
}

fn is_set(row: &QueryResult, index: usize) -> Result<bool, StoreError> {
    Ok(row.try_get_by_index::<Option<chrono::NaiveDateTime>>(index)?.is_some())
}

pub(super) fn contact_row(row: &QueryResult) -> Result<ContactRow, StoreError> {
    let contact = stored(row)?;
    let target = match row.try_get_by_index::<Option<i64>>(8)? {
        Some(_) => Some(Target {
            linked_to: row.try_get_by_index::<Option<i64>>(9)?.map(ContactId),
            created_at: from_naive(row.try_get_by_index(10)?),
            is_deleted: is_set(row, 11)?,
        }),
        None => None,
    };
    let mut owners = Vec::with_capacity(contact.identifiers.len());
    for identifier in &contact.identifiers {
        let first = match identifier.kind() {
            IdentifierKind::Email => 12,
            IdentifierKind::Phone => 17,
        };
        let owner: Option<i64> = row.try_get_by_index(first)?;
        let owner = match owner {
            Some(id) => {
                let carried: Option<String> = row.try_get_by_index(first + 4)?;
                Some(owner_at(row, ContactId(id), first + 1, carried.as_deref() == Some(identifier.value()))?)
            }
            None => None,
        };
        owners.push((identifier.clone(), owner));
    }
    Ok(ContactRow { contact, target, owners })
}

/// An owner whose `id`, `linkedId` and `deletedAt` stand from this column on.
fn owner_at(row: &QueryResult, id: ContactId, column: usize, carries: bool) -> Result<Owner, StoreError> {
    let found: Option<i64> = row.try_get_by_index(column)?;
    let linked: Option<i64> = row.try_get_by_index(column + 1)?;
    let is_deleted = is_set(row, column + 2)?;
    let found = found.map(|id| FoundOwner { root: ContactId(linked.unwrap_or(id)), is_deleted, carries });
    Ok(Owner { id, found })
}

pub(super) fn identifier_row(row: &QueryResult) -> Result<IdentifierRow, StoreError> {
    let (kind, value): (String, Vec<u8>) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    let carried = from_columns(row.try_get_by_index(6)?, row.try_get_by_index(7)?);
    let carries = carried.iter().any(|one| one.kind().name() == kind && one.value().as_bytes() == value);
    let owner = owner_at(row, ContactId(row.try_get_by_index(2)?), 3, carries)?;
    Ok(IdentifierRow { kind, value, owner })
}

pub(super) fn merged(row: &QueryResult, column: usize) -> Result<Merged, StoreError> {
    let owner = owner_at(row, ContactId(row.try_get_by_index(column)?), column + 1, true)?;
    Ok(Merged { id: owner.id, exists: owner.found.is_some(), live_root: owner.rightful_root() })
}
