//! A field of a request, or of the messages within it.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

/// A field of a message, or of the messages within it: `policy.name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldPath {
    /// The fields that lead to it.
    messages: Vec<FieldDescriptor>,
    pub(super) leaf: FieldDescriptor,
}

impl FieldPath {
    /// Returns the field of this name. Each part is spelled as in the proto or as in JSON.
    pub(super) fn resolve(message: &MessageDescriptor, name: &str) -> Option<Self> {
        let (first, rest) = match name.split_once('.') {
            Some((first, rest)) => (first, Some(rest)),
            None => (name, None),
        };
        let field = field(message, first)?;
        let Some(rest) = rest else { return Some(Self { messages: Vec::new(), leaf: field }) };
        let Kind::Message(inner) = field.kind() else { return None };
        if field.is_list() || field.is_map() {
            return None;
        }
        let mut path = Self::resolve(&inner, rest)?;
        path.messages.insert(0, field);
        Some(path)
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
    pub(super) fn get(&self, message: &DynamicMessage) -> Option<Value> {
        let mut message = message.clone();
        for field in &self.messages {
            let Value::Message(inner) = message.take_field(field)? else { return None };
            message = inner;
        }
        message.has_field(&self.leaf).then(|| message.get_field(&self.leaf).into_owned())
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
