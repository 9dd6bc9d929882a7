//! The message of a request: from its path, its query and its body.

use prost_reflect::DynamicMessage;

use super::bindings::{Binding, BodyRule};
use super::{json_body, query, text_value};
use crate::transport::errors::ApiError;
use crate::transport::template::Capture;

/// Returns the message that a request means.
///
/// # Errors
/// [`ApiError::Malformed`] or [`ApiError::BadField`]. They name the field, and show no value.
pub(super) fn build_message(
    binding: &Binding,
    captures: &[Capture<'_>],
    query: Option<&str>,
    body: &[u8],
) -> Result<DynamicMessage, ApiError> {
    let mut message = match &binding.body {
        BodyRule::Nothing => DynamicMessage::new(binding.rpc.input()),
        BodyRule::All => json_body::read(&binding.rpc.input(), body)?,
        BodyRule::Field(field) => json_body::read_field(field, body)?,
    };
    for (path, capture) in binding.path_fields.iter().zip(captures) {
        let wrong = |problem: &str| ApiError::BadField { field: path.json_name(), problem: problem.to_owned() };
        let text = capture.text.as_deref().ok_or_else(|| wrong("must be UTF-8, with correct percent-encoding"))?;
        let value = text_value::parse(&path.leaf, text).map_err(|problem| wrong(&problem))?;
        // A client may send back a resource that has its own name.
        if path.get(&message).is_some_and(|given| *given != value) {
            return Err(wrong("has another value in the path than in the body"));
        }
        if !path.set(&mut message, value) {
            return Err(wrong("must not be given with another field of the same oneof"));
        }
    }
    query::apply(&mut message, query.unwrap_or_default(), binding)?;
    Ok(message)
}
