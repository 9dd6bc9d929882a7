//! A file of contacts that `identity import` reads: one of `identity export`, or of a spreadsheet.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `records` | lines of CSV or of JSON, one after the other |
//! | `columns` | which column holds what, and `--map` |
//! | `rows` | from records to contacts |
//! | `export_lines` | the merges and the evidence of an export |
//! | `error` | why a file cannot be read |
//!
//! The file is read from its beginning each time: memory holds no values. Each read compares the digest of the file
//! with that of the first one.

mod columns;
mod error;
mod export_lines;
mod records;
mod rows;

use std::path::{Path, PathBuf};

use self::columns::Columns;
use self::export_lines::{merge, set_from_record};
use self::records::{Record, RecordKind, Records, digest_of};
use self::rows::{FileRow, RowReader};
use crate::domain::IdentifierKind;
use crate::domain::adoption::OldContact;
use crate::export::FileFormat;
use crate::store::adoption::StoredMerge;
use crate::store::old_table::{ColumnOverride, Field, OldTimeZone};
pub use error::FileError;
pub(super) use export_lines::FileSet;

/// How a file is read.
#[derive(Clone, Debug)]
pub struct ContactFileOptions {
    /// Where it is.
    pub path: PathBuf,
    /// Its format. Without it, the ending of the name decides.
    pub format: Option<FileFormat>,
    /// Columns that hold another field than their names say.
    pub map: Vec<ColumnOverride>,
    /// The time zone of dates that do not say theirs.
    pub time_zone: Option<OldTimeZone>,
}

/// A file of contacts.
#[derive(Clone, Debug)]
pub(super) struct ContactFile {
    path: PathBuf,
    format: FileFormat,
    zone: Option<OldTimeZone>,
    columns: Columns,
    /// SHA-256 of its bytes.
    digest: String,
    /// Its rows, also those that hold ignored identifiers.
    pub(super) rows: u64,
    /// The ignored identifiers that it holds, as they are written there. Personal data.
    pub(super) held: Vec<(IdentifierKind, String)>,
    /// The greatest id of its merges.
    pub(super) last_merge_id: i64,
    /// Whether it has sets of identifiers that were seen together.
    pub(super) has_sets: bool,
}

/// How many columns of lines of JSON are noted. A file with more has values as names.
const MOST_NAMES: usize = 1_000;

fn format_of(path: &Path) -> Option<FileFormat> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "csv" | "tsv" => Some(FileFormat::Csv),
        "ndjson" | "jsonl" => Some(FileFormat::Ndjson),
        _ => None,
    }
}

impl ContactFile {
    /// Reads the file once: its columns, its digest, and what it says of ignored identifiers.
    pub(super) fn open(options: &ContactFileOptions) -> Result<Self, FileError> {
        let format = options.format.or_else(|| format_of(&options.path)).ok_or(FileError::Format)?;
        let mut records = Records::open(&options.path, format)?;
        let mut names: Vec<String> = records.names().to_vec();
        let (mut rows, mut last_merge_id, mut has_sets) = (0, 0, false);
        while let Some(record) = records.next()? {
            match record.kind {
                RecordKind::Contact => {
                    rows += 1;
                    for name in record.own_names() {
                        if name != "type" && names.len() < MOST_NAMES && !names.contains(name) {
                            names.push(name.clone());
                        }
                    }
                }
                RecordKind::Merge => last_merge_id = merge(&record, last_merge_id)?.id(),
                RecordKind::Evidence => has_sets = true,
                RecordKind::Other => {}
            }
        }
        let digest = records.digest();
        if names.is_empty() {
            names = ["id", "email", "phoneNumber"].map(str::to_owned).to_vec(); // An export of empty tables.
        }
        let columns = Columns::detect(&names, &options.map)?;
        let (path, zone) = (options.path.clone(), options.time_zone.clone());
        let held = Vec::new();
        let mut file = Self { path, format, zone, columns, digest, rows, held, last_merge_id, has_sets };
        if file.columns.is_export {
            let mut held = Vec::new();
            file.read_rows(|row| {
                if let FileRow::Held(kind, value) = row {
                    held.push((kind, value));
                }
                true
            })?;
            file.held = held;
        }
        Ok(file)
    }

    /// Reads all contacts, in the order of the file, until `take` returns false.
    pub(super) fn read(&self, take: &mut dyn FnMut(OldContact) -> bool) -> Result<(), FileError> {
        self.read_rows(|row| match row {
            FileRow::Contact(contact) => take(contact),
            FileRow::Held(..) => true,
        })
    }

    /// Reads all merges, by id, until `take` returns false.
    pub(super) fn read_merges(&self, take: &mut dyn FnMut(StoredMerge) -> bool) -> Result<(), FileError> {
        let mut last = 0;
        if self.last_merge_id == 0 {
            return Ok(());
        }
        self.read_records(RecordKind::Merge, |record, _| {
            let merge = merge(record, last)?;
            last = merge.id();
            Ok(take(merge))
        })
    }

    /// Reads all sets of identifiers that were seen together, by id, until `take` returns false.
    pub(super) fn read_sets(&self, take: &mut dyn FnMut(FileSet) -> bool) -> Result<(), FileError> {
        let mut last = 0;
        if !self.has_sets {
            return Ok(());
        }
        self.read_records(RecordKind::Evidence, |record, _| {
            let set = set_from_record(record, last)?;
            last = set.id;
            Ok(take(set))
        })
    }

    fn read_rows(&self, mut take: impl FnMut(FileRow) -> bool) -> Result<(), FileError> {
        let mut reader = RowReader::new(&self.columns, self.zone.as_ref());
        self.read_records(RecordKind::Contact, |record, names| Ok(take(reader.row(record, names)?)))
    }

    /// Reads the records of a kind, until `take` returns false. If the file is another one than at the first read, that
    /// is the error, whatever else is wrong with it.
    fn read_records(
        &self,
        kind: RecordKind,
        mut take: impl FnMut(&Record, &[String]) -> Result<bool, FileError>,
    ) -> Result<(), FileError> {
        let mut read = || {
            let mut records = Records::open(&self.path, self.format)?;
            let names = records.names().to_vec();
            while let Some(record) = records.next()? {
                if record.kind == kind && !take(&record, &names)? {
                    return Ok(());
                }
            }
            if records.digest() == self.digest { Ok(()) } else { Err(FileError::Changed) }
        };
        read().map_err(|error| match digest_of(&self.path) {
            Ok(digest) if digest == self.digest => error,
            Ok(_) | Err(_) => FileError::Changed,
        })
    }

    /// Returns a text that stands for the content and for how it is read.
    pub(super) fn fingerprint(&self) -> String {
        let columns =
            Field::ALL.iter().filter_map(|field| Some(format!("{}={}", field.name(), self.columns.get(*field)?)));
        let zone = self.zone.iter().map(|zone| format!("time-zone={zone}"));
        let digest = format!("sha256={}", self.digest);
        [digest].into_iter().chain(columns).chain(zone).collect::<Vec<_>>().join(" ")
    }

    /// Returns how it is read, line by line, for the operator to check.
    pub(super) fn lines(&self) -> Vec<String> {
        let column = |field: &Field| {
            let column = self.columns.get(*field).unwrap_or("(no column)");
            format!("{:<16}{column}", field.name())
        };
        let mut lines: Vec<String> = Field::ALL.iter().map(column).collect();
        if !self.columns.unused.is_empty() {
            lines.push(format!("{:<16}{}", "not read", self.columns.unused.join(", ")));
        }
        lines
    }
}

/// The value of a contact, for a report.
pub(super) fn value_of(contact: OldContact, kind: IdentifierKind) -> Option<String> {
    match kind {
        IdentifierKind::Email => contact.email,
        IdentifierKind::Phone => contact.phone_number,
    }
}
