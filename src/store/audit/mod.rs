//! Rows as they are, broken or not, each with the rows that it points at: for `identity verify`.
//!
//! Each list is one statement, so one consistent read: what a transaction changes together is seen
//! together, and no change under way looks like damage.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryResult, Statement, Value};

use super::entity::identifier;
use super::{Database, MAX_LOOKUP, StoreError, dialect};
use crate::domain::{Identifier, IdentifierKind};

mod row;

pub use row::{ContactRow, FoundOwner, IdentifierRow, MergeRow, Merged, Owner, StoredContact, Target};
use row::{contact_row, identifier_row, merged, stored};

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
        let lease = self.pool.lease().await?;
        let statement = dialect::statement(lease.connection().get_database_backend(), sql, params);
        let rows = lease.bounded(lease.connection().query_all_raw(statement)).await?;
        rows.iter().map(read).collect()
    }
}

/// Contacts that have one of these ids, or whose link names one.
pub(super) async fn linked(connection: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<StoredContact>, StoreError> {
    let backend = connection.get_database_backend();
    let mut found = Vec::new();
    for some in ids.chunks(MAX_LOOKUP) {
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
    for some in identifiers.chunks(MAX_LOOKUP) {
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
