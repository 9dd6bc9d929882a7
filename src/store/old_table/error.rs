//! Why an old table cannot be read.

use super::super::connect_error::ConnectError;
use super::super::error::{Outage, StoreError};
use super::column_choice::ColumnError;
use sea_orm::DbErr;

/// Why an old table cannot be read. One line for the operator: it names tables, columns and flags, and no value.
#[derive(Debug, thiserror::Error)]
pub enum OldTableError {
    /// The URL is wrong.
    #[error("--from: {0}")]
    Url(String),
    /// There is no connection.
    #[error("the database of the old table: {0}")]
    Connect(#[source] ConnectError),
    /// The table or its columns are not what can be read.
    #[error(transparent)]
    Form(#[from] OldFormError),
    /// The user may not read the table.
    #[error(
        "the user of --from may not read each column or row of the table {0}: grant SELECT on it, and the attribute \
         BYPASSRLS if PostgreSQL keeps rows from the user by a policy"
    )]
    Rights(String),
    /// A row has an id that the service cannot use.
    #[error("the table {table} has a row with the id {id}: ids must be whole numbers from 1 to 9223372036854775807")]
    BadId {
        /// The table.
        table: String,
        /// The id, unless it is no number.
        id: String,
    },
    /// A row has a `deletedAt` that is no date, so that nobody knows whether it is deleted.
    #[error(
        "the row with the id {id} in the table {table} has a deletedAt that is no date, so it is not known whether the \
         row is deleted: name another column by --map deletedAt=COLUMN, with dates of deletion and null on live rows"
    )]
    BadDeletion {
        /// The table.
        table: String,
        /// The id.
        id: i64,
    },
    /// The database failed.
    #[error("the old table cannot be read: {0}")]
    Database(#[source] StoreError),
}

/// Why a table is not taken for an old table of contacts, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OldFormError {
    /// No table has a name that is known.
    #[error("no table is named Contact, contact, Contacts or contacts: name it by --table{}", .elsewhere.as_ref().map(
        |names| format!(" (there is {names})")
    ).unwrap_or_default())]
    NoTable {
        /// Tables of such a name in other schemas.
        elsewhere: Option<String>,
    },
    /// `--table` names nothing.
    #[error("--table: there is no table {0} that the user of --from can see (a view is not a table)")]
    NoSuchTable(String),
    /// Several tables have a name that is known.
    #[error("the tables {} could each be the one to read: name one by --table", .0.join(", "))]
    SeveralTables(Vec<String>),
    /// It is the table of this service.
    #[error(
        "the table {0} is that of this service already, which keeps its identifiers in a table Identifier: there is \
         nothing to adopt"
    )]
    OwnTable(String),
    /// No column, or more than one, could hold a field.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// No column says how old a row is.
    #[error(
        "the table {table} has no column for createdAt, by which the oldest row becomes the primary: name it by \
         --map createdAt=COLUMN, or say by --map createdAt= that there is none (it has {columns})"
    )]
    NoAge {
        /// The table.
        table: String,
        /// All columns.
        columns: String,
    },
    /// Ids are not integers.
    #[error(
        "the column {column} of the table {table} is {sql_type}, and ids must be whole numbers: give the rows numbers \
         in a new column, keep the old ids in another one, and name both columns of numbers by --map id=COLUMN and \
         --map linkedId=COLUMN"
    )]
    TextIds {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        sql_type: String,
    },
    /// The column for the ids is no key.
    #[error("the column {column} of the table {table} is no key: it must be the primary key, or unique and not null")]
    NoKey {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A column has a type that cannot hold the field.
    #[error("the column {column} of the table {table} is {sql_type}, which cannot be {field}: name another by --map")]
    ColumnType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        sql_type: String,
        /// The field.
        field: &'static str,
    },
    /// The table marks deleted rows in a way that cannot be read.
    #[error(
        "the column {column} of the table {table} could mark deleted rows, and there is no date of deletion: name a \
         column of dates by --map deletedAt=COLUMN, or say by --map deletedAt= that each row is live"
    )]
    DeletionMark {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// Dates without a zone.
    #[error(
        "the dates in the table {table} ({columns}) do not say their time zone: give the one in which the old system \
         wrote them, such as --time-zone Europe/Berlin or --time-zone UTC"
    )]
    NoTimeZone {
        /// The table.
        table: String,
        /// The columns and their types.
        columns: String,
    },
}

impl OldTableError {
    /// Returns whether other flags are needed (exit status 2), rather than another database (3).
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Url(_) => true,
            Self::Form(form) => match form {
                OldFormError::NoTable { .. }
                | OldFormError::NoSuchTable(_)
                | OldFormError::SeveralTables(_)
                | OldFormError::Column(_)
                | OldFormError::NoAge { .. }
                | OldFormError::ColumnType { .. }
                | OldFormError::DeletionMark { .. }
                | OldFormError::NoTimeZone { .. } => true,
                OldFormError::OwnTable(_) | OldFormError::TextIds { .. } | OldFormError::NoKey { .. } => false,
            },
            Self::Connect(_) | Self::Rights(_) | Self::BadId { .. } | Self::BadDeletion { .. } | Self::Database(_) => {
                false
            }
        }
    }

    /// The error of a statement about this table.
    pub(super) fn from_statement(error: StoreError, table: &str) -> Self {
        if error.outage() == Outage::Rights { Self::Rights(table.to_owned()) } else { Self::Database(error) }
    }
}

impl From<DbErr> for OldTableError {
    fn from(error: DbErr) -> Self {
        Self::Database(error.into())
    }
}
