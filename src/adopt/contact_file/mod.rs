//! A file of contacts that `identity import` reads: one of `identity export`, or of a spreadsheet.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `records` | lines of CSV or of JSON, one after the other |
//! | `columns` | which column holds what, and `--map` |
//! | `rows` | from records to contacts |
//! | `error` | why a file cannot be read |
//!
//! The file is read from its beginning each time: memory holds no values.

mod columns;
mod error;
mod records;
mod rows;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::columns::Columns;
use self::records::{Record, RecordKind, Records};
use self::rows::{FileRow, RowReader};
use crate::domain::adoption::OldContact;
use crate::domain::{Identifier, IdentifierKind, Timestamp};
use crate::export::FileFormat;
use crate::store::adoption::StoredMerge;
use crate::store::old_table::{ColumnOverride, Field, OldDate, OldTimeZone};
pub use error::FileError;

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
    /// The ignored identifiers that it holds.
    pub(super) held: BTreeSet<Identifier>,
    /// The greatest id of its merges.
    pub(super) last_merge_id: i64,
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
        let (mut rows, mut last_merge_id) = (0, 0);
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
                RecordKind::Other => {}
            }
        }
        let digest = records.digest();
        if names.is_empty() {
            names = ["id", "email", "phoneNumber"].map(str::to_owned).to_vec(); // An export of empty tables.
        }
        let columns = Columns::detect(&names, &options.map)?;
        let (path, zone) = (options.path.clone(), options.time_zone.clone());
        let mut file = Self { path, format, zone, columns, digest, rows, held: BTreeSet::new(), last_merge_id };
        if file.columns.is_export {
            let mut held = BTreeSet::new();
            file.read_records(|row| {
                if let FileRow::Held(kind, value) = row {
                    held.insert(Identifier::from_stored(kind, value));
                }
                true
            })?;
            file.held = held;
        }
        Ok(file)
    }

    /// Reads all contacts, in the order of the file, until `take` returns false.
    pub(super) fn read(&self, mut take: impl FnMut(OldContact) -> bool) -> Result<(), FileError> {
        self.read_records(|row| match row {
            FileRow::Contact(contact) => take(contact),
            FileRow::Held(..) => true,
        })
    }

    fn read_records(&self, mut take: impl FnMut(FileRow) -> bool) -> Result<(), FileError> {
        let mut records = Records::open(&self.path, self.format)?;
        let names = records.names().to_vec();
        let mut reader = RowReader::new(&self.columns, &names, self.zone.as_ref());
        while let Some(record) = records.next()? {
            if record.kind == RecordKind::Contact && !take(reader.row(&record)?) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the merges of the file, by id.
    pub(super) fn merges(&self) -> Result<impl Iterator<Item = Result<StoredMerge, FileError>> + use<>, FileError> {
        let mut records = Records::open(&self.path, self.format)?;
        let mut last = 0;
        let mut is_over = self.last_merge_id == 0;
        Ok(std::iter::from_fn(move || {
            while !is_over {
                match records.next() {
                    Ok(None) => is_over = true,
                    Err(error) => {
                        is_over = true;
                        return Some(Err(error));
                    }
                    Ok(Some(record)) if record.kind == RecordKind::Merge => {
                        let merge = merge(&record, last);
                        last = merge.as_ref().map_or(last, StoredMerge::id);
                        return Some(merge);
                    }
                    Ok(Some(_)) => {}
                }
            }
            None
        }))
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

/// The merge of a line of an export, whose id is above this one.
fn merge(record: &Record, after: i64) -> Result<StoredMerge, FileError> {
    let wrong = || FileError::Json(record.line);
    let object = record.object().ok_or_else(wrong)?;
    let id = |name: &str| object.get(name).and_then(Value::as_i64).ok_or_else(wrong);
    if id("id")? <= after {
        return Err(FileError::Order(record.line));
    }
    let at = created_at(object).ok_or_else(wrong)?;
    let cause = object.get("cause").ok_or_else(wrong)?;
    StoredMerge::from_export((id("id")?, id("survivorId")?, id("absorbedId")?), cause, at).ok_or_else(wrong)
}

fn created_at(object: &Map<String, Value>) -> Option<Timestamp> {
    match OldDate::from_text(object.get("createdAt")?.as_str()?, &OldTimeZone::utc()) {
        OldDate::At(at) => Some(at),
        OldDate::Absent | OldDate::Unreadable => None,
    }
}

/// The value of a contact, for a report.
pub(super) fn value_of(contact: OldContact, kind: IdentifierKind) -> Option<String> {
    match kind {
        IdentifierKind::Email => contact.email,
        IdentifierKind::Phone => contact.phone_number,
    }
}
