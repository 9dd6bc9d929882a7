//! The value of a field, from the text of a path or of a query parameter.

use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, Value};

/// The messages that JSON writes as one string or number.
const TEXT_MESSAGES: [&str; 12] = [
    "google.protobuf.BoolValue",
    "google.protobuf.BytesValue",
    "google.protobuf.DoubleValue",
    "google.protobuf.Duration",
    "google.protobuf.FieldMask",
    "google.protobuf.FloatValue",
    "google.protobuf.Int32Value",
    "google.protobuf.Int64Value",
    "google.protobuf.StringValue",
    "google.protobuf.Timestamp",
    "google.protobuf.UInt32Value",
    "google.protobuf.UInt64Value",
];

/// Whether a text can be a value of the field, or one of several values: not of a map, nor of most messages.
pub(super) fn takes_text(field: &FieldDescriptor) -> bool {
    let kind = field.kind();
    kind.as_message().is_none_or(|message| !field.is_map() && TEXT_MESSAGES.contains(&message.full_name()))
}

/// Returns a value of the field: the one that proto3 JSON has for this string, number or boolean. Of a repeated field
/// it is one of its values.
///
/// # Errors
/// What the text must be.
pub(super) fn parse(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    let expected = expected(field);
    let wrong = || format!("must be {expected}");
    let is_bare = match expected {
        BOOL => ["true", "false"].contains(&text),
        ENUM => text.parse::<i32>().is_ok(),
        _ => false,
    };
    if expected == BOOL && !is_bare {
        return Err(wrong());
    }
    let value = if is_bare { text.to_owned() } else { serde_json::Value::from(text).to_string() };
    let value = if field.is_list() { format!("[{value}]") } else { value };
    // JSON has rules for the values of fields, so the text becomes a message with this field alone.
    let json = format!("{{{}:{value}}}", serde_json::Value::from(field.json_name()));
    let mut json = serde_json::Deserializer::from_str(&json);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message = DynamicMessage::deserialize_with_options(field.parent_message().clone(), &mut json, &options);
    let mut message = message.map_err(|_| wrong())?;
    match message.take_field(field) {
        Some(Value::List(mut values)) => values.pop().ok_or_else(wrong),
        Some(value) => Ok(value),
        // The value of a field without presence is its default.
        None => Ok(Value::default_value(&field.kind())),
    }
}

const BOOL: &str = "true or false";
const ENUM: &str = "a name or number of its enum";

/// What a text for the field must be.
pub(super) fn expected(field: &FieldDescriptor) -> &'static str {
    match field.kind() {
        Kind::Double | Kind::Float => "a number",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "an integer of 32 bits",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "an integer of 64 bits",
        Kind::Uint32 | Kind::Fixed32 => "an integer of 32 bits without a sign",
        Kind::Uint64 | Kind::Fixed64 => "an integer of 64 bits without a sign",
        Kind::Bool => BOOL,
        Kind::String => "a text",
        Kind::Bytes => "bytes in base64",
        Kind::Enum(_) => ENUM,
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.BoolValue" => BOOL,
            "google.protobuf.BytesValue" => "bytes in base64",
            "google.protobuf.DoubleValue" | "google.protobuf.FloatValue" => "a number",
            "google.protobuf.Duration" => "a duration such as 1.5s",
            "google.protobuf.FieldMask" => "names of fields with commas between them",
            "google.protobuf.Int32Value" => "an integer of 32 bits",
            "google.protobuf.Int64Value" => "an integer of 64 bits",
            "google.protobuf.StringValue" => "a text",
            "google.protobuf.Timestamp" => "a time such as 2026-01-31T12:00:00Z",
            "google.protobuf.UInt32Value" => "an integer of 32 bits without a sign",
            "google.protobuf.UInt64Value" => "an integer of 64 bits without a sign",
            _ => "an object",
        },
    }
}
