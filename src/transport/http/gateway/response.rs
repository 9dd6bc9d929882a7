//! The JSON of a response.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage, SerializeOptions};
use serde_json::value::RawValue;

/// Fields at their default are written, because readers of JSON expect every field. Messages that are not set are not
/// written, nor `optional` fields that are not. Integers of 64 bits are strings.
const OPTIONS: SerializeOptions = SerializeOptions::new().skip_default_fields(false);

/// Writes a message in proto3 JSON, or one field of it.
///
/// # Errors
/// If proto3 JSON cannot express the message, such as a time out of its range.
pub(super) fn message_to_json(
    message: &DynamicMessage,
    field: Option<&FieldDescriptor>,
) -> serde_json::Result<Vec<u8>> {
    let Some(field) = field else { return write(message) };
    let value = message.get_field(field);
    if let Some(message) = value.as_message().filter(|_| message.has_field(field)) {
        return write(message);
    }
    let mut alone = DynamicMessage::new(message.descriptor());
    if message.has_field(field) {
        alone.set_field(field, value.into_owned());
    }
    let json = write(&alone)?;
    let fields: HashMap<&str, &RawValue> = serde_json::from_slice(&json)?;
    Ok(fields.get(field.json_name()).map_or("null", |value| value.get()).into())
}

fn write(message: &DynamicMessage) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::Serializer::new(Vec::with_capacity(256));
    message.serialize_with_options(&mut json, &OPTIONS)?;
    Ok(json.into_inner())
}
