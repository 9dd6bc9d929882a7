//! The value of a field, from the text of a path or of a query parameter.

use prost_reflect::{DeserializeOptions, DynamicMessage, FieldDescriptor, Value};

use super::value_rules::{BOOL, ENUM, expected_of, has_text_form, takes_integer, takes_text_for_number};

/// Whether a text can be a value of the field, or one of several values: not of a map, nor of most messages.
pub(super) fn takes_text(field: &FieldDescriptor) -> bool {
    let kind = field.kind();
    kind.as_message().is_none_or(|message| !field.is_map() && has_text_form(message))
}

/// Returns a value of the field: the one that proto3 JSON has for this string, number or boolean. Of a repeated field
/// it is one of its values.
///
/// # Errors
/// What the text must be.
pub(super) fn parse(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    let kind = field.kind();
    let expected = expected_of(&kind);
    let wrong = || format!("must be {expected}");
    let number = text.parse::<i32>().ok();
    let is_bare = match expected {
        BOOL => ["true", "false"].contains(&text),
        ENUM => number.is_some(),
        _ => false,
    };
    let is_known = number.filter(|_| is_bare).is_none_or(|number| takes_integer(&kind, number.into()));
    if expected == BOOL && !is_bare || !is_known || !takes_text_for_number(&kind, text) {
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
        None => Ok(Value::default_value(&kind)),
    }
}
