//! The message in a JSON body.

use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde::de::DeserializeSeed;
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment, Track};

use super::field_path::field;
use super::known_fields::{Known, NOT_IN_RANGE};
use super::value_rules::{expected_of, has_own_form};
use crate::transport::errors::ApiError;
use crate::transport::http::request::{malformed, not_json, without_mark};

/// Reads a body that is a message. An empty body is an empty message.
///
/// Unknown fields are ignored, as by the handlers of `Identify`, but unknown values of enums are errors.
///
/// # Errors
/// [`ApiError::Malformed`] or [`ApiError::BadField`]. They never quote the body.
pub(super) fn read(message: &MessageDescriptor, body: &[u8]) -> Result<DynamicMessage, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(DynamicMessage::new(message.clone()));
    }
    let kind = Kind::Message(message.clone());
    let json = parse(Known::One(&kind), body, |path| wrong_field(Name::of_message(message), path))?;
    if !json.is_object() && !has_own_form(message) {
        return Err(malformed("the body is not a JSON object"));
    }
    decode(message, json)
}

/// Reads a body that is a field of a message, and returns the message with this field alone.
///
/// # Errors
/// As [`read`].
pub(super) fn read_field(field: &FieldDescriptor, body: &[u8]) -> Result<DynamicMessage, ApiError> {
    let message = field.parent_message();
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(DynamicMessage::new(message.clone()));
    }
    let json = parse(Known::Field(field), body, |path| wrong_field(Name::of_field(field), path))?;
    decode(message, Value::Object(Map::from_iter([(field.json_name().to_owned(), json)])))
}

/// Parses JSON, without what its descriptor does not know. `wrong` is the error for a value that its field cannot have.
fn parse(known: Known<'_>, body: &[u8], wrong: impl FnOnce(&Path) -> ApiError) -> Result<Value, ApiError> {
    let (mut json, mut track) = (serde_json::Deserializer::from_slice(without_mark(body)), Track::new());
    let value = known.deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    let value = value.map_err(|error| {
        let is_value = error.to_string().starts_with(NOT_IN_RANGE);
        if is_value { wrong(&track.path()) } else { not_json(&error) }
    })?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn decode(message: &MessageDescriptor, json: Value) -> Result<DynamicMessage, ApiError> {
    let mut track = Track::new();
    let json = serde_path_to_error::Deserializer::new(json, &mut track);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(message.clone(), json, &options)
        .map_err(|_: serde_json::Error| wrong_field(Name::of_message(message), &track.path()))
}

/// The known part of the name of a value.
struct Name {
    text: String,
    problem: String,
    /// The message at this place.
    message: Option<MessageDescriptor>,
}

impl Name {
    /// The name of a body that is a message.
    fn of_message(message: &MessageDescriptor) -> Self {
        let problem = if has_own_form(message) {
            format!("the body must be {}", expected_of(&Kind::Message(message.clone())))
        } else {
            "two fields of the body exclude each other".to_owned()
        };
        Self { text: String::new(), problem, message: Some(message.clone()) }
    }

    /// The name of a field of the request.
    fn of_field(field: &FieldDescriptor) -> Self {
        let message = field.kind().as_message().filter(|message| !field.is_map() && !has_own_form(message)).cloned();
        Self { text: field.json_name().to_owned(), problem: problem_of(field), message }
    }
}

/// The error for the value at a path. Only names of fields are repeated: the keys of maps are the caller's.
fn wrong_field(mut name: Name, path: &Path) -> ApiError {
    for segment in path {
        match segment {
            Segment::Seq { index } => name.text += &format!("[{index}]"),
            Segment::Map { key } => {
                let Some(field) = name.message.as_ref().and_then(|message| field(message, key)) else { break };
                let dot = if name.text.is_empty() { "" } else { "." };
                let inner = Name::of_field(&field);
                name = Name { text: format!("{}{dot}{}", name.text, inner.text), ..inner };
            }
            Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    if name.text.is_empty() {
        return ApiError::Malformed(name.problem);
    }
    ApiError::BadField { field: name.text, problem: name.problem }
}

/// What is wrong with a value of the field.
fn problem_of(field: &FieldDescriptor) -> String {
    let expected = expected_of(&field.kind());
    if field.is_map() {
        "must be an object with values of the right type".to_owned()
    } else if field.is_list() {
        format!("must be a list, and each of its values {expected}")
    } else if field.kind().as_message().is_some_and(|message| !has_own_form(message)) {
        "must be an object, with at most one field of each oneof".to_owned()
    } else {
        format!("must be {expected}")
    }
}
