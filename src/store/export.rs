//! One consistent read of all tables, page by page: for `identity export`.
//!
//! All pages are read in one transaction that sees the tables as they were at its first read: REPEATABLE READ on
//! servers, a deferred transaction on SQLite. It cannot write, and no writer of rows waits for it.

use std::time::Duration;

use clap::ValueEnum;
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseTransaction, IsolationLevel, QueryResult, SqliteTransactionMode,
    TransactionOptions, TransactionTrait, Value,
};
use tokio::time::timeout;

use super::audit::NEXT_KIND;
use super::catalogue::UNFINISHED_ADOPTION;
use super::database::Database;
use super::error::StoreError;
use super::rows::moment;
use super::server_role::ServerRole;
use super::sql::Engine;

pub use super::export_records::{ContactRecord, EvidenceRecord, IdentifierRecord, MergeRecord};

/// Rows of one statement: so many that the round trip costs little, and a few hundred KB.
const PAGE_SIZE: u64 = 1_000;

/// How long a page may take. A hung connection must not hang the command.
const PAGE_WITHIN: Duration = Duration::from_secs(300);

/// How long a look at each row of a table may take.
const STATE_WITHIN: Duration = Duration::from_secs(3_600);

/// A table that can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportedTable {
    /// Contacts, also deleted ones
    Contacts,
    /// Which contact owns which identifier
    Identifiers,
    /// Which identities were merged, when and why
    Merges,
    /// Which identifiers were seen together, where no contact carries exactly these
    Evidence,
}

impl ExportedTable {
    /// All of them, in the order in which they are exported.
    pub const ALL: [Self; 4] = [Self::Contacts, Self::Identifiers, Self::Merges, Self::Evidence];

    /// Returns its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contacts => "contacts",
            Self::Identifiers => "identifiers",
            Self::Merges => "merges",
            Self::Evidence => "evidence",
        }
    }

    fn sql_name(self) -> &'static str {
        match self {
            Self::Contacts => "Contact",
            Self::Identifiers => "Identifier",
            Self::Merges => "ContactMerge",
            Self::Evidence => "Evidence",
        }
    }

    /// What is greater in each row that is newer. Of an identifier it is the id of its owner.
    fn newest_column(self) -> &'static str {
        match self {
            Self::Contacts => "updatedAt",
            Self::Identifiers => "contactId",
            Self::Merges | Self::Evidence => "createdAt",
        }
    }
}

/// What says of a table whether it was read at one moment. Every change of the service makes one of them another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableState {
    /// Its rows.
    pub rows: u64,
    /// The greatest of its moments, in microseconds since 1970; of the table of identifiers the greatest id of an
    /// owner. `i64::MIN` without rows.
    pub newest: i64,
}

impl TableState {
    /// The state of a table without rows.
    pub const EMPTY: Self = Self { rows: 0, newest: i64::MIN };
}

/// The tables as they were at one moment.
#[derive(Debug)]
pub struct TableSnapshot {
    transaction: DatabaseTransaction,
    engine: Engine,
}

impl Database {
    /// Begins a consistent read of the tables that can be exported. Their moment is that of the first read.
    ///
    /// # Errors
    /// As every read, also if the server takes no writes: it can lack the last commits.
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
        let snapshot = TableSnapshot { transaction, engine };
        snapshot.check_role().await?;
        Ok(snapshot)
    }

    /// Closes the connections of a command that has only read. On SQLite, the files beside the database go with the
    /// last connection, unless another process uses them.
    pub async fn close_after_reading(&self) {
        if self.engine().is_one_file() {
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
        Ok(!self.query(UNFINISHED_ADOPTION.to_owned(), Vec::new(), |_| Ok(())).await?.is_empty())
    }

    /// Returns the state of a table. It looks at each row.
    ///
    /// # Errors
    /// As every read.
    pub async fn state(&self, table: ExportedTable) -> Result<TableState, StoreError> {
        let statement = self.engine.statement(state_sql(table), Vec::new());
        let Some(row) = within(STATE_WITHIN, self.transaction.query_one_raw(statement)).await? else {
            return Ok(TableState::EMPTY);
        };
        let newest = match table {
            ExportedTable::Identifiers => row.try_get_by_index(StateColumn::Newest as usize)?,
            ExportedTable::Contacts | ExportedTable::Merges | ExportedTable::Evidence => {
                moment(&row, StateColumn::Newest as usize)?.map(|moment| moment.0)
            }
        };
        let rows = row.try_get_by_index::<i64>(StateColumn::Rows as usize)?.unsigned_abs();
        Ok(TableState { rows, newest: newest.unwrap_or(TableState::EMPTY.newest) })
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
        let kinds = self.query(NEXT_KIND.to_owned(), vec![kind.into()], |row| Ok(row.try_get_by_index(0)?)).await?;
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
        self.query(identifiers_sql(self.engine, value.is_some()), params, IdentifierRecord::from_row).await
    }

    /// Returns the merges after this id, by id. None are left if there are none.
    ///
    /// # Errors
    /// As every read.
    pub async fn merges_after(&self, id: i64) -> Result<Vec<MergeRecord>, StoreError> {
        self.query(merges_sql(self.engine), vec![id.into()], MergeRecord::from_row).await
    }

    /// Returns the sets after this id, by id. None are left if there are none.
    ///
    /// # Errors
    /// As every read.
    pub async fn evidence_after(&self, id: i64) -> Result<Vec<EvidenceRecord>, StoreError> {
        self.query(evidence_sql(self.engine), vec![id.into()], EvidenceRecord::from_row).await
    }

    /// Ends the read.
    ///
    /// # Errors
    /// If the server takes no writes any more: it can have lost its last commits, or some before the snapshot.
    pub async fn end(self) -> Result<(), StoreError> {
        self.check_role().await?;
        // Nothing was written, so nothing is lost.
        let _ = timeout(Duration::from_secs(2), self.transaction.rollback()).await;
        Ok(())
    }

    /// Fails if the server of this very connection takes no writes. The pool opens connections when they are needed,
    /// and an address can lead to another server by then.
    async fn check_role(&self) -> Result<(), StoreError> {
        let Some(question) = self.engine.role_question_while_reading() else { return Ok(()) };
        let roles = self.query(question.to_owned(), Vec::new(), |row| Ok(ServerRole::from_row(row))).await?;
        if roles.contains(&ServerRole::Replica) { Err(StoreError::read_only()) } else { Ok(()) }
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

/// The columns of [`state_sql`], in order.
#[derive(Clone, Copy)]
enum StateColumn {
    Rows,
    Newest,
}

/// The statement of [`TableSnapshot::state`]. The columns are those of [`StateColumn`].
pub(super) fn state_sql(table: ExportedTable) -> String {
    format!(r#"SELECT COUNT(*), MAX("{}") FROM "{}""#, table.newest_column(), table.sql_name())
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
pub(super) fn identifiers_sql(engine: Engine, is_later: bool) -> String {
    let owner = engine.key_join("Contact", "o", &[("id", r#"i."contactId""#)]);
    let after = if is_later { r#"AND "value" > ?"# } else { "" };
    format!(
        r#"SELECT i."kind", i."value", i."contactId", o."flags"
            FROM (SELECT * FROM "Identifier" WHERE "kind" = ? {after} ORDER BY "kind", "value" LIMIT {PAGE_SIZE}) i
            {owner} ORDER BY i."kind", i."value""#
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

/// The statement of [`TableSnapshot::evidence_after`].
pub(super) fn evidence_sql(engine: Engine) -> String {
    let identifiers = engine.text_of(r#""identifiers""#);
    format!(
        r#"SELECT "id", "contactId", "origin", {identifiers}, "createdAt"
            FROM "Evidence" WHERE "id" > ? ORDER BY "id" LIMIT {PAGE_SIZE}"#
    )
}
