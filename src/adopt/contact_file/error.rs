//! Why a file of contacts cannot be read.

use std::io;

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
    /// No column holds a field.
    #[error("no column is for {field}: name it by --map {flag}=COLUMN (the file has {columns})")]
    NoColumn {
        /// The field or fields.
        field: &'static str,
        /// The field in the flag.
        flag: &'static str,
        /// All columns.
        columns: String,
    },
    /// Several columns could hold a field.
    #[error("the columns {columns} could each be {field}: name one by --map {field}=COLUMN")]
    SeveralColumns {
        /// The field.
        field: &'static str,
        /// The columns.
        columns: String,
    },
    /// `--map` names no column.
    #[error("--map {field}={column}: the file has no such column (it has {columns})")]
    NoSuchColumn {
        /// The field.
        field: &'static str,
        /// The column.
        column: String,
        /// All columns.
        columns: String,
    },
    /// `--map` names a field twice.
    #[error("--map: {0} is given twice")]
    FieldTwice(&'static str),
    /// Two fields have one column.
    #[error("the column {column} cannot hold both {one} and {other}: see --map")]
    ColumnTwice {
        /// The column.
        column: String,
        /// A field.
        one: &'static str,
        /// Another one.
        other: &'static str,
    },
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
            | Self::NoColumn { .. }
            | Self::SeveralColumns { .. }
            | Self::NoSuchColumn { .. }
            | Self::FieldTwice(_)
            | Self::ColumnTwice { .. }
            | Self::DeletionMark(_)
            | Self::NoTimeZone { .. } => true,
            Self::Io(_)
            | Self::Changed
            | Self::Empty
            | Self::NotUtf8(_)
            | Self::Fields { .. }
            | Self::Json(_)
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
