//! The values in the JSON of a request.

use std::borrow::Cow;

use chrono::DateTime;
use serde_json::value::RawValue;

use crate::domain::Timestamp;
use crate::transport::note::NoteProblem;
use crate::transport::parse::Problem;

/// Parses a JSON string.
pub(super) fn text(json: &str) -> Result<Cow<'_, str>, Problem> {
    let Some(inner) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(Problem::NotText);
    };
    if inner.contains('\\') {
        serde_json::from_str(json).map(Cow::Owned).map_err(|_| Problem::NotText)
    } else {
        Ok(Cow::Borrowed(inner))
    }
}

/// Parses a JSON string, or a JSON number of digits alone.
///
/// The number 0 means "not given": programs send it for a number that they do not have. As a phone number, it would
/// join all customers whose number is missing.
pub(super) fn text_or_digits(json: &str) -> Result<Option<Cow<'_, str>>, Problem> {
    if json.starts_with('"') {
        text(json).map(Some)
    } else if json == "0" {
        Ok(None)
    } else if json.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(Some(Cow::Borrowed(json)))
    } else {
        Err(Problem::NotTextOrInteger)
    }
}

/// Returns the value of a field of a note that has two names.
pub(super) fn once<'a>(
    one: Option<&'a RawValue>,
    other: Option<&'a RawValue>,
) -> Result<Option<&'a RawValue>, NoteProblem> {
    if one.is_some() && other.is_some() { Err(NoteProblem::GivenTwice) } else { Ok(one.or(other)) }
}

/// Parses a text of a note.
pub(super) fn note_text(given: Option<&RawValue>) -> Result<Option<Cow<'_, str>>, NoteProblem> {
    given.map(|json| text(json.get()).map_err(|_| NoteProblem::NotText)).transpose()
}

/// Parses a moment, as proto3 JSON has it.
pub(super) fn moment(json: &str) -> Result<Timestamp, NoteProblem> {
    let text = text(json).map_err(|_| NoteProblem::NotMoment)?;
    let moment = DateTime::parse_from_rfc3339(&text).map_err(|_| NoteProblem::NotMoment)?;
    let nanos = i32::try_from(moment.timestamp_subsec_nanos()).map_err(|_| NoteProblem::NotMoment)?;
    Ok(Timestamp::from_seconds(moment.timestamp(), nanos)?)
}

/// Parses a JSON boolean.
pub(super) fn boolean(json: &str) -> Result<bool, &'static str> {
    match json {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false"),
    }
}
