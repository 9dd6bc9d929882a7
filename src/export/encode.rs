//! Rows as CSV or as lines of JSON.

use std::io::Write;

use chrono::{DateTime, Datelike, SecondsFormat};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::error::ExportError;
use crate::domain::{CANONICAL_RULES_VERSION, IdentifierKind, Timestamp};
use crate::store::export::{ContactRecord, EvidenceRecord, ExportedTable, IdentifierRecord, MergeRecord};

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// Comma-separated values by RFC 4180: one table in a file
    Csv,
    /// One JSON object on each line: all tables in one file
    Ndjson,
}

/// The version of the format of the lines.
const VERSION: u32 = 1;

/// A line of JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Line<'a> {
    /// The first line.
    Export {
        version: u32,
        rules: u32,
        tables: Vec<&'static str>,
    },
    Contact {
        id: i64,
        email: Option<&'a str>,
        phone_number: Option<&'a str>,
        linked_id: Option<i64>,
        link_precedence: &'a str,
        created_at: String,
        updated_at: String,
        deleted_at: Option<String>,
        ignored: Vec<&'static str>,
        holder: bool,
    },
    Identifier {
        kind: &'a str,
        value: &'a str,
        contact_id: i64,
        ignored: bool,
    },
    Merge {
        id: i64,
        survivor_id: i64,
        absorbed_id: i64,
        cause: Value,
        created_at: String,
    },
    Evidence {
        id: i64,
        contact_id: i64,
        origin: &'a str,
        identifiers: Value,
        created_at: String,
    },
    /// The last line: without it, the file was cut.
    End {
        rows: u64,
    },
}

/// The columns of the CSV file of a table.
fn columns(table: ExportedTable) -> &'static [&'static str] {
    match table {
        ExportedTable::Contacts => &[
            "id",
            "email",
            "phoneNumber",
            "linkedId",
            "linkPrecedence",
            "createdAt",
            "updatedAt",
            "deletedAt",
            "ignored",
            "holder",
        ],
        ExportedTable::Identifiers => &["kind", "value", "contactId", "ignored"],
        ExportedTable::Merges => &["id", "survivorId", "absorbedId", "cause", "createdAt"],
        ExportedTable::Evidence => &["id", "contactId", "origin", "identifiers", "createdAt"],
    }
}

/// A row that can be written.
pub(super) trait Record {
    /// Writes its values in the order of the columns.
    fn write_csv(&self, csv: &mut csv::Writer<Vec<u8>>) -> Result<(), ExportError>;

    /// Writes its line.
    fn write_line(&self, out: &mut Vec<u8>) -> Result<(), ExportError>;

    /// What [`TableState::newest`](crate::store::export::TableState::newest) is about.
    fn newest(&self) -> i64;
}

/// Returns the bytes of some rows.
pub(super) fn encode<R: Record>(format: FileFormat, rows: &[R]) -> Result<Vec<u8>, ExportError> {
    match format {
        FileFormat::Csv => {
            let mut csv = csv_writer();
            rows.iter().try_for_each(|row| row.write_csv(&mut csv))?;
            Ok(csv.into_inner().map_err(|error| error.into_error())?)
        }
        FileFormat::Ndjson => {
            let mut out = Vec::new();
            rows.iter().try_for_each(|row| row.write_line(&mut out))?;
            Ok(out)
        }
    }
}

/// Returns what stands before all rows of a file that begins with this table.
pub(super) fn head(format: FileFormat, tables: &[ExportedTable]) -> Result<Vec<u8>, ExportError> {
    let mut out = Vec::new();
    match format {
        FileFormat::Csv => {}
        FileFormat::Ndjson => {
            let tables = tables.iter().map(|table| table.name()).collect();
            write_line(&mut out, &Line::Export { version: VERSION, rules: CANONICAL_RULES_VERSION, tables })?;
        }
    }
    Ok(out)
}

/// Returns what stands before the rows of a table.
pub(super) fn table_head(format: FileFormat, table: ExportedTable) -> Result<Vec<u8>, ExportError> {
    match format {
        FileFormat::Csv => {
            let mut csv = csv_writer();
            record(&mut csv, columns(table).iter().copied())?;
            Ok(csv.into_inner().map_err(|error| error.into_error())?)
        }
        FileFormat::Ndjson => Ok(Vec::new()),
    }
}

/// Returns what stands behind all rows.
pub(super) fn foot(format: FileFormat, rows: u64) -> Result<Vec<u8>, ExportError> {
    let mut out = Vec::new();
    match format {
        FileFormat::Csv => {}
        FileFormat::Ndjson => write_line(&mut out, &Line::End { rows })?,
    }
    Ok(out)
}

fn csv_writer() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new())
}

fn record<'a>(csv: &mut csv::Writer<Vec<u8>>, fields: impl IntoIterator<Item = &'a str>) -> Result<(), ExportError> {
    csv.write_record(fields).map_err(|error| ExportError::Output(error.into()))
}

fn write_line(out: &mut Vec<u8>, line: &Line<'_>) -> Result<(), ExportError> {
    serde_json::to_writer(&mut *out, line).map_err(|error| ExportError::Output(error.into()))?;
    Ok(out.write_all(b"\n")?)
}

/// A moment by RFC 3339, in UTC, with microseconds. RFC 3339 has years of four digits.
fn date(at: Timestamp) -> Result<String, ExportError> {
    let moment = DateTime::from_timestamp_micros(at.0).filter(|moment| (0..=9_999).contains(&moment.year()));
    Ok(moment.ok_or(ExportError::Date)?.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn names(kinds: &[IdentifierKind]) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.name()).collect()
}

fn yes_or_no(is_so: bool) -> &'static str {
    if is_so { "true" } else { "false" }
}

impl Record for ContactRecord {
    fn write_csv(&self, csv: &mut csv::Writer<Vec<u8>>) -> Result<(), ExportError> {
        let (id, linked_id) = (self.id.to_string(), self.linked_id.map(|id| id.to_string()));
        let [created_at, updated_at] = [date(self.created_at)?, date(self.updated_at)?];
        let deleted_at = self.deleted_at.map(date).transpose()?;
        let ignored = names(&self.ignored).join(" ");
        let fields = [
            &*id,
            self.email.as_deref().unwrap_or_default(),
            self.phone_number.as_deref().unwrap_or_default(),
            linked_id.as_deref().unwrap_or_default(),
            &self.link_precedence,
            &created_at,
            &updated_at,
            deleted_at.as_deref().unwrap_or_default(),
            &ignored,
            yes_or_no(self.is_holder),
        ];
        record(csv, fields)
    }

    fn write_line(&self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let line = Line::Contact {
            id: self.id,
            email: self.email.as_deref(),
            phone_number: self.phone_number.as_deref(),
            linked_id: self.linked_id,
            link_precedence: &self.link_precedence,
            created_at: date(self.created_at)?,
            updated_at: date(self.updated_at)?,
            deleted_at: self.deleted_at.map(date).transpose()?,
            ignored: names(&self.ignored),
            holder: self.is_holder,
        };
        write_line(out, &line)
    }

    fn newest(&self) -> i64 {
        self.updated_at.0
    }
}

fn text(record: &IdentifierRecord) -> Result<&str, ExportError> {
    std::str::from_utf8(&record.value).map_err(|_| ExportError::NotUtf8(record.contact_id))
}

impl Record for IdentifierRecord {
    fn write_csv(&self, csv: &mut csv::Writer<Vec<u8>>) -> Result<(), ExportError> {
        record(csv, [&*self.kind, text(self)?, &self.contact_id.to_string(), yes_or_no(self.is_ignored)])
    }

    fn write_line(&self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let (contact_id, ignored) = (self.contact_id, self.is_ignored);
        write_line(out, &Line::Identifier { kind: &self.kind, value: text(self)?, contact_id, ignored })
    }

    fn newest(&self) -> i64 {
        self.contact_id
    }
}

/// A cause as each database would spell it: MySQL and PostgreSQL put spaces into JSON.
fn cause(record: &MergeRecord) -> Result<Value, ExportError> {
    serde_json::from_str(&record.cause).map_err(|_| ExportError::Cause(record.id))
}

/// The identifiers of a set, spelled alike for every database.
fn identifiers(record: &EvidenceRecord) -> Result<Value, ExportError> {
    serde_json::from_str(&record.identifiers).map_err(|_| ExportError::Evidence(record.id))
}

impl Record for MergeRecord {
    fn write_csv(&self, csv: &mut csv::Writer<Vec<u8>>) -> Result<(), ExportError> {
        let [id, survivor, absorbed] = [self.id, self.survivor_id, self.absorbed_id].map(|id| id.to_string());
        record(csv, [&*id, &survivor, &absorbed, &cause(self)?.to_string(), &date(self.created_at)?])
    }

    fn write_line(&self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let (id, survivor_id, absorbed_id) = (self.id, self.survivor_id, self.absorbed_id);
        let (cause, created_at) = (cause(self)?, date(self.created_at)?);
        write_line(out, &Line::Merge { id, survivor_id, absorbed_id, cause, created_at })
    }

    fn newest(&self) -> i64 {
        self.created_at.0
    }
}

impl Record for EvidenceRecord {
    fn write_csv(&self, csv: &mut csv::Writer<Vec<u8>>) -> Result<(), ExportError> {
        let [id, contact] = [self.id, self.contact_id].map(|id| id.to_string());
        record(csv, [&*id, &contact, &self.origin, &identifiers(self)?.to_string(), &date(self.created_at)?])
    }

    fn write_line(&self, out: &mut Vec<u8>) -> Result<(), ExportError> {
        let (id, contact_id, origin) = (self.id, self.contact_id, &*self.origin);
        let (identifiers, created_at) = (identifiers(self)?, date(self.created_at)?);
        write_line(out, &Line::Evidence { id, contact_id, origin, identifiers, created_at })
    }

    fn newest(&self) -> i64 {
        self.created_at.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact() -> ContactRecord {
        ContactRecord {
            id: 7,
            email: Some("\"a, b\"@example.com".to_owned()),
            phone_number: None,
            linked_id: Some(3),
            link_precedence: "secondary".to_owned(),
            created_at: Timestamp(1_700_000_000_000_001),
            updated_at: Timestamp(1_700_000_000_000_000),
            deleted_at: None,
            ignored: vec![IdentifierKind::Email, IdentifierKind::Phone],
            is_holder: false,
        }
    }

    fn written<R: Record>(format: FileFormat, row: R) -> String {
        String::from_utf8(encode(format, &[row]).unwrap()).unwrap()
    }

    #[test]
    fn values_are_quoted_and_kept() {
        let line = "7,\"\"\"a, b\"\"@example.com\",,3,secondary,2023-11-14T22:13:20.000001Z,\
                    2023-11-14T22:13:20.000000Z,,email phone,false\r\n";
        assert_eq!(written(FileFormat::Csv, contact()), line);
        let line = r#"{"type":"contact","id":7,"email":"\"a, b\"@example.com","phoneNumber":null,"linkedId":3,"#
            .to_owned()
            + r#""linkPrecedence":"secondary","createdAt":"2023-11-14T22:13:20.000001Z","#
            + r#""updatedAt":"2023-11-14T22:13:20.000000Z","deletedAt":null,"#
            + r#""ignored":["email","phone"],"holder":false}"#
            + "\n";
        assert_eq!(written(FileFormat::Ndjson, contact()), line);
        let read = csv::Reader::from_reader(written(FileFormat::Csv, contact()).as_bytes()).headers().unwrap().clone();
        assert_eq!(&read[1], "\"a, b\"@example.com");
    }

    #[test]
    fn a_cause_is_spelled_in_one_way() {
        let merge = |cause: &str| MergeRecord {
            id: 1,
            survivor_id: 2,
            absorbed_id: 3,
            cause: cause.to_owned(),
            created_at: Timestamp(0),
        };
        let line = "1,2,3,\"[{\"\"kind\"\":\"\"phone\"\",\"\"value\"\":\"\"1\"\"}]\",1970-01-01T00:00:00.000000Z\r\n";
        for cause in [r#"[{"kind": "phone", "value": "1"}]"#, r#"[{"value":"1","kind":"phone"}]"#] {
            assert_eq!(written(FileFormat::Csv, merge(cause)), line);
        }
        assert!(matches!(encode(FileFormat::Ndjson, &[merge("[")]), Err(ExportError::Cause(1))));
    }

    #[test]
    fn a_set_is_a_line_or_a_row() {
        let set = |identifiers: &str| EvidenceRecord {
            id: 4,
            contact_id: 2,
            origin: "match".to_owned(),
            identifiers: identifiers.to_owned(),
            created_at: Timestamp(1),
        };
        let stored = r#"[{"kind": "email", "value": "a@b.de"}, {"kind": "phone", "value": "1"}]"#;
        let line = r#"{"type":"evidence","id":4,"contactId":2,"origin":"match","identifiers":"#.to_owned()
            + r#"[{"kind":"email","value":"a@b.de"},{"kind":"phone","value":"1"}],"#
            + r#""createdAt":"1970-01-01T00:00:00.000001Z"}"#
            + "\n";
        assert_eq!(written(FileFormat::Ndjson, set(stored)), line);
        let row = written(FileFormat::Csv, set(stored));
        let row = csv::ReaderBuilder::new().has_headers(false).from_reader(row.as_bytes()).records().next();
        let row = row.unwrap().unwrap();
        let identifiers = r#"[{"kind":"email","value":"a@b.de"},{"kind":"phone","value":"1"}]"#;
        assert_eq!(row.iter().collect::<Vec<_>>(), ["4", "2", "match", identifiers, "1970-01-01T00:00:00.000001Z"]);
        assert!(matches!(encode(FileFormat::Ndjson, &[set("{")]), Err(ExportError::Evidence(4))));
    }

    #[test]
    fn a_value_that_is_no_text_is_an_error() {
        let identifier = |value: &[u8]| IdentifierRecord {
            kind: "email".to_owned(),
            value: value.to_vec(),
            contact_id: 5,
            is_ignored: true,
        };
        let line =
            "{\"type\":\"identifier\",\"kind\":\"email\",\"value\":\"a@b.de\",\"contactId\":5,\"ignored\":true}\n";
        assert_eq!(written(FileFormat::Ndjson, identifier(b"a@b.de")), line);
        for format in [FileFormat::Csv, FileFormat::Ndjson] {
            let error = encode(format, &[identifier(b"\xff@b.de")]).unwrap_err();
            assert_eq!(error.to_string(), "an identifier of contact 5 is not UTF-8: see `identity verify`");
        }
    }
}
