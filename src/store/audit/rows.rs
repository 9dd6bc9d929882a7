//! The rows that an audit reads.

use chrono::NaiveDateTime;
use sea_orm::{QueryResult, TryGetable};

use crate::domain::adoption::NO_IDENTIFIER;
use crate::domain::{ContactId, Identifier, IdentifierKind, Timestamp};
use crate::store::error::StoreError;
use crate::store::flags;
use crate::store::rows::{from_columns, from_naive};
use crate::store::sql::contact_column;

/// A row of `Contact`, soft-deleted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredContact {
    /// `id`.
    pub id: ContactId,
    /// The identifiers that it carries.
    pub identifiers: Vec<Identifier>,
    /// The identifiers that it shows and does not carry: they are ignored, or were.
    pub shown: Vec<Identifier>,
    /// Whether it is no contact: it holds an ignored identifier. See [`flags`].
    pub is_holder: bool,
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
    /// Returns the id by which its identity is found.
    pub fn root(&self) -> ContactId {
        self.linked_to.unwrap_or(self.id)
    }

    /// Returns what contacts are ordered by, the oldest first.
    pub fn age(&self) -> (Timestamp, ContactId) {
        (self.created_at, self.id)
    }
}

/// A contact with the rows that it points at.
#[derive(Clone, Debug)]
pub struct ContactRow {
    /// The row itself.
    pub contact: StoredContact,
    /// The row that `linkedId` names, if there is one.
    pub target: Option<Target>,
    /// The owner of each identifier that it holds, if there is one.
    pub owners: Vec<(Identifier, Option<Owner>)>,
    /// Whether it came from another system's table without any identifier.
    pub was_adopted_empty: bool,
}

/// The row that a `linkedId` names.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its own `linkedId`.
    pub linked_to: Option<ContactId>,
    /// Its `createdAt`.
    pub created_at: Timestamp,
    /// Whether it is soft-deleted.
    pub is_deleted: bool,
}

/// The owner that an `Identifier` row names.
#[derive(Clone, Debug)]
pub struct Owner {
    /// `contactId`.
    pub id: ContactId,
    /// The contact with that id, if there is one.
    pub found: Option<FoundOwner>,
}

/// The contact that an `Identifier` row names.
#[derive(Clone, Debug)]
pub struct FoundOwner {
    /// The id by which its identity is found.
    pub root: ContactId,
    /// Whether it is soft-deleted.
    pub is_deleted: bool,
    /// Whether it carries the identifier.
    pub carries: bool,
    /// Whether it is a holder: the identifier is ignored.
    pub is_holder: bool,
}

impl Owner {
    /// Returns the owner's root if the owner is as it should be: a live contact that holds the identifier.
    pub fn rightful_root(&self) -> Option<ContactId> {
        let found = self.found.as_ref().filter(|found| found.carries && !found.is_deleted && !found.is_holder);
        found.map(|found| found.root)
    }

    /// Returns whether the identifier is ignored: the owner is its holder.
    pub fn is_holder(&self) -> bool {
        self.found.as_ref().is_some_and(|found| found.is_holder && found.carries)
    }
}

/// A row of `Identifier`.
#[derive(Clone, Debug)]
pub struct IdentifierRow {
    /// `kind`, also if it is unknown.
    pub kind: String,
    /// `value`. Personal data.
    pub value: Vec<u8>,
    /// The contact that it names.
    pub owner: Owner,
}

/// A row of `ContactMerge`.
#[derive(Clone, Debug)]
pub struct MergeRow {
    /// `id`.
    pub id: i64,
    /// `survivorId`, and the root of that live contact.
    pub survivor: Merged,
    /// `absorbedId`, and the root of that live contact.
    pub absorbed: Merged,
}

/// A contact that a merge names.
#[derive(Clone, Debug)]
pub struct Merged {
    /// Its id.
    pub id: ContactId,
    /// Whether there is a row with that id.
    pub exists: bool,
    /// The id by which its identity is found, unless it is soft-deleted.
    pub live_root: Option<ContactId>,
}

/// The columns `contactId` of an `Identifier` row and those of [`FOUND`] of its owner, by the alias of each table: of
/// the e-mail address of a contact.
pub(super) const EMAIL_OWNER: (&str, &str) = ("e", "eo");

/// The same columns of the phone number of a contact.
pub(super) const PHONE_OWNER: (&str, &str) = ("f", "fo");

/// The columns of a [`FoundOwner`].
pub(super) const FOUND: [&str; 4] = ["id", "linkedId", "deletedAt", "flags"];

/// Columns of a table alias, each with a name of its own: `c."id" AS "c_id"`.
pub(super) fn aliased(table: &str, columns: &[&str]) -> String {
    let column = |column: &&str| format!(r#"{table}."{column}" AS "{table}_{column}""#);
    columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// Reads a column that [`aliased`] has named.
fn read_column<T: TryGetable>(row: &QueryResult, table: &str, column: &str) -> Result<T, StoreError> {
    Ok(row.try_get(&format!("{table}_"), column)?)
}

/// The identifiers in the columns of a contact.
fn identifiers_from_row(row: &QueryResult, table: &str) -> Result<Vec<Identifier>, StoreError> {
    Ok(from_columns(read_column(row, table, "email")?, read_column(row, table, "phoneNumber")?))
}

fn is_deleted(row: &QueryResult, table: &str) -> Result<bool, StoreError> {
    Ok(read_column::<Option<NaiveDateTime>>(row, table, "deletedAt")?.is_some())
}

impl StoredContact {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        let linked_to: Option<i64> = read_column(row, "c", "linkedId")?;
        let precedence: String = read_column(row, "c", "linkPrecedence")?;
        let flags: i16 = read_column(row, "c", "flags")?;
        let (identifiers, shown) = flags::split(identifiers_from_row(row, "c")?, flags);
        Ok(Self {
            id: ContactId(read_column(row, "c", "id")?),
            identifiers,
            shown,
            is_holder: flags & flags::HOLDER != 0,
            linked_to: linked_to.map(ContactId),
            says_primary: precedence == "primary",
            created_at: from_naive(read_column(row, "c", "createdAt")?),
            updated_at: from_naive(read_column(row, "c", "updatedAt")?),
            is_deleted: is_deleted(row, "c")?,
        })
    }
}

impl ContactRow {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        let contact = StoredContact::from_row(row)?;
        let target = match read_column::<Option<i64>>(row, "p", "id")? {
            Some(_) => Some(Target {
                linked_to: read_column::<Option<i64>>(row, "p", "linkedId")?.map(ContactId),
                created_at: from_naive(read_column(row, "p", "createdAt")?),
                is_deleted: is_deleted(row, "p")?,
            }),
            None => None,
        };
        let reason: Option<String> = read_column(row, "x", "reason")?;
        let was_adopted_empty = reason.is_some_and(|reason| reason.contains(NO_IDENTIFIER));
        let mut owners = Vec::with_capacity(contact.identifiers.len());
        for identifier in &contact.identifiers {
            let (table, owner_table) = match identifier.kind() {
                IdentifierKind::Email => EMAIL_OWNER,
                IdentifierKind::Phone => PHONE_OWNER,
            };
            let owner = match read_column::<Option<i64>>(row, table, "contactId")? {
                Some(id) => {
                    let held: Option<String> = read_column(row, owner_table, contact_column(identifier.kind()))?;
                    let flags = read_column::<Option<i16>>(row, owner_table, "flags")?.unwrap_or_default();
                    let is_shown = flags & flags::ignored(identifier.kind()) != 0;
                    let carries = held.as_deref() == Some(identifier.value()) && !is_shown;
                    Some(Owner::from_row(row, ContactId(id), owner_table, carries)?)
                }
                None => None,
            };
            owners.push((identifier.clone(), owner));
        }
        Ok(Self { contact, target, owners, was_adopted_empty })
    }
}

impl Owner {
    /// The owner with this id, whose row, if there is one, stands in the columns of this table.
    fn from_row(row: &QueryResult, id: ContactId, table: &str, carries: bool) -> Result<Self, StoreError> {
        let found: Option<i64> = read_column(row, table, "id")?;
        let linked: Option<i64> = read_column(row, table, "linkedId")?;
        let is_deleted = is_deleted(row, table)?;
        let is_holder = read_column::<Option<i16>>(row, table, "flags")?.unwrap_or_default() & flags::HOLDER != 0;
        let found =
            found.map(|id| FoundOwner { root: ContactId(linked.unwrap_or(id)), is_deleted, carries, is_holder });
        Ok(Self { id, found })
    }
}

impl IdentifierRow {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        let (kind, value): (String, Vec<u8>) = (read_column(row, "i", "kind")?, read_column(row, "i", "value")?);
        let flags = read_column::<Option<i16>>(row, "o", "flags")?.unwrap_or_default();
        let (carried, _) = flags::split(identifiers_from_row(row, "o")?, flags);
        let carries = carried.iter().any(|one| one.kind().name() == kind && one.value().as_bytes() == value);
        let owner = Owner::from_row(row, ContactId(read_column(row, "i", "contactId")?), "o", carries)?;
        Ok(Self { kind, value, owner })
    }
}

impl MergeRow {
    pub(super) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        Ok(Self {
            id: read_column(row, "m", "id")?,
            survivor: Merged::from_row(row, "survivorId", "s")?,
            absorbed: Merged::from_row(row, "absorbedId", "a")?,
        })
    }
}

impl Merged {
    fn from_row(row: &QueryResult, column: &str, table: &str) -> Result<Self, StoreError> {
        let owner = Owner::from_row(row, ContactId(read_column(row, "m", column)?), table, true)?;
        Ok(Self { id: owner.id, exists: owner.found.is_some(), live_root: owner.rightful_root() })
    }
}
