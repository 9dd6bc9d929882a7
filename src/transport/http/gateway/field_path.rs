//! A field of a request, or of the messages within it.

use std::borrow::Cow;
use std::mem;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

/// Maximum parts of a name. A message can have fields of its own type, so names could have any number of them.
const MAX_PARTS: usize = 32;

/// A field of a message, or of the messages within it: `policy.name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvedField {
    /// The fields that lead to it.
    messages: Vec<FieldDescriptor>,
    pub(super) leaf: FieldDescriptor,
}

impl ResolvedField {
    /// Returns the field of this name. Each part is spelled as in the proto or as in JSON.
    pub(super) fn resolve(message: &MessageDescriptor, name: &str) -> Option<Self> {
        let (mut parts, mut messages) = (name.split('.'), Vec::new());
        let mut leaf = field(message, parts.next()?)?;
        for part in parts {
            let Kind::Message(inner) = leaf.kind() else { return None };
            if leaf.is_list() || leaf.is_map() || messages.len() + 1 == MAX_PARTS {
                return None;
            }
            messages.push(mem::replace(&mut leaf, field(&inner, part)?));
        }
        Some(Self { messages, leaf })
    }

    /// Its name in JSON.
    pub(super) fn json_name(&self) -> String {
        self.fields().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".")
    }

    /// The fields from the outermost message to the field itself.
    pub(super) fn fields(&self) -> impl Iterator<Item = &FieldDescriptor> {
        self.messages.iter().chain([&self.leaf])
    }

    /// Whether one of the two is within the other, or both are the same.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.fields().zip(other.fields()).all(|(one, other)| one == other)
    }

    /// Returns its value, if it is set.
    pub(super) fn get<'m>(&self, mut message: &'m DynamicMessage) -> Option<Cow<'m, Value>> {
        for field in &self.messages {
            // What is not set is no part of the message.
            let Cow::Borrowed(Value::Message(inner)) = message.get_field(field) else { return None };
            message = inner;
        }
        message.has_field(&self.leaf).then(|| message.get_field(&self.leaf))
    }

    /// Sets it. Returns whether it could be set: not if another field of the same `oneof` is set.
    #[must_use]
    pub(super) fn set(&self, message: &mut DynamicMessage, value: Value) -> bool {
        let mut message = message;
        for field in &self.messages {
            if has_rival(message, field) {
                return false;
            }
            let Some(inner) = message.get_field_mut(field).as_message_mut() else { return false };
            message = inner;
        }
        let is_free = !has_rival(message, &self.leaf);
        if is_free {
            message.set_field(&self.leaf, value);
        }
        is_free
    }
}

/// Returns the field of this name, as in the proto or as in JSON.
pub(super) fn field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name))
}

/// Whether another field of the same `oneof` is set.
fn has_rival(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    let oneof = field.containing_oneof();
    oneof.is_some_and(|oneof| oneof.fields().any(|other| other != *field && message.has_field(&other)))
}
