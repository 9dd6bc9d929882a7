//! The records of a file: lines of CSV or of JSON, one after the other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use csv::{ByteRecord, StringRecord, Terminator};
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value};

use super::error::FileError;
use crate::export::FileFormat;

/// The longest line of JSON, and the longest record of CSV, in bytes.
const LONGEST_LINE: u64 = 1 << 20;

/// The version of the lines of `identity export` that are understood.
const VERSION: u64 = 1;

/// A record.
#[derive(Debug)]
pub(super) struct Record {
    /// The line on which it begins.
    pub(super) line: u64,
    pub(super) kind: RecordKind,
    values: Values,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    Contact,
    Merge,
    Evidence,
    /// Something that import does not need.
    Other,
}

#[derive(Debug)]
enum Values {
    Fields(StringRecord),
    Object(Map<String, Value>),
}

/// All records of a file, from the first.
pub(super) struct Records(Format);

enum Format {
    Csv {
        reader: CsvReader,
        names: Vec<String>,
        /// The line of the last record, if a line ends within its last field.
        last_of_several_lines: Option<u64>,
    },
    Ndjson(JsonLines),
}

/// The file, and the end of a line behind it: so each record ends with a line, unless a quote is open.
type CsvReader = csv::Reader<io::Chain<BufReader<Hashed>, &'static [u8]>>;

struct JsonLines {
    reader: BufReader<Hashed>,
    line: u64,
    /// Whether the file is of `identity export`: each line has a type. `None` before the first line.
    is_typed: Option<bool>,
    rows: u64,
    has_end: bool,
}

/// A file whose bytes are hashed as they are read.
struct Hashed {
    file: File,
    digest: Context,
    /// The last byte that ends no line.
    last: u8,
}

/// Returns the digest of a file, however it reads.
pub(super) fn digest_of(path: &Path) -> Result<String, FileError> {
    let mut hashed = Hashed::open(path)?;
    io::copy(&mut hashed, &mut io::sink())?;
    Ok(hashed.digest())
}

impl Hashed {
    /// Opens a file. It must be a regular one: it is read several times.
    fn open(path: &Path) -> Result<Self, FileError> {
        // Before it is opened: that waits for the writer of a pipe.
        if !path.metadata().map_err(FileError::Open)?.is_file() {
            return Err(FileError::NotRegular);
        }
        let file = File::open(path).map_err(FileError::Open)?;
        Ok(Self { file, digest: Context::new(&SHA256), last: 0 })
    }

    fn digest(self) -> String {
        self.digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.digest.update(&buffer[..count]);
        let last = buffer[..count].iter().rfind(|byte| !matches!(byte, b'\r' | b'\n'));
        self.last = last.copied().unwrap_or(self.last);
        Ok(count)
    }
}

impl Records {
    /// Opens a file, and reads the names of the columns of CSV.
    pub(super) fn open(path: &Path, format: FileFormat) -> Result<Self, FileError> {
        let mut reader = BufReader::with_capacity(1 << 16, Hashed::open(path)?);
        let begin = reader.fill_buf()?;
        if begin.is_empty() {
            return Err(FileError::Empty);
        }
        if begin.starts_with(&[0xff, 0xfe]) || begin.starts_with(&[0xfe, 0xff]) {
            return Err(FileError::NotUtf8(1)); // UTF-16
        }
        let mark = if begin.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
        let delimiter = delimiter(&begin[mark..]);
        reader.consume(mark);
        match format {
            FileFormat::Ndjson => {
                let lines = JsonLines { reader, line: 0, is_typed: None, rows: 0, has_end: false };
                Ok(Self(Format::Ndjson(lines)))
            }
            FileFormat::Csv => {
                // The end of a line is found here, so that the numbers of lines are right with CRLF too.
                let mut reader = csv::ReaderBuilder::new()
                    .has_headers(false)
                    .flexible(true)
                    .delimiter(delimiter)
                    .terminator(Terminator::Any(b'\n'))
                    .from_reader(reader.chain(&b"\n"[..]));
                let names = next_fields(&mut reader)?.ok_or(FileError::Empty)?.1;
                let names = names.iter().map(|name| name.trim().to_owned()).collect();
                Ok(Self(Format::Csv { reader, names, last_of_several_lines: None }))
            }
        }
    }

    /// Returns the next record; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record>, FileError> {
        match &mut self.0 {
            Format::Csv { reader, names, last_of_several_lines } => loop {
                let Some((line, fields)) = next_fields(reader)? else {
                    // A quote that nothing closes takes the rest of the file into its field.
                    let is_closed = reader.get_ref().get_ref().0.get_ref().last == b'"';
                    return match last_of_several_lines {
                        // It ends with the file, and not with a line.
                        Some(line) if !is_closed => Err(FileError::OpenQuote(*line + 1)),
                        _ => Ok(None),
                    };
                };
                if fields.as_slice().len() as u64 > LONGEST_LINE {
                    return Err(FileError::LongLine(line));
                }
                *last_of_several_lines = fields.iter().next_back().filter(|last| last.contains('\n')).map(|_| line);
                if fields.iter().all(str::is_empty) {
                    continue; // Spreadsheets write such lines behind the last row.
                }
                let (found, expected) = (fields.len() as u64, names.len() as u64);
                if found != expected {
                    return Err(FileError::Fields { line, found, expected });
                }
                return Ok(Some(Record { line, kind: RecordKind::Contact, values: Values::Fields(fields) }));
            },
            Format::Ndjson(lines) => lines.next(),
        }
    }

    /// Returns the names of the columns, which a record of CSV has.
    pub(super) fn names(&self) -> &[String] {
        match &self.0 {
            Format::Csv { names, .. } => names,
            Format::Ndjson(_) => &[],
        }
    }

    /// Returns the digest of the file, after its end was reached.
    pub(super) fn digest(self) -> String {
        let hashed = match self.0 {
            Format::Csv { reader, .. } => reader.into_inner().into_inner().0.into_inner(),
            Format::Ndjson(lines) => lines.reader.into_inner(),
        };
        hashed.digest()
    }
}

/// The character between the fields: the one of which the first line has most.
fn delimiter(begin: &[u8]) -> u8 {
    let line = begin.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |delimiter: &u8| line.iter().filter(|byte| *byte == delimiter).count();
    // Of equal counts the last one wins.
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// The next fields, and the line on which they begin.
fn next_fields(reader: &mut CsvReader) -> Result<Option<(u64, StringRecord)>, FileError> {
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record).map_err(io::Error::from)? {
        return Ok(None);
    }
    // The reader has the place before the blank lines that it skips. So the lines are counted from the end.
    let inner = record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
    let line = reader.position().line().saturating_sub(inner + 1);
    let mut fields = StringRecord::from_byte_record(record).map_err(|_| FileError::NotUtf8(line))?;
    if let Some(last) = fields.iter().next_back().and_then(|last| last.strip_suffix('\r')).map(str::to_owned) {
        let length = fields.len() - 1;
        let before: Vec<String> = fields.iter().take(length).map(str::to_owned).collect();
        fields = StringRecord::from(before);
        fields.push_field(&last);
    }
    Ok(Some((line, fields)))
}

impl JsonLines {
    fn next(&mut self) -> Result<Option<Record>, FileError> {
        loop {
            let mut bytes = Vec::new();
            let read = (&mut self.reader).take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                let is_cut = self.is_typed == Some(true) && !self.has_end;
                return if is_cut { Err(FileError::Cut) } else { Ok(None) };
            }
            self.line += 1;
            if read as u64 > LONGEST_LINE {
                return Err(FileError::LongLine(self.line));
            }
            let text = std::str::from_utf8(&bytes).map_err(|_| FileError::NotUtf8(self.line))?.trim();
            if text.is_empty() {
                continue;
            }
            let Ok(Value::Object(object)) = serde_json::from_str(text) else { return Err(FileError::Json(self.line)) };
            if let Some(kind) = self.kind(&object)? {
                return Ok(Some(Record { line: self.line, kind, values: Values::Object(object) }));
            }
        }
    }

    /// What a line is about; `None` for the first and the last line of an export.
    fn kind(&mut self, object: &Map<String, Value>) -> Result<Option<RecordKind>, FileError> {
        let kind = object.get("type").and_then(Value::as_str);
        let Some(is_typed) = self.is_typed else {
            self.is_typed = Some(kind == Some("export"));
            if kind != Some("export") {
                return Ok(Some(RecordKind::Contact));
            }
            if object.get("version").and_then(Value::as_u64) != Some(VERSION) {
                return Err(FileError::Version);
            }
            let has_contacts = |tables: &Vec<Value>| tables.iter().any(|table| table == "contacts");
            let is_whole = object.get("tables").and_then(Value::as_array).is_some_and(has_contacts);
            return if is_whole { Ok(None) } else { Err(FileError::NoContacts) };
        };
        if !is_typed {
            return Ok(Some(RecordKind::Contact));
        }
        if self.has_end {
            return Err(FileError::Cut);
        }
        if kind == Some("end") {
            self.has_end = object.get("rows").and_then(Value::as_u64) == Some(self.rows);
            return if self.has_end { Ok(None) } else { Err(FileError::Cut) };
        }
        self.rows += 1;
        match kind {
            Some("contact") => Ok(Some(RecordKind::Contact)),
            Some("merge") => Ok(Some(RecordKind::Merge)),
            Some("evidence") => Ok(Some(RecordKind::Evidence)),
            Some("identifier") => Ok(Some(RecordKind::Other)),
            _ => Err(FileError::Json(self.line)),
        }
    }
}

impl Record {
    /// Returns the names of its values, where each record has its own.
    pub(super) fn own_names(&self) -> impl Iterator<Item = &String> {
        let object = match &self.values {
            Values::Fields(_) => None,
            Values::Object(object) => Some(object),
        };
        object.into_iter().flat_map(Map::keys)
    }

    /// Returns a value as text. An empty one is absent.
    pub(super) fn text(&self, names: &[String], name: &str) -> Result<Option<String>, FileError> {
        let text = match &self.values {
            Values::Fields(fields) => {
                let index = names.iter().position(|one| one == name);
                index.and_then(|index| fields.get(index)).map(str::to_owned)
            }
            Values::Object(object) => match object.get(name) {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(text.clone()),
                Some(Value::Number(number)) => Some(number.to_string()),
                Some(Value::Bool(is_so)) => Some(is_so.to_string()),
                Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
                    Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
                }
                Some(Value::Array(_) | Value::Object(_)) => return Err(FileError::Json(self.line)),
            },
        };
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// Returns the object of a line of JSON.
    pub(super) fn object(&self) -> Option<&Map<String, Value>> {
        match &self.values {
            Values::Fields(_) => None,
            Values::Object(object) => Some(object),
        }
    }
}
