//! Rows as they are, broken or not, each with the rows that it points at: for `identity verify`.
//!
//! Each list is one statement, so one consistent read: it shows all changes of a transaction or none, and no change
//! under way looks like damage.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, QueryResult, Statement, Value};

use super::database::Database;
use super::entity::identifier;
use super::error::StoreError;
use super::sql::{Engine, contact_column, padded_ids};
use super::traits::MAX_LOOKUP;
use crate::domain::{ContactId, Identifier, IdentifierKind};

mod rows;

pub use rows::{ContactRow, FoundOwner, IdentifierRow, MergeRow, Merged, Owner, StoredContact, Target};
use rows::{EMAIL_OWNER, FOUND, PHONE_OWNER, aliased};

/// A selection of the rows of a table with ids.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// The next rows after this id, at most so many.
    After(i64, u64),
    /// The row with this id.
    Only(i64),
}

impl Rows {
    /// The selected rows of the table, for a FROM clause with one parameter: [`Rows::parameter`].
    pub(super) fn as_from_clause(self, table: &str) -> String {
        match self {
            Self::After(_, limit) => {
                format!(r#"(SELECT * FROM "{table}" WHERE "id" > ? ORDER BY "id" LIMIT {limit})"#)
            }
            Self::Only(_) => format!(r#"(SELECT * FROM "{table}" WHERE "id" = ?)"#),
        }
    }

    /// The id. It is a parameter, so that a connection prepares one statement and not one for each id.
    pub(super) fn parameter(self) -> Value {
        match self {
            Self::After(id, _) | Self::Only(id) => id.into(),
        }
    }
}

impl Database {
    /// Returns contacts, by id.
    ///
    /// # Errors
    /// As every read.
    pub async fn audit_contacts(&self, rows: Rows) -> Result<Vec<ContactRow>, StoreError> {
        self.query_rows(contacts_sql(self.engine(), rows), vec![rows.parameter()], ContactRow::from_row).await
    }

    /// Returns the greatest id of a contact; 0 without any.
    ///
    /// # Errors
    /// As every read.
    pub async fn last_contact(&self) -> Result<i64, StoreError> {
        let last: Vec<i64> =
            self.query_rows(last_id_sql("Contact"), vec![], |row| Ok(row.try_get_by_index(0)?)).await?;
        Ok(last.first().copied().unwrap_or_default())
    }

    /// Returns how many rows `Identifier` has. Reads an index from end to end, however long that takes.
    ///
    /// # Errors
    /// As every read.
    pub async fn count_identifiers(&self) -> Result<u64, StoreError> {
        let lease = self.pool.lease().await?;
        Ok(identifier::Entity::find().count(&lease.connected().take().await?).await?)
    }

    /// Returns the first kind of identifier in the table after this one.
    ///
    /// # Errors
    /// As every read.
    pub async fn next_kind(&self, kind: &str) -> Result<Option<String>, StoreError> {
        let rows = self.query_rows(NEXT_KIND.to_owned(), vec![kind.into()], |row| Ok(row.try_get_by_index(0)?));
        Ok(rows.await?.into_iter().next())
    }

    /// Returns identifiers of a kind, by value, after the given one.
    ///
    /// # Errors
    /// As every read.
    pub async fn audit_identifiers(
        &self,
        kind: &str,
        after: Option<&[u8]>,
        limit: u64,
    ) -> Result<Vec<IdentifierRow>, StoreError> {
        let params = match after {
            Some(value) => vec![kind.into(), value.to_vec().into()],
            None => vec![kind.into()],
        };
        let rows = page_of_identifiers(after.is_some(), limit);
        self.query_rows(identifiers_sql(self.engine(), &rows), params, IdentifierRow::from_row).await
    }

    /// Returns one identifier, if it still has a row.
    ///
    /// # Errors
    /// As every read.
    pub async fn audit_identifier(&self, kind: &str, value: &[u8]) -> Result<Option<IdentifierRow>, StoreError> {
        let params = vec![kind.into(), value.to_vec().into()];
        let found =
            self.query_rows(identifiers_sql(self.engine(), ONE_IDENTIFIER), params, IdentifierRow::from_row).await?;
        Ok(found.into_iter().next())
    }

    /// Returns merges, by id.
    ///
    /// # Errors
    /// As every read.
    pub async fn audit_merges(&self, rows: Rows) -> Result<Vec<MergeRow>, StoreError> {
        self.query_rows(merges_sql(self.engine(), rows), vec![rows.parameter()], MergeRow::from_row).await
    }

    /// Runs a query and reads every row.
    async fn query_rows<T>(
        &self,
        sql: String,
        params: Vec<Value>,
        read: impl Fn(&QueryResult) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let lease = self.pool.lease().await?;
        let statement = lease.engine().statement(sql, params);
        let query = async { lease.connected().take().await?.query_all_raw(statement).await };
        let rows = lease.bounded(query).await?;
        rows.iter().map(read).collect()
    }
}

/// The greatest id of a table; 0 without rows.
pub(super) fn last_id_sql(table: &str) -> String {
    format!(r#"SELECT COALESCE(MAX("id"), 0) FROM "{table}""#)
}

/// The first kind of identifier after another one.
pub(super) const NEXT_KIND: &str = r#"SELECT "kind" FROM "Identifier" WHERE "kind" > ? ORDER BY "kind" LIMIT 1"#;

/// The row of an identifier, for a FROM clause.
pub(super) const ONE_IDENTIFIER: &str = r#"(SELECT * FROM "Identifier" WHERE "kind" = ? AND "value" = ?)"#;

/// Identifiers of a kind, by value, for a FROM clause: the first page, or a later one.
pub(super) fn page_of_identifiers(is_later: bool, limit: u64) -> String {
    let behind = if is_later { r#"AND "value" > ?"# } else { "" };
    format!(r#"(SELECT * FROM "Identifier" WHERE "kind" = ? {behind} ORDER BY "kind", "value" LIMIT {limit})"#)
}

/// Returns the contacts that have one of these ids or link to one.
pub(super) async fn query_linked(
    connection: &impl ConnectionTrait,
    engine: Engine,
    ids: &[i64],
) -> Result<Vec<StoredContact>, StoreError> {
    let mut found = Vec::new();
    for some in ids.chunks(MAX_LOOKUP) {
        for (column, index) in [("id", "PRIMARY"), ("linkedId", "Contact_linkedId")] {
            for row in &connection.query_all_raw(linked_rows(engine, some, column, index)).await? {
                found.push(StoredContact::from_row(row)?);
            }
        }
    }
    Ok(found)
}

/// Returns the row of a contact.
pub(super) async fn query_contact(
    connection: &impl ConnectionTrait,
    engine: Engine,
    contact: ContactId,
) -> Result<Option<StoredContact>, StoreError> {
    let row = connection.query_one_raw(linked_rows(engine, &[contact.0], "id", "PRIMARY")).await?;
    row.as_ref().map(StoredContact::from_row).transpose()
}

/// Returns the owner of each of these identifiers that has one.
pub(super) async fn query_owners(
    connection: &impl ConnectionTrait,
    engine: Engine,
    identifiers: &[Identifier],
) -> Result<BTreeMap<Identifier, Owner>, StoreError> {
    let mut found = BTreeMap::new();
    for some in identifiers.chunks(MAX_LOOKUP) {
        for row in &connection.query_all_raw(engine.owned_rows_with(&identifier_columns(), some)).await? {
            let row = IdentifierRow::from_row(row)?;
            let is_it = |one: &&Identifier| one.kind().name() == row.kind && one.value().as_bytes() == row.value;
            if let Some(identifier) = some.iter().find(is_it) {
                found.insert(identifier.clone(), row.owner);
            }
        }
    }
    Ok(found)
}

/// The statement of [`Database::audit_contacts`].
pub(super) fn contacts_sql(engine: Engine, rows: Rows) -> String {
    let join_owner = |kind: IdentifierKind, identifier: &str, owner: &str| {
        let (kind_name, value) =
            (format!("'{}'", kind.name()), engine.bytes_of(&format!(r#"c."{}""#, contact_column(kind))));
        let identifiers = engine.key_join("Identifier", identifier, &[("kind", &kind_name), ("value", &value)]);
        let contacts = engine.key_join("Contact", owner, &[("id", &format!(r#"{identifier}."contactId""#))]);
        format!("{identifiers}\n                {contacts}")
    };
    let owner_columns = |(identifier, owner): (&str, &str), held: &str| {
        [aliased(identifier, &["contactId"]), aliased(owner, &FOUND), aliased(owner, &[held])].join(", ")
    };
    format!(
        r#"SELECT {}, {}, {}, {}, {}
            FROM {} c {} {} {}
            {} ORDER BY c."id""#,
        stored_columns(engine),
        aliased("p", &["id", "linkedId", "createdAt", "deletedAt"]),
        aliased("x", &["reason"]),
        owner_columns(EMAIL_OWNER, contact_column(IdentifierKind::Email)),
        owner_columns(PHONE_OWNER, contact_column(IdentifierKind::Phone)),
        rows.as_from_clause("Contact"),
        engine.key_join("Contact", "p", &[("id", r#"c."linkedId""#)]),
        join_owner(IdentifierKind::Email, EMAIL_OWNER.0, EMAIL_OWNER.1),
        join_owner(IdentifierKind::Phone, PHONE_OWNER.0, PHONE_OWNER.1),
        engine.key_join("AdoptedContact", "x", &[("id", r#"c."id""#)]),
    )
}

/// The statement of [`Database::audit_merges`].
pub(super) fn merges_sql(engine: Engine, rows: Rows) -> String {
    format!(
        r#"SELECT {}, {}, {}
            FROM {} m {}
            {} ORDER BY m."id""#,
        aliased("m", &["id", "survivorId", "absorbedId"]),
        aliased("s", &FOUND),
        aliased("a", &FOUND),
        rows.as_from_clause("ContactMerge"),
        engine.key_join("Contact", "s", &[("id", r#"m."survivorId""#)]),
        engine.key_join("Contact", "a", &[("id", r#"m."absorbedId""#)]),
    )
}

/// A statement of [`query_linked`]. The ids are parameters, of few different numbers: a connection keeps the statements
/// that it prepared, and on MySQL each that makes room for another costs 40 ms (see `connector`).
pub(super) fn linked_rows(engine: Engine, ids: &[i64], column: &str, index: &str) -> Statement {
    let ids = padded_ids(ids);
    let list = vec!["?"; ids.len()].join(", ");
    // `linkedId` is null on most rows, which MySQL takes for a reason to scan.
    let (columns, force) = (stored_columns(engine), engine.force_index(index));
    let sql = format!(r#"SELECT {columns} FROM "Contact" c {force} WHERE c."{column}" IN ({list})"#);
    engine.statement(sql, ids.into_iter().map(Value::from).collect())
}

/// The columns of an [`IdentifierRow`]: of the row `i` and of the contact `o` that it names.
pub(super) fn identifier_columns() -> String {
    let identifier = aliased("i", &["kind", "value", "contactId"]);
    [identifier, aliased("o", &FOUND), aliased("o", &["email", "phoneNumber"])].join(", ")
}

/// The columns of a [`StoredContact`], of a table `c`.
fn stored_columns(engine: Engine) -> String {
    let columns = ["id", "email", "phoneNumber", "linkedId", "createdAt", "updatedAt", "deletedAt", "flags"];
    let precedence = engine.text_of(r#"c."linkPrecedence""#);
    format!(r#"{}, {precedence} AS "c_linkPrecedence""#, aliased("c", &columns))
}

/// The statement of [`Database::audit_identifiers`], for these rows.
pub(super) fn identifiers_sql(engine: Engine, rows: &str) -> String {
    format!(
        r#"SELECT {}
        FROM {rows} i {} ORDER BY i."kind", i."value""#,
        identifier_columns(),
        engine.key_join("Contact", "o", &[("id", r#"i."contactId""#)])
    )
}
