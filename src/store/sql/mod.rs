//! The SQL of each database: one file a database, chosen by [`Engine`] in exhaustive matches.
//!
//! A statement that differs by database is a method of [`Engine`]. Statements are written with `"names"` and `?`;
//! [`Engine::statement`] turns them into what the database wants. The snapshots below `src/store/` show statements
//! as each database gets them; `statements.rs` says which stands where.

mod adoption;
mod by_version;
mod features;
mod history;
mod history_rows;
mod key_join;
mod list;
mod lock_wait;
mod look_up;
pub(super) mod mariadb;
pub(super) mod mysql;
pub(super) mod postgres;
mod read_locks;
mod refusal;
mod root_columns;
mod roots;
pub(super) mod sqlite;

use std::time::Duration;

use chrono::NaiveDateTime;
use sea_orm::{DbBackend, Statement, Value};

pub(super) use self::by_version::{OwnerRowColumn, RootRowColumn};
pub(super) use self::history_rows::{CONTACT, HistoryColumn, HistoryLimit, LINK, SET, STATE};
pub(super) use self::list::{KeyLookup, padded_ids};
pub(super) use self::lock_wait::LockWait;
pub(super) use self::root_columns::{LockedRootColumn, ROWS_OF_A_WINDOW, WindowColumn};
use crate::domain::{Identifier, IdentifierKind};

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Mysql,
    Mariadb,
    Postgres,
    Sqlite,
}

/// The column of `Contact` that holds identifiers of this kind.
pub(super) fn contact_column(kind: IdentifierKind) -> &'static str {
    match kind {
        IdentifierKind::Email => "email",
        IdentifierKind::Phone => "phoneNumber",
    }
}

/// The columns of a contact in a look-up, in order.
#[derive(Clone, Copy, Debug)]
pub(super) enum LookupColumn {
    Id,
    Email,
    PhoneNumber,
    LinkedId,
    CreatedAt,
    UpdatedAt,
    DeletedAt,
    Flags,
    /// Behind the last contact of a row, and only where [`Engine::read_only_column`] has one.
    End,
}

/// The columns of [`LookupColumn`], of the contact of this name.
fn lookup_columns(contact: &str) -> String {
    ["id", "email", "phoneNumber", "linkedId", "createdAt", "updatedAt", "deletedAt", "flags"]
        .map(|column| format!(r#"{contact}."{column}""#))
        .join(", ")
}

/// The most rows that [`Engine::lookup`] returns, for so many identifiers: 16 times the next power of two, so that
/// there are few texts of the statement. At least 512: an identity that alone has more is large.
pub(super) fn lookup_limit(identifiers: usize) -> usize {
    16 * identifiers.next_power_of_two().max(32)
}

/// The columns of [`Engine::owners`], in order.
#[derive(Clone, Copy, Debug)]
pub(super) enum OwnerColumn {
    Kind,
    Value,
    Email,
    PhoneNumber,
    DeletedAt,
    ContactId,
    Flags,
    Root,
}

const OWNER_COLUMNS: &str =
    r#"i."kind", i."value", o."email", o."phoneNumber", o."deletedAt", i."contactId", o."flags""#;

/// The row by which an identity is found, of the contact `o`.
const ROOT: &str = r#"COALESCE(o."linkedId", o."id")"#;

impl Engine {
    /// SeaORM's name for the protocol and the syntax.
    pub(super) fn backend(self) -> DbBackend {
        match self {
            Self::Mysql | Self::Mariadb => DbBackend::MySql,
            Self::Postgres => DbBackend::Postgres,
            Self::Sqlite => DbBackend::Sqlite,
        }
    }

    /// The name of the database in metrics, as OpenTelemetry has it.
    pub(super) fn system_name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Postgres => "postgresql",
            Self::Sqlite => "sqlite",
        }
    }

    /// A statement that is written with `"names"` and `?`, as this database wants it.
    pub(super) fn statement(self, sql: String, params: Vec<Value>) -> Statement {
        let sql = match self {
            Self::Mysql | Self::Mariadb => mysql::with_back_quotes(&sql),
            Self::Postgres => postgres::with_numbered_parameters(&sql),
            Self::Sqlite => sql,
        };
        Statement::from_sql_and_values(self.backend(), sql, params)
    }

    /// The function that joins the contacts with this value in this column, under this name, through an index (the
    /// primary key without one).
    pub(super) fn contact_join(self) -> fn(&str, &str, &str, Option<&str>) -> String {
        match self {
            Self::Mysql => mysql::contact_join,
            Self::Mariadb => mariadb::contact_join,
            Self::Postgres => postgres::contact_join,
            Self::Sqlite => sqlite::contact_join,
        }
    }

    /// All contacts of `roots`, with the columns of [`LookupColumn`].
    fn contacts_of_roots(self) -> String {
        let columns = self.with_read_only_column(&lookup_columns("c"));
        let contacts_by = match self {
            Self::Mysql => mysql::contacts_by,
            Self::Mariadb => mariadb::contacts_by,
            Self::Postgres => postgres::contacts_by,
            Self::Sqlite => sqlite::contacts_by,
        };
        let of_roots = contacts_by(&columns, "id", None);
        let of_linked = contacts_by(&columns, "linkedId", Some("Contact_linkedId"));
        format!("{of_roots} UNION ALL {of_linked}")
    }

    /// These columns, and [`Self::read_only_column`] if there is one.
    pub(super) fn with_read_only_column(self, columns: &str) -> String {
        let read_only = self.read_only_column().map(|column| format!(", {column}"));
        columns.to_owned() + &read_only.unwrap_or_default()
    }

    /// What the rows of these contacts say. The columns are those of [`RootRowColumn`].
    pub(super) fn root_rows(self, ids: &[i64]) -> Statement {
        let KeyLookup { from, filter, params } = match self {
            Self::Mysql => mysql::contacts_by_id(ids),
            Self::Mariadb => mariadb::contacts_by_id(ids),
            Self::Postgres => postgres::contacts_by_id(ids),
            Self::Sqlite => sqlite::contacts_by_id(ids),
        };
        let columns = self.with_read_only_column(&by_version::root_row_columns("c"));
        self.with_own_parameters(format!("SELECT {columns} FROM {from} WHERE {filter}"), params)
    }

    /// The rows of these identifiers, each with the contact that it names and that contact's root. The columns are
    /// those of [`OwnerRowColumn`].
    pub(super) fn owner_rows(self, identifiers: &[Identifier]) -> Statement {
        let KeyLookup { from, filter, params } = self.owned_rows(identifiers);
        let roots = self.contact_join()("r", "id", ROOT, None);
        let columns = self.with_read_only_column(&by_version::owner_row_columns());
        let sql = format!("SELECT {columns} FROM {from}\n            {roots} WHERE {filter}");
        self.with_own_parameters(sql, params)
    }

    /// All contacts of these roots, soft-deleted ones included, or so many of them. The columns are those of
    /// [`LookupColumn`].
    pub(super) fn contacts_of(self, roots: &[i64], limit: Option<usize>) -> Statement {
        let columns = self.with_read_only_column(&lookup_columns("c"));
        let (sql, params) = match self {
            Self::Mysql => mysql::contacts_of(&columns, roots),
            Self::Mariadb => mariadb::contacts_of(&columns, roots),
            Self::Postgres => postgres::contacts_of(&self.contacts_of_roots(), roots),
            Self::Sqlite => sqlite::contacts_of(&self.contacts_of_roots(), roots),
        };
        let limit = limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        self.with_own_parameters(sql + &limit, params)
    }

    /// The rows of these identifiers, with what the contact that they name holds, and its root. The columns are those
    /// of [`OwnerColumn`].
    pub(super) fn owners(self, identifiers: &[Identifier]) -> Statement {
        self.owned_rows_with(&format!("{OWNER_COLUMNS}, {ROOT}"), identifiers)
    }

    /// Links all rows that are linked to the first of each pair to the second. Here too the optimizer has no choice.
    pub(super) fn move_secondaries(self, moves: &[(i64, i64)], updated_at: NaiveDateTime) -> Statement {
        let index = match self {
            Self::Mysql | Self::Mariadb => r#" FORCE INDEX ("Contact_linkedId")"#,
            Self::Sqlite => r#" INDEXED BY "Contact_linkedId""#,
            Self::Postgres => "",
        };
        let cases = vec!["WHEN ? THEN ?"; moves.len()].join(" ");
        let roots = vec!["?"; moves.len()].join(", ");
        let sql = format!(
            r#"UPDATE "Contact"{index} SET "linkedId" = CASE "linkedId" {cases} END,
        "linkPrecedence" = 'secondary', "updatedAt" = ? WHERE "linkedId" IN ({roots})"#
        );
        let cases = moves.iter().flat_map(|(from, to)| [Value::from(*from), Value::from(*to)]);
        let roots = moves.iter().map(|(from, _)| Value::from(*from));
        self.statement(sql, cases.chain([Value::from(updated_at)]).chain(roots).collect())
    }

    /// These columns of the rows of these identifiers `i`, each with the contact `o` that it names.
    pub(super) fn owned_rows_with(self, columns: &str, identifiers: &[Identifier]) -> Statement {
        let KeyLookup { from, filter, params } = self.owned_rows(identifiers);
        self.with_own_parameters(format!("SELECT {columns} FROM {from} WHERE {filter}"), params)
    }

    /// The `Identifier` rows `i` of these identifiers, each with the contact `o` that it names.
    fn owned_rows(self, identifiers: &[Identifier]) -> KeyLookup {
        match self {
            Self::Mysql => mysql::owned_rows(identifiers),
            Self::Mariadb => mariadb::owned_rows(identifiers),
            Self::Postgres => postgres::owned_rows(identifiers),
            Self::Sqlite => sqlite::owned_rows(identifiers),
        }
    }

    /// A statement whose parameters are spelled as this database wants them already.
    fn with_own_parameters(self, sql: String, params: Vec<Value>) -> Statement {
        let sql = match self {
            Self::Mysql | Self::Mariadb => mysql::with_back_quotes(&sql),
            Self::Postgres | Self::Sqlite => sql,
        };
        Statement::from_sql_and_values(self.backend(), sql, params)
    }

    /// A column that says whether the server takes no writes (any more), to read along with rows.
    ///
    /// A server that is made a replica keeps its connections open and returns stale reads. PostgreSQL needs no such
    /// column: its servers become standbys by a restart, which ends their connections.
    pub(super) fn read_only_column(self) -> Option<&'static str> {
        match self {
            Self::Mysql => Some(mysql::READ_ONLY_COLUMN),
            Self::Mariadb => Some(mariadb::READ_ONLY_COLUMN),
            Self::Postgres | Self::Sqlite => None,
        }
    }

    /// The columns that say what time it is and how ids rise, for any statement; `None` if the database has no clock
    /// of its own.
    pub(super) fn clock_columns(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Mysql => Some(&mysql::CLOCK_COLUMNS),
            Self::Mariadb => Some(&mariadb::CLOCK_COLUMNS),
            Self::Postgres => Some(&postgres::CLOCK_COLUMNS),
            Self::Sqlite => None,
        }
    }

    /// The UTF-8 bytes of a text column.
    pub(super) fn bytes_of(self, column: &str) -> String {
        match self {
            Self::Mysql | Self::Mariadb => format!("CAST({column} AS BINARY)"),
            Self::Postgres => format!("convert_to({column}, 'UTF8')"),
            Self::Sqlite => format!("CAST({column} AS BLOB)"),
        }
    }

    /// An enum column as text.
    pub(super) fn text_of(self, column: &str) -> String {
        match self {
            Self::Mysql | Self::Mariadb => format!("CAST({column} AS CHAR)"),
            Self::Postgres | Self::Sqlite => format!("CAST({column} AS TEXT)"),
        }
    }

    /// The words after a table's name that make the optimizer use an index, where it does not choose it by itself.
    pub(super) fn force_index(self, index: &str) -> String {
        match self {
            Self::Mysql | Self::Mariadb => format!("FORCE INDEX ({index})"),
            Self::Postgres | Self::Sqlite => String::new(),
        }
    }

    /// A join that reads the tables in the order in which they stand, where the optimizer would choose another one.
    pub(super) fn ordered_join(self) -> &'static str {
        match self {
            Self::Mysql | Self::Mariadb => "STRAIGHT_JOIN",
            Self::Postgres => "JOIN",
            Self::Sqlite => "CROSS JOIN",
        }
    }

    /// The question whose answer is a row of [`ServerRole`](super::server_role::ServerRole), if a server of this kind
    /// can have another role than that of a lone primary.
    pub(super) fn role_question(self) -> Option<&'static str> {
        match self {
            Self::Mysql => Some(mysql::ROLE),
            Self::Mariadb => Some(mariadb::ROLE),
            Self::Postgres => Some(postgres::ROLE),
            Self::Sqlite => None,
        }
    }

    /// As [`Self::role_question`], within a transaction that only reads.
    pub(super) fn role_question_while_reading(self) -> Option<&'static str> {
        match self {
            Self::Mysql | Self::Mariadb | Self::Sqlite => self.role_question(),
            Self::Postgres => Some(postgres::ROLE_WHILE_READING),
        }
    }

    /// How long a statement may take if it can wait for a lock.
    pub(super) fn locking_timeout(self, statement_timeout: Duration) -> Duration {
        match self {
            // MySQL counts lock waits in whole seconds, so a short statement timeout would end before them.
            Self::Mysql | Self::Mariadb => {
                statement_timeout.max(LockWait::within(statement_timeout).whole_seconds / 2 * 3)
            }
            Self::Postgres | Self::Sqlite => statement_timeout,
        }
    }

    /// The statements that free the transaction under way from limits of the server: on how long it takes, and on how
    /// long it may wait for its client, whose reader can be slow.
    pub(super) fn without_time_limits(self) -> Option<&'static str> {
        match self {
            Self::Mysql | Self::Mariadb => Some(mysql::WITHOUT_TIME_LIMITS),
            Self::Postgres => Some(postgres::WITHOUT_TIME_LIMITS),
            Self::Sqlite => None,
        }
    }

    /// The tables of the database: name, whether its rows may be read, and whether the case of names does not matter.
    pub(super) fn tables_sql(self) -> &'static str {
        match self {
            Self::Mysql | Self::Mariadb => mysql::TABLES,
            Self::Postgres => postgres::TABLES,
            Self::Sqlite => sqlite::TABLES,
        }
    }

    /// The columns of a table, in order: name, type, whether it can be null, has a default, is numbered. Each
    /// parameter is the name of the table.
    pub(super) fn columns_sql(self) -> &'static str {
        match self {
            Self::Mysql | Self::Mariadb => mysql::COLUMNS,
            Self::Postgres => postgres::COLUMNS,
            Self::Sqlite => sqlite::COLUMNS,
        }
    }

    /// The columns of the indexes of a table, by index: name of the index, whether it is unique, whether it is the
    /// primary key, name of the column, whether it is of some rows only. Each parameter is the name of the table.
    pub(super) fn indexes_sql(self) -> &'static str {
        match self {
            Self::Mysql | Self::Mariadb => mysql::INDEXES,
            Self::Postgres => postgres::INDEXES,
            Self::Sqlite => sqlite::INDEXES,
        }
    }

    /// The statement that tries to take the migration lock, without waiting. Its row is true if the lock was free.
    /// `None` where the write lock of a transaction is enough.
    pub(super) fn try_migration_lock(self) -> Option<String> {
        match self {
            Self::Mysql | Self::Mariadb => Some(mysql::try_migration_lock()),
            Self::Postgres => Some(postgres::try_migration_lock()),
            Self::Sqlite => None,
        }
    }

    /// The statement that makes SeaORM's table of the migrations, where SeaORM's own can fail.
    pub(super) fn create_migrations_table(self) -> Option<&'static str> {
        match self {
            Self::Mysql | Self::Mariadb => Some(mysql::CREATE_MIGRATIONS_TABLE),
            Self::Postgres | Self::Sqlite => None,
        }
    }

    /// The statement that gives the migration lock back, where the end of the transaction does not.
    pub(super) fn release_migration_lock(self) -> Option<String> {
        match self {
            Self::Mysql | Self::Mariadb => Some(mysql::release_migration_lock()),
            Self::Postgres | Self::Sqlite => None,
        }
    }
}
