//! What values of a type can be in proto3 JSON, where prost-reflect takes more.
//!
//! It takes some numbers that are out of range, and changes them. It takes numbers that an enum does not have, and
//! names of numbers that are not those of proto3 JSON.

use prost_reflect::{Kind, MessageDescriptor};

pub(super) const BOOL: &str = "true or false";
pub(super) const ENUM: &str = "a name or number of its enum";

/// The messages that JSON writes as one string, number or boolean.
const TEXT_FORM: [&str; 12] = [
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

/// The other messages whose JSON is not an object with their fields. That of an empty message is.
const OTHER_FORM: [&str; 4] =
    ["google.protobuf.Any", "google.protobuf.ListValue", "google.protobuf.Struct", "google.protobuf.Value"];

/// Whether JSON writes a message as one string, number or boolean.
pub(super) fn has_text_form(message: &MessageDescriptor) -> bool {
    TEXT_FORM.contains(&message.full_name())
}

/// Whether the JSON of a message has a form of its own.
pub(super) fn has_own_form(message: &MessageDescriptor) -> bool {
    has_text_form(message) || OTHER_FORM.contains(&message.full_name())
}

/// What a value of this type must be.
pub(super) fn expected_of(kind: &Kind) -> &'static str {
    match kind {
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
            "google.protobuf.BytesValue" => "bytes in base64",
            "google.protobuf.Duration" => "a duration such as 1.5s",
            "google.protobuf.FieldMask" => "names of fields with commas between them",
            "google.protobuf.ListValue" => "a list",
            "google.protobuf.StringValue" => "a text",
            "google.protobuf.Timestamp" => "a time such as 2026-01-31T12:00:00Z",
            "google.protobuf.Value" => "JSON",
            _ => wrapped(message).map_or("an object", |kind| expected_of(&kind)),
        },
    }
}

/// Whether a value of this type can be an integer without a fraction or an exponent. prost-reflect knows the ranges.
pub(super) fn takes_integer(kind: &Kind, number: i128) -> bool {
    let Kind::Enum(values) = kind else { return true };
    i32::try_from(number).is_ok_and(|number| values.get_value(number).is_some())
}

/// Whether a value of this type can be a number with a fraction or an exponent, or an integer of more than 64 bits.
pub(super) fn takes_number(kind: &Kind, number: f64) -> bool {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    match number_kind(kind) {
        Some(Kind::Int64 | Kind::Sint64 | Kind::Sfixed64) => (-TWO_TO_63..TWO_TO_63).contains(&number),
        Some(Kind::Uint64 | Kind::Fixed64) => (0.0..2.0 * TWO_TO_63).contains(&number),
        _ => true,
    }
}

/// Whether a value of this type can be this text, if it is a number: others are not checked here.
pub(super) fn takes_text_for_number(kind: &Kind, text: &str) -> bool {
    let is_name = || ["NaN", "Infinity", "-Infinity"].contains(&text);
    match number_kind(kind) {
        Some(Kind::Double) => is_name() || text.parse().is_ok_and(f64::is_finite),
        Some(Kind::Float) => is_name() || text.parse().is_ok_and(f32::is_finite),
        _ => true,
    }
}

/// The type of a number, or that of the number in a wrapper.
fn number_kind(kind: &Kind) -> Option<Kind> {
    kind.as_message().map_or_else(|| Some(kind.clone()), wrapped)
}

/// The type of what a wrapper of `google.protobuf` has.
fn wrapped(message: &MessageDescriptor) -> Option<Kind> {
    let is_wrapper = message.package_name() == "google.protobuf" && message.name().ends_with("Value");
    message.get_field_by_name("value").filter(|_| is_wrapper).map(|field| field.kind())
}
