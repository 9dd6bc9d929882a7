//! Why a file of contacts cannot be read.

use std::io;

use crate::store::old_table::ColumnError;

/// Why a file of contacts cannot be read. One line for the operator: it names lines, columns and flags, and no value.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be opened.
    #[error("<FILE> must be a file that can be read: {0}")]
    Open(#[source] io::Error),
    /// It is a pipe, a folder or a device.
    #[error("<FILE> must be a regular file: it is read several times")]
    NotRegular,
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Its content is another one than at the first read.
    #[error(
        "the file changed while it was read: wait until its writer has ended and run the same command again, after \
         --undo if contacts were written already"
    )]
    Changed,
    /// There is no format of this ending.
    #[error("the ending of the file is no format: give --format csv or --format ndjson")]
    Format,
    /// It has no line.
    #[error("the file is empty")]
    Empty,
    /// It is not UTF-8.
    #[error("line {0} is not UTF-8: save the file as UTF-8 (in Excel: CSV UTF-8)")]
    NotUtf8(u64),
    /// A row has another number of fields than the first line.
    #[error("line {line} has {found} fields, and the first line has {expected} columns")]
    Fields {
        /// The line on which the row begins.
        line: u64,
        /// Its fields.
        found: u64,
        /// The columns.
        expected: u64,
    },
    /// A line is no JSON object of texts, numbers and truth values.
    #[error("line {0} is no JSON object with texts and numbers")]
    Json(u64),
    /// A line is no set of identifiers.
    #[error("line {0} is no set of identifiers with id, contactId, origin and createdAt")]
    Evidence(u64),
    /// The first line has values.
    #[error("line 1 has no names of columns: write them above the first contact")]
    NoNames,
    /// A quote is not closed.
    #[error("line {0} opens a quote that nothing closes")]
    OpenQuote(u64),
    /// A mark that is neither true nor false.
    #[error("line {0} has a holder that is neither true nor false")]
    Holder(u64),
    /// A line is too long.
    #[error("line {0} is longer than 1 MiB")]
    LongLine(u64),
    /// An export of another version.
    #[error("the file was written by another version of `identity export`")]
    Version,
    /// An export without contacts.
    #[error("the file is an export without contacts (--only)")]
    NoContacts,
    /// An export that was cut.
    #[error("the file is an export that was cut or joined: its last line is missing or not the last, or rows are")]
    Cut,
    /// No column, or more than one, could hold a field.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// The file marks deleted rows in a way that cannot be read.
    #[error(
        "the column {0} could mark deleted rows, and there is no date of deletion: name a column of dates by \
         --map deletedAt=COLUMN, or say by --map deletedAt= that each row is live"
    )]
    DeletionMark(String),
    /// A row has an id that the service cannot use.
    #[error("line {0} has an id that is no whole number from 1 to 9223372036854775807")]
    BadId(u64),
    /// The ids do not rise.
    #[error("the ids do not rise at line {0}: sort the file by id")]
    Order(u64),
    /// A date without a zone.
    #[error("line {line}: {field} does not say its time zone: give the one of the file by --time-zone")]
    NoTimeZone {
        /// The line.
        line: u64,
        /// The field.
        field: &'static str,
    },
    /// A `deletedAt` that is no date.
    #[error("line {0} has a deletedAt that is no date, so it is not known whether the row is deleted")]
    BadDeletion(u64),
}

impl FileError {
    /// Returns whether other flags are needed (exit status 2), rather than another file (3).
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Open(_)
            | Self::NotRegular
            | Self::Format
            | Self::Column(_)
            | Self::DeletionMark(_)
            | Self::NoTimeZone { .. } => true,
            Self::Io(_)
            | Self::Changed
            | Self::Empty
            | Self::NotUtf8(_)
            | Self::Fields { .. }
            | Self::Json(_)
            | Self::Evidence(_)
            | Self::NoNames
            | Self::OpenQuote(_)
            | Self::Holder(_)
            | Self::LongLine(_)
            | Self::Version
            | Self::NoContacts
            | Self::Cut
            | Self::BadId(_)
            | Self::Order(_)
            | Self::BadDeletion(_) => false,
        }
    }
}
