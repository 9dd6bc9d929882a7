//! What the descriptors know of a JSON text.

use std::fmt;

use prost_reflect::{FieldDescriptor, Kind};
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::field_path::field;
use super::value_rules::{has_own_form, takes_integer, takes_number, takes_text_for_number};

/// How the error for a value begins that its field cannot have. serde_json has the same text for a number that it
/// cannot read.
pub(super) const NOT_IN_RANGE: &str = "number out of range";

/// What is known of a value. Fields that are not known are left out, and no field may come twice.
#[derive(Clone, Copy)]
pub(super) enum Known<'a> {
    /// It is the value of a field.
    Field(&'a FieldDescriptor),
    /// It is one value of this type.
    One(&'a Kind),
    /// Nothing: all of it is kept.
    Nothing,
}

impl Known<'_> {
    /// The type of the value, or that of its values.
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Field(field) => Some(field.kind()),
            Self::One(kind) => Some(kind.clone()),
            Self::Nothing => None,
        }
    }

    /// Returns the value if the type takes it.
    fn checked<E: Error>(self, value: impl Into<Value>, takes: impl FnOnce(&Kind) -> bool) -> Result<Value, E> {
        let is_taken = self.kind().is_none_or(|kind| takes(&kind));
        if is_taken { Ok(value.into()) } else { Err(E::custom(NOT_IN_RANGE)) }
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

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.checked(value, |kind| takes_integer(kind, value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.checked(value, |kind| takes_integer(kind, value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.checked(value, |kind| takes_number(kind, value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.checked(value, |kind| takes_text_for_number(kind, value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let kind = match self {
            Self::Field(field) => Some(field.kind()),
            Self::One(_) | Self::Nothing => None,
        };
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(kind.as_ref().map_or(Known::Nothing, Known::One))? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let kind = self.kind();
        let message = kind.as_ref().and_then(Kind::as_message).filter(|message| !has_own_form(message));
        let mut values = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let known = match message {
                Some(message) if message.is_map_entry() => Some((key, Some(message.map_entry_value_field()))),
                Some(message) => field(message, &key).map(|field| (field.json_name().to_owned(), Some(field))),
                None => Some((key, None)),
            };
            let Some((key, field)) = known else {
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
