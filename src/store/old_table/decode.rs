//! From rows of each driver to [`OldRow`].

use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, MySql, Row, Sqlite, TypeInfo, ValueRef};

use super::column_type::DateForm;
use super::date_text::OldDate;
use super::mapping::Mapping;
use super::names::Field;
use super::row::{OldPrecedence, OldRow, Unreadable};
use super::time_zone::{OldTimeZone, storable};

/// A value of a row, borrowed from the driver.
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    /// A text, also one that is not UTF-8.
    Bytes(&'a [u8]),
    /// PostgreSQL's date: microseconds since the beginning of 2000, or an infinity.
    Micros2000(i64),
}

/// Why a row cannot be read.
pub(super) enum DecodeError {
    /// Its id, unless it is no number.
    BadId(Option<i64>),
    /// The `deletedAt` of the row with this id is no date.
    BadDeletion(i64),
    Driver(sqlx::Error),
}

impl From<sqlx::Error> for DecodeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

/// The beginning of 2000, in microseconds since the Unix epoch.
const YEAR_2000: i64 = 946_684_800_000_000;

/// A row of a driver, with the columns of [`Field::ALL`].
pub(super) trait DriverRow {
    /// The value of a column, which has this form if it is a date.
    fn value(&self, index: usize, field: Field, form: Option<DateForm>) -> Result<Value<'_>, sqlx::Error>;
}

impl DriverRow for PgRow {
    fn value(&self, index: usize, field: Field, form: Option<DateForm>) -> Result<Value<'_>, sqlx::Error> {
        let raw = self.try_get_raw(index)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let bytes = raw.as_bytes().map_err(sqlx::Error::Decode)?;
        let integer = || {
            let bytes = <[u8; 8]>::try_from(bytes).map_err(|error| sqlx::Error::Decode(error.into()))?;
            Ok::<_, sqlx::Error>(i64::from_be_bytes(bytes))
        };
        match (field, form) {
            (Field::Id | Field::LinkedId, _) | (_, Some(DateForm::Number)) => integer().map(Value::Integer),
            (_, Some(DateForm::Moment | DateForm::Clock | DateForm::Day)) => integer().map(Value::Micros2000),
            (_, Some(DateForm::Text | DateForm::Any) | None) => Ok(Value::Bytes(bytes)),
        }
    }
}

impl DriverRow for MySqlRow {
    fn value(&self, index: usize, field: Field, _: Option<DateForm>) -> Result<Value<'_>, sqlx::Error> {
        let raw = self.try_get_raw(index)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        if field == Field::Id {
            <i64 as Decode<MySql>>::decode(raw).map(Value::Integer).map_err(sqlx::Error::Decode)
        } else {
            <&[u8] as Decode<MySql>>::decode(raw).map(Value::Bytes).map_err(sqlx::Error::Decode)
        }
    }
}

/// SQLite's columns hold what they are given, whatever their type.
impl DriverRow for SqliteRow {
    fn value(&self, index: usize, _: Field, _: Option<DateForm>) -> Result<Value<'_>, sqlx::Error> {
        let raw = self.try_get_raw(index)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let (is_integer, is_real) = {
            let info = raw.type_info();
            (info.name() == "INTEGER", info.name() == "REAL")
        };
        match (is_integer, is_real) {
            (true, _) => <i64 as Decode<Sqlite>>::decode(raw).map(Value::Integer),
            (_, true) => <f64 as Decode<Sqlite>>::decode(raw).map(Value::Real),
            _ => <&[u8] as Decode<Sqlite>>::decode(raw).map(Value::Bytes),
        }
        .map_err(sqlx::Error::Decode)
    }
}

impl Value<'_> {
    /// A text. `Err` if it is not UTF-8.
    fn text(&self) -> Result<Option<String>, ()> {
        match self {
            Value::Null => Ok(None),
            Value::Integer(number) | Value::Micros2000(number) => Ok(Some(number.to_string())),
            // As SQLite itself prints it.
            Value::Real(number) => Ok(Some(format!("{number:?}"))),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).map(|text| Some(text.to_owned())).map_err(drop),
        }
    }

    /// A whole number, also as text or as a number with a fraction of zero. `Err` if it is something else.
    fn integer(&self) -> Result<Option<i64>, ()> {
        match self {
            Value::Null => Ok(None),
            Value::Integer(number) => Ok(Some(*number)),
            Value::Bytes(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(drop)?.trim();
                if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(drop) }
            }
            // Up to 2^53 each whole number has a value of its own.
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and at most 2^53")]
            Value::Real(number) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => {
                Ok(Some(*number as i64))
            }
            Value::Real(_) | Value::Micros2000(_) => Err(()),
        }
    }

    fn date(&self, form: Option<DateForm>, zone: &OldTimeZone) -> OldDate {
        match self {
            Value::Null => OldDate::Absent,
            Value::Integer(number) => OldDate::from_number(*number),
            Value::Real(number) => OldDate::from_real(*number),
            Value::Micros2000(micros) => {
                let is_finite = ![i64::MIN, i64::MAX].contains(micros);
                let micros = micros.checked_add(YEAR_2000).filter(|_| is_finite);
                let moment = micros.and_then(|micros| {
                    if form == Some(DateForm::Moment) { storable(micros) } else { zone.moment_of_clock(micros) }
                });
                OldDate::from_moment(moment)
            }
            Value::Bytes(bytes) => {
                let Ok(text) = std::str::from_utf8(bytes) else { return OldDate::Unreadable };
                OldDate::from_text(text, zone)
            }
        }
    }
}

/// How to read the rows of a table.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    /// How each field holds dates, if it does.
    forms: [Option<DateForm>; 8],
    /// The zones of their texts and clocks. MySQL sends a `TIMESTAMP` as a text in UTC.
    zones: [OldTimeZone; 8],
}

impl Decoder {
    pub(super) fn new(mapping: &Mapping) -> Self {
        let forms = Field::ALL.map(|field| mapping.columns.get(&field).and_then(|column| column.date_form));
        let zones = forms.map(|form| match form {
            Some(DateForm::Moment | DateForm::Number) | None => OldTimeZone::utc(),
            Some(DateForm::Clock | DateForm::Day | DateForm::Text | DateForm::Any) => mapping.zone.zone.clone(),
        });
        Self { forms, zones }
    }

    pub(super) fn row(&self, row: &impl DriverRow) -> Result<OldRow, DecodeError> {
        let mut unreadable = Unreadable::default();
        let value = |field: Field| row.value(field as usize, field, self.forms[field as usize]);
        let text = |field: Field, is_unreadable: &mut bool| {
            Ok::<_, sqlx::Error>(value(field)?.text().unwrap_or_else(|()| {
                *is_unreadable = true;
                None
            }))
        };
        let date = |field: Field, is_unreadable: &mut bool| {
            let index = field as usize;
            Ok::<_, sqlx::Error>(match value(field)?.date(self.forms[index], &self.zones[index]) {
                OldDate::Absent => None,
                OldDate::At(moment) => Some(moment),
                OldDate::Unreadable => {
                    *is_unreadable = true;
                    None
                }
            })
        };
        // A text would stand behind all numbers in the order of SQLite, and be returned again by each page.
        let id = if let Value::Integer(id) = value(Field::Id)? { Some(id) } else { None };
        let id = id.filter(|id| *id > 0).ok_or(DecodeError::BadId(id))?;
        let linked_id = value(Field::LinkedId)?.integer().unwrap_or_else(|()| {
            unreadable.linked_id = true;
            None
        });
        let mut is_bad_deletion = false;
        let deleted_at = date(Field::DeletedAt, &mut is_bad_deletion)?;
        if is_bad_deletion {
            return Err(DecodeError::BadDeletion(id));
        }
        let precedence = value(Field::LinkPrecedence)?.text().unwrap_or_default();
        Ok(OldRow {
            id,
            email: text(Field::Email, &mut unreadable.email)?,
            phone_number: text(Field::PhoneNumber, &mut unreadable.phone_number)?,
            linked_id,
            precedence: OldPrecedence::from_text(precedence.as_deref()),
            created_at: date(Field::CreatedAt, &mut unreadable.created_at)?,
            updated_at: date(Field::UpdatedAt, &mut unreadable.updated_at)?,
            deleted_at,
            unreadable,
        })
    }
}
