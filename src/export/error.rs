//! Why an export failed.

use std::io;

use crate::store::StoreError;

/// Why an export failed. One line for the operator: it names ids, and no values.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The tables cannot be read.
    #[error("the tables cannot be read: {0}")]
    Store(#[from] StoreError),
    /// What was read cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
    /// The tables are half full.
    #[error(
        "the contacts of another system are not all here: run `identity adopt --apply` (or `identity import --apply`) \
         again, or empty the tables by `identity adopt --undo`"
    )]
    UnfinishedAdoption,
    /// A value is not text.
    #[error("an identifier of contact {0} is not UTF-8: see `identity verify`")]
    NotUtf8(i64),
    /// A cause is not JSON.
    #[error("the cause of merge {0} is not JSON: see `identity verify`")]
    Cause(i64),
    /// A set is not JSON.
    #[error("the identifiers of evidence {0} are not JSON: see `identity verify`")]
    Evidence(i64),
    /// A date cannot be written.
    #[error("a row has a date that is out of range")]
    Date,
    /// The pages are not from one moment.
    #[error(
        "the table {table} changed while it was read (it had {counted} rows when the export began, and {read} were \
         read): a proxy before the database does not keep the statements of a transaction together"
    )]
    NotOneMoment {
        /// The table.
        table: &'static str,
        /// Its rows.
        counted: u64,
        /// The rows of its pages.
        read: u64,
    },
}

impl ExportError {
    /// Returns whether the reader of the output has closed it, as `head` does.
    pub fn is_closed_by_reader(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
