//! One consistent read of all tables, page by page: for `identity export`.
//!
//! All pages are read in one transaction that sees the tables as they were at its first read: REPEATABLE READ on
//! servers, a deferred transaction on SQLite. It cannot write, and no writer waits for it.

use std::time::Duration;

use clap::ValueEnum;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseTransaction, IsolationLevel, QueryResult, SqliteTransactionMode,
    TransactionOptions, TransactionTrait, Value,
};
use tokio::time::timeout;

use super::database::Database;
use super::error::{Cause, StoreError};
use super::flags;
use super::rows::moment;
use super::sql::Engine;
use crate::domain::{IdentifierKind, Timestamp};

/// Rows of one statement: so many that the round trip costs little, and about a MB.
const PAGE_SIZE: u64 = 4_000;

/// How long a page may take. A hung connection must not hang the command.
const PAGE_WITHIN: Duration = Duration::from_secs(300);

/// How long counting the rows of a table may take.
const COUNT_WITHIN: Duration = Duration::from_secs(3_600);

/// A table that can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportedTable {
    /// Contacts, also deleted ones
    Contacts,
    /// Which contact owns which identifier
    Identifiers,
    /// Which identities were merged, when and why
    Merges,
}

impl ExportedTable {
    /// All of them, in the order in which they are exported.
    pub const ALL: [Self; 3] = [Self::Contacts, Self::Identifiers, Self::Merges];

    /// Returns its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Identifiers => "identifiers",
            Self::Merges => "merges",
        }
    }

    fn sql_name(self) -> &'static str {
        match self {
            Self::Contacts => "Contact",
            Self::Identifiers => "Identifier",
            Self::Merges => "ContactMerge",
        }
    }
}

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

/// The tables as they were at one moment.
#[derive(Debug)]
pub struct TableSnapshot {
    transaction: DatabaseTransaction,
    engine: Engine,
}

impl Database {
    /// Begins a consistent read of all tables. Their moment is that of the first read.
    ///
    /// # Errors
    /// As every read.
    pub async fn begin_snapshot(&self) -> Result<TableSnapshot, StoreError> {
        let engine = self.engine();
        let of_server = TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            sqlite_transaction_mode: None,
        };
        let options = match engine {
            Engine::Mysql | Engine::Mariadb | Engine::Postgres => of_server,
            Engine::Sqlite => TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
                ..TransactionOptions::default()
            },
        };
        let begin = async {
            let transaction = self.connection().begin_with_options(options).await?;
            if let Some(sql) = engine.without_time_limits() {
                transaction.execute_unprepared(sql).await?;
            }
            Ok::<_, StoreError>(transaction)
        };
        let transaction = within(PAGE_WITHIN, begin).await?;
        Ok(TableSnapshot { transaction, engine })
    }

    /// Closes the connections of a command that has only read. On SQLite, the files beside the database go with the
    /// last connection, unless another process uses them.
    pub async fn close_after_reading(&self) {
        if self.engine() == Engine::Sqlite {
            // Nothing was written, so nothing is lost.
            let _ = timeout(Duration::from_secs(2), self.connection().close_by_ref()).await;
        }
    }
}

impl TableSnapshot {
    /// Returns whether the table of another system is being taken over.
    ///
    /// # Errors
    /// As every read.
    pub async fn has_unfinished_adoption(&self) -> Result<bool, StoreError> {
        let sql = r#"SELECT "id" FROM "Adoption" WHERE "phase" <> 'done'"#;
        Ok(!self.query(sql.to_owned(), Vec::new(), |_| Ok(())).await?.is_empty())
    }

    /// Returns the number of rows of a table.
    ///
    /// # Errors
    /// As every read.
    pub async fn count(&self, table: ExportedTable) -> Result<u64, StoreError> {
        let sql = format!(r#"SELECT COUNT(*) FROM "{}""#, table.sql_name());
        let statement = self.engine.statement(sql, Vec::new());
        let row = within(COUNT_WITHIN, self.transaction.query_one_raw(statement)).await?;
        Ok(row.map(|row| row.try_get_by_index::<i64>(0)).transpose()?.unwrap_or_default().unsigned_abs())
    }

    /// Returns the contacts after this id, by id. None are left if there are none.
    ///
    /// # Errors
    /// As every read.
    pub async fn contacts_after(&self, id: i64) -> Result<Vec<ContactRecord>, StoreError> {
        self.query(contacts_sql(self.engine), vec![id.into()], ContactRecord::from_row).await
    }

    /// Returns the first kind of identifiers after this one.
    ///
    /// # Errors
    /// As every read.
    pub async fn kind_after(&self, kind: &str) -> Result<Option<String>, StoreError> {
        let sql = r#"SELECT "kind" FROM "Identifier" WHERE "kind" > ? ORDER BY "kind" LIMIT 1"#.to_owned();
        let kinds = self.query(sql, vec![kind.into()], |row| Ok(row.try_get_by_index(0)?)).await?;
        Ok(kinds.into_iter().next())
    }

    /// Returns the identifiers of a kind after this value, by value. None are left if there are none.
    ///
    /// # Errors
    /// As every read.
    pub async fn identifiers_after(
        &self,
        kind: &str,
        value: Option<&[u8]>,
    ) -> Result<Vec<IdentifierRecord>, StoreError> {
        let mut params: Vec<Value> = vec![kind.into()];
        params.extend(value.map(|value| value.to_vec().into()));
        self.query(identifiers_sql(value.is_some()), params, IdentifierRecord::from_row).await
    }

    /// Returns the merges after this id, by id. None are left if there are none.
    ///
    /// # Errors
    /// As every read.
    pub async fn merges_after(&self, id: i64) -> Result<Vec<MergeRecord>, StoreError> {
        self.query(merges_sql(self.engine), vec![id.into()], MergeRecord::from_row).await
    }

    /// Ends the read.
    pub async fn end(self) {
        // Nothing was written, so nothing is lost.
        let _ = timeout(Duration::from_secs(2), self.transaction.rollback()).await;
    }

    async fn query<T>(
        &self,
        sql: String,
        params: Vec<Value>,
        read: impl Fn(&QueryResult) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let statement = self.engine.statement(sql, params);
        let rows = within(PAGE_WITHIN, self.transaction.query_all_raw(statement)).await?;
        rows.iter().map(read).collect()
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, impl Into<StoreError>>>,
) -> Result<T, StoreError> {
    timeout(limit, work).await.map_err(|_| StoreError::TimedOut(limit))?.map_err(Into::into)
}

/// The statement of [`TableSnapshot::contacts_after`].
pub(super) fn contacts_sql(engine: Engine) -> String {
    let precedence = engine.text_of(r#""linkPrecedence""#);
    format!(
        r#"SELECT "id", "email", "phoneNumber", "linkedId", {precedence}, "createdAt", "updatedAt", "deletedAt", "flags"
            FROM "Contact" WHERE "id" > ? ORDER BY "id" LIMIT {PAGE_SIZE}"#
    )
}

/// The statement of [`TableSnapshot::identifiers_after`], of the first page or of a later one.
pub(super) fn identifiers_sql(is_later: bool) -> String {
    let after = if is_later { r#"AND "value" > ?"# } else { "" };
    format!(
        r#"SELECT i."kind", i."value", i."contactId", o."flags"
            FROM (SELECT * FROM "Identifier" WHERE "kind" = ? {after} ORDER BY "kind", "value" LIMIT {PAGE_SIZE}) i
            LEFT JOIN "Contact" o ON o."id" = i."contactId" ORDER BY i."kind", i."value""#
    )
}

/// The statement of [`TableSnapshot::merges_after`].
pub(super) fn merges_sql(engine: Engine) -> String {
    let cause = engine.text_of(r#""cause""#);
    format!(
        r#"SELECT "id", "survivorId", "absorbedId", {cause}, "createdAt"
            FROM "ContactMerge" WHERE "id" > ? ORDER BY "id" LIMIT {PAGE_SIZE}"#
    )
}

/// A moment that is never missing.
fn required(row: &QueryResult, index: usize) -> Result<Timestamp, StoreError> {
    moment(row, index)?.ok_or_else(|| StoreError::Rejected(Cause::new("a row without a date")))
}

impl ContactRecord {
    fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
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
    fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
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
    fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get_by_index(0)?,
            survivor_id: row.try_get_by_index(1)?,
            absorbed_id: row.try_get_by_index(2)?,
            cause: row.try_get_by_index(3)?,
            created_at: required(row, 4)?,
        })
    }
}
