//! The message in a JSON body.

use std::fmt;

use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};

use super::field_path::field;
use super::text_value;
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
    let json = parse(Known::Message(message), body)?;
    if !json.is_object() {
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
    let json = parse(Known::Field(field), body)?;
    decode(message, Value::Object(Map::from_iter([(field.json_name().to_owned(), json)])))
}

/// Parses JSON, without what its descriptor does not know.
fn parse(known: Known<'_>, body: &[u8]) -> Result<Value, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(without_mark(body));
    let value = known.deserialize(&mut json).map_err(|error| not_json(&error))?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn decode(message: &MessageDescriptor, json: Value) -> Result<DynamicMessage, ApiError> {
    let mut track = serde_path_to_error::Track::new();
    let json = serde_path_to_error::Deserializer::new(json, &mut track);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(message.clone(), json, &options)
        .map_err(|_: serde_json::Error| wrong_field(message, &track.path()))
}

/// The error for the value at a path. Only names of fields are repeated: the keys of maps are the caller's.
fn wrong_field(message: &MessageDescriptor, path: &Path) -> ApiError {
    let (mut message, mut name, mut problem) = (Some(message.clone()), String::new(), "is wrong".to_owned());
    for segment in path {
        match segment {
            Segment::Seq { index } => name += &format!("[{index}]"),
            Segment::Map { key } => {
                let Some(field) = message.as_ref().and_then(|message| field(message, key)) else { break };
                let dot = if name.is_empty() { "" } else { "." };
                name = format!("{name}{dot}{}", field.json_name());
                problem = problem_of(&field);
                message = field.kind().as_message().filter(|_| !field.is_map()).cloned();
            }
            Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    if name.is_empty() {
        return malformed("two fields of the body exclude each other");
    }
    ApiError::BadField { field: name, problem }
}

/// What is wrong with a value of the field.
fn problem_of(field: &FieldDescriptor) -> String {
    let expected = text_value::expected(field);
    if field.is_map() {
        "must be an object with values of the right type".to_owned()
    } else if field.is_list() {
        format!("must be a list, and each of its values {expected}")
    } else if expected == "an object" {
        "must be an object, with at most one field of each oneof".to_owned()
    } else {
        format!("must be {expected}")
    }
}

/// What is known of a value. Fields that are not known are left out, and no field may come twice.
#[derive(Clone, Copy)]
enum Known<'a> {
    /// A message.
    Message(&'a MessageDescriptor),
    /// The value of a field.
    Field(&'a FieldDescriptor),
    /// Nothing: all of it is kept.
    Nothing,
}

impl<'a> Known<'a> {
    /// What is known of a message of this type. Messages of `google.protobuf` have a JSON form of their own.
    fn of_kind(kind: &'a Kind) -> Self {
        let message = kind.as_message().filter(|message| message.package_name() != "google.protobuf");
        message.map_or(Self::Nothing, Self::Message)
    }
}

impl<'de> DeserializeSeed<'de> for Known<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Known<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let kind = match self {
            Self::Field(field) => Some(field.kind()),
            Self::Message(_) | Self::Nothing => None,
        };
        let known = kind.as_ref().map_or(Self::Nothing, Known::of_kind);
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(known)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let kind = match self {
            Self::Field(field) => Some(field.kind()),
            Self::Message(_) | Self::Nothing => None,
        };
        let known = match self {
            Self::Field(_) => kind.as_ref().map_or(Self::Nothing, Known::of_kind),
            Self::Message(_) | Self::Nothing => self,
        };
        let mut values = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let field = match known {
                Known::Message(message) if message.is_map_entry() => Some((key, Some(message.map_entry_value_field()))),
                Known::Message(message) => {
                    field(message, &key).map(|field| (field.json_name().to_owned(), Some(field)))
                }
                Known::Field(_) | Known::Nothing => Some((key, None)),
            };
            let Some((key, field)) = field else {
                entries.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = entries.next_value_seed(field.as_ref().map_or(Known::Nothing, Known::Field))?;
            if values.insert(key, value).is_some() {
                return Err(A::Error::custom("a field comes twice"));
            }
        }
        Ok(values.into())
    }
}
