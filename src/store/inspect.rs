//! Rows as they are, broken or not, each with the rows that it points at: for `identity verify`.
//!
//! Each list is one statement, so one consistent read: what a transaction changes together is seen
//! together, and no change under way looks like damage.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryResult, Statement, Value};

use super::convert::{from_columns, from_naive};
use super::entity::identifier;
use super::{Database, MAX_FIND, StoreError, dialect};
use crate::domain::{ContactId, Identifier, IdentifierKind, Timestamp};

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

/// The longest value that `Identifier` has room for, in bytes.
pub const MAX_VALUE_BYTES: usize = 255;

/// Which rows of a table with an id.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// So many, by id, from the one after this.
    After(i64, u64),
    /// That of this id.
    Only(i64),
}

impl Rows {
    /// The table's rows in question, for a FROM clause.
    fn of(self, table: &str) -> String {
        match self {
            Self::After(id, limit) => {
                format!(r#"(SELECT * FROM "{table}" WHERE "id" > {id} ORDER BY "id" LIMIT {limit})"#)
            }
            Self::Only(id) => format!(r#"(SELECT * FROM "{table}" WHERE "id" = {id})"#),
        }
    }
}

impl Database {
    /// Contacts, by id.
    ///
    /// # Errors
    /// As every read.
    pub async fn inspect_contacts(&self, rows: Rows) -> Result<Vec<ContactRow>, StoreError> {
        let backend = self.connection().get_database_backend();
        let owner = |kind: IdentifierKind, i: &str, o: &str| {
            let value = dialect::bytes_of(backend, &format!(r#"c."{}""#, column(kind)));
            format!(
                r#"LEFT JOIN "Identifier" {i} ON {i}."kind" = '{}' AND {i}."value" = {value}
                LEFT JOIN "Contact" {o} ON {o}."id" = {i}."contactId""#,
                kind.name()
            )
        };
        let sql = format!(
            r#"SELECT {}, p."id", p."linkedId", p."createdAt", p."deletedAt",
            e."contactId", eo."id", eo."linkedId", eo."deletedAt", eo."email",
            f."contactId", fo."id", fo."linkedId", fo."deletedAt", fo."phoneNumber"
            FROM {} c LEFT JOIN "Contact" p ON p."id" = c."linkedId" {} {} ORDER BY c."id""#,
            stored_columns(backend),
            rows.of("Contact"),
            owner(IdentifierKind::Email, "e", "eo"),
            owner(IdentifierKind::Phone, "f", "fo"),
        );
        self.all(sql, vec![], contact_row).await
    }

    /// The greatest id of a contact; 0 without any.
    ///
    /// # Errors
    /// As every read.
    pub async fn last_contact(&self) -> Result<i64, StoreError> {
        let sql = r#"SELECT COALESCE(MAX("id"), 0) FROM "Contact""#.to_owned();
        let last: Vec<i64> = self.all(sql, vec![], |row| Ok(row.try_get_by_index(0)?)).await?;
        Ok(last.first().copied().unwrap_or_default())
    }

    /// How many rows `Identifier` has. Reads an index from end to end, however long that takes.
    ///
    /// # Errors
    /// As every read.
    pub async fn count_identifiers(&self) -> Result<u64, StoreError> {
        Ok(identifier::Entity::find().count(&self.connection()).await?)
    }

    /// The first kind of identifier in the table behind this one.
    ///
    /// # Errors
    /// As every read.
    pub async fn next_kind(&self, kind: &str) -> Result<Option<String>, StoreError> {
        let sql = r#"SELECT "kind" FROM "Identifier" WHERE "kind" > ? ORDER BY "kind" LIMIT 1"#.to_owned();
        let kinds: Vec<String> = self.all(sql, vec![kind.into()], |row| Ok(row.try_get_by_index(0)?)).await?;
        Ok(kinds.into_iter().next())
    }

    /// Identifiers of a kind, by value, behind the one given.
    ///
    /// # Errors
    /// As every read.
    pub async fn inspect_identifiers(
        &self,
        kind: &str,
        after: Option<&[u8]>,
        limit: u64,
    ) -> Result<Vec<IdentifierRow>, StoreError> {
        let (behind, params) = match after {
            Some(value) => (r#"AND "value" > ?"#, vec![kind.into(), value.to_vec().into()]),
            None => ("", vec![kind.into()]),
        };
        let rows =
            format!(r#"(SELECT * FROM "Identifier" WHERE "kind" = ? {behind} ORDER BY "kind", "value" LIMIT {limit})"#);
        self.all(identifiers_sql(&rows), params, identifier_row).await
    }

    /// One identifier, if it still has a row.
    ///
    /// # Errors
    /// As every read.
    pub async fn inspect_identifier(&self, kind: &str, value: &[u8]) -> Result<Option<IdentifierRow>, StoreError> {
        let rows = r#"(SELECT * FROM "Identifier" WHERE "kind" = ? AND "value" = ?)"#;
        let params = vec![kind.into(), value.to_vec().into()];
        let found = self.all(identifiers_sql(rows), params, identifier_row).await?;
        Ok(found.into_iter().next())
    }

    /// Merges, by id.
    ///
    /// # Errors
    /// As every read.
    pub async fn inspect_merges(&self, rows: Rows) -> Result<Vec<MergeRow>, StoreError> {
        let sql = format!(
            r#"SELECT m."id", m."survivorId", s."id", s."linkedId", s."deletedAt",
            m."absorbedId", a."id", a."linkedId", a."deletedAt"
            FROM {} m LEFT JOIN "Contact" s ON s."id" = m."survivorId"
            LEFT JOIN "Contact" a ON a."id" = m."absorbedId" ORDER BY m."id""#,
            rows.of("ContactMerge")
        );
        let read = |row: &QueryResult| {
            Ok(MergeRow { id: row.try_get_by_index(0)?, survivor: merged(row, 1)?, absorbed: merged(row, 5)? })
        };
        self.all(sql, vec![], read).await
    }

    /// Every row of a query.
    async fn all<T>(
        &self,
        sql: String,
        params: Vec<Value>,
        read: impl Fn(&QueryResult) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let lease = self.pool.lease()?;
        let statement = dialect::statement(lease.connection().get_database_backend(), sql, params);
        let rows = lease.bounded(lease.connection().query_all_raw(statement)).await?;
        rows.iter().map(read).collect()
    }
}

/// Contacts that have one of these ids, or whose link names one.
pub(super) async fn linked(connection: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<StoredContact>, StoreError> {
    let backend = connection.get_database_backend();
    let mut found = Vec::new();
    for some in ids.chunks(MAX_FIND) {
        let list = some.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        for (column, index) in [("id", "PRIMARY"), ("linkedId", "Contact_linkedId")] {
            let columns = stored_columns(backend);
            // `linkedId` is null on most rows, which MySQL takes for a reason to scan.
            let force = if backend == DbBackend::MySql { format!("FORCE INDEX ({index})") } else { String::new() };
            let sql = format!(r#"SELECT {columns} FROM "Contact" c {force} WHERE c."{column}" IN ({list})"#);
            let statement: Statement = dialect::statement(backend, sql, vec![]);
            for row in &connection.query_all_raw(statement).await? {
                found.push(stored(row)?);
            }
        }
    }
    Ok(found)
}

/// Who owns these identifiers, as far as somebody does.
pub(super) async fn owners(
    connection: &impl ConnectionTrait,
    identifiers: &[Identifier],
) -> Result<BTreeMap<Identifier, Owner>, StoreError> {
    let backend = connection.get_database_backend();
    let mut found = BTreeMap::new();
    for some in identifiers.chunks(MAX_FIND) {
        let (owned, params) = dialect::owned_rows(backend, some);
        let sql = format!("SELECT {IDENTIFIER_COLUMNS} FROM {owned}");
        let statement = Statement::from_sql_and_values(backend, dialect::quoted(backend, sql), params);
        for row in &connection.query_all_raw(statement).await? {
            let row = identifier_row(row)?;
            let is_it = |one: &&Identifier| one.kind().name() == row.kind && one.value().as_bytes() == row.value;
            if let Some(identifier) = some.iter().find(is_it) {
                found.insert(identifier.clone(), row.owner);
            }
        }
    }
    Ok(found)
}

/// The columns that [`identifier_row`] reads: of an `Identifier` row `i` and the contact `o` that it names.
const IDENTIFIER_COLUMNS: &str =
    r#"i."kind", i."value", i."contactId", o."id", o."linkedId", o."deletedAt", o."email", o."phoneNumber""#;

/// The columns that [`stored`] reads, of a table `c`.
fn stored_columns(backend: DbBackend) -> String {
    let precedence = dialect::text_of(backend, r#"c."linkPrecedence""#);
    format!(
        r#"c."id", c."email", c."phoneNumber", c."linkedId", {precedence}, c."createdAt", c."updatedAt", c."deletedAt""#
    )
}

fn column(kind: IdentifierKind) -> &'static str {
    match kind {
        IdentifierKind::Email => "email",
        IdentifierKind::Phone => "phoneNumber",
    }
}

fn identifiers_sql(rows: &str) -> String {
    format!(
        r#"SELECT {IDENTIFIER_COLUMNS}
        FROM {rows} i LEFT JOIN "Contact" o ON o."id" = i."contactId" ORDER BY i."kind", i."value""#
    )
}

fn stored(row: &QueryResult) -> Result<StoredContact, StoreError> {
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

fn contact_row(row: &QueryResult) -> Result<ContactRow, StoreError> {
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

fn identifier_row(row: &QueryResult) -> Result<IdentifierRow, StoreError> {
    let (kind, value): (String, Vec<u8>) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    let carried = from_columns(row.try_get_by_index(6)?, row.try_get_by_index(7)?);
    let carries = carried.iter().any(|one| one.kind().name() == kind && one.value().as_bytes() == value);
    let owner = owner_at(row, ContactId(row.try_get_by_index(2)?), 3, carries)?;
    Ok(IdentifierRow { kind, value, owner })
}

fn merged(row: &QueryResult, column: usize) -> Result<Merged, StoreError> {
    let owner = owner_at(row, ContactId(row.try_get_by_index(column)?), column + 1, true)?;
    Ok(Merged { id: owner.id, exists: owner.found.is_some(), live_root: owner.rightful_root() })
}
