//! Query parameters.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use super::bindings::{Binding, BodyRule};
use super::field_path::ResolvedField;
use super::text_value;
use crate::transport::errors::ApiError;
use crate::transport::template::decode;

/// The longest name of an unknown parameter that an error repeats.
const LONGEST_NAME: usize = 64;

/// Sets the fields that the query names. A repeated field can come several times.
///
/// # Errors
/// [`ApiError::BadField`] names the first wrong parameter.
pub(super) fn apply(message: &mut DynamicMessage, query: &str, binding: &Binding) -> Result<(), ApiError> {
    let mut given: Vec<(ResolvedField, Vec<Value>)> = Vec::new();
    let mut places = HashMap::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, text) = parameter.split_once('=').unwrap_or((parameter, ""));
        let name = plain(name).unwrap_or_default();
        let path = ResolvedField::resolve(&message.descriptor(), &name).ok_or_else(|| unknown(&name))?;
        let wrong = |problem: &str| ApiError::BadField { field: path.json_name(), problem: problem.to_owned() };
        check_query_field(&path, binding).map_err(wrong)?;
        let text = plain(text).ok_or_else(|| wrong("must be UTF-8, with correct percent-encoding"))?;
        let value = text_value::parse(&path.leaf, &text).map_err(|problem| wrong(&problem))?;
        let place = *places.entry(path.json_name()).or_insert(given.len());
        match given.get_mut(place) {
            Some((_, values)) if path.leaf.is_list() => values.push(value),
            Some(_) => return Err(wrong("must be given only once")),
            None => given.push((path, vec![value])),
        }
    }
    for (path, mut values) in given {
        let value = if path.leaf.is_list() { Value::List(values) } else { values.remove(0) };
        if !path.set(message, value) {
            let problem = "must not be given with another field of the same oneof".to_owned();
            return Err(ApiError::BadField { field: path.json_name(), problem });
        }
    }
    Ok(())
}

/// Whether a query parameter may give the field.
fn check_query_field(path: &ResolvedField, binding: &Binding) -> Result<(), &'static str> {
    if binding.path_fields.iter().any(|other| other.overlaps(path)) {
        return Err("is given by the path, and must be no query parameter");
    }
    let is_in_body = match &binding.body {
        BodyRule::Nothing => false,
        BodyRule::All => true,
        BodyRule::Field(field) => path.fields().next() == Some(field),
    };
    if is_in_body {
        return Err("must be given in the body, not as a query parameter");
    }
    if !text_value::takes_text(&path.leaf) {
        return Err("is a message or a map, which query parameters cannot give");
    }
    Ok(())
}

/// The error for a parameter that is no field. It repeats the name only if it looks like the name of a field.
fn unknown(name: &str) -> ApiError {
    let is_like_a_field = name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
    if is_like_a_field {
        ApiError::BadField { field: name.to_owned(), problem: "is no field of the request".to_owned() }
    } else {
        ApiError::Malformed("a query parameter is no field of the request".to_owned())
    }
}

/// Decodes a name or a value.
fn plain(text: &str) -> Option<String> {
    decode(&text.replace('+', " "), false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::transport::http::gateway::bindings;

    const FORMS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/forms_descriptor.bin"));

    /// The binding of an RPC of `tests/transport/forms.proto`.
    fn binding(rpc: &str) -> Binding {
        let pool = DescriptorPool::decode(FORMS).unwrap();
        let service = pool.get_service_by_name("forms.v1.FormsService").unwrap();
        bindings::read(&service).unwrap().into_iter().find(|binding| binding.rpc.name() == rpc).unwrap()
    }

    fn read(binding: &Binding, query: &str) -> Result<DynamicMessage, ApiError> {
        let mut message = DynamicMessage::new(binding.rpc.input());
        apply(&mut message, query, binding).map(|()| message)
    }

    #[test]
    fn a_name_that_can_be_anything_is_not_repeated() {
        let list = binding("List");
        for name in ["doc@b.co", "1", "", "%zz", "a-b", &"a".repeat(65)] {
            let error = read(&list, &format!("{name}=1")).unwrap_err();
            assert_eq!(error, ApiError::Malformed("a query parameter is no field of the request".to_owned()), "{name}");
        }
        assert!(matches!(read(&list, "colour=1"), Err(ApiError::BadField { field, .. }) if field == "colour"));
    }

    #[test]
    fn fields_of_the_path_and_of_the_body_are_no_parameters() {
        for (rpc, taken, free) in [
            ("Get", "name=a", Some("parent=a")),
            ("Create", "parent=a", Some("name=a")),
            ("Create", "book.title=a", Some("tags=a")),
            ("Update", "book.name=a", Some("name=a")),
            ("Replace", "id=1", None),
        ] {
            let binding = binding(rpc);
            assert!(matches!(read(&binding, taken), Err(ApiError::BadField { .. })), "{rpc} {taken}");
            assert!(free.is_none_or(|free| read(&binding, free).is_ok()), "{rpc}");
        }
    }

    #[test]
    fn a_name_has_at_most_32_parts() {
        let list = binding("List");
        let query = |depth: usize| format!("{}name=a", "node.".repeat(depth));
        let message = read(&list, &query(31)).unwrap();
        assert_eq!(message.to_string().matches("node{").count(), 31);
        for depth in [32, 1_000, 10_000] {
            assert!(matches!(read(&list, &query(depth)), Err(ApiError::Malformed(_))), "{depth}");
        }
    }

    const QUERY: &str = "([a-z.]{0,4}|name|id|tags|book.title|since|data|genre|times)(=[0-9a-zA-Z%+:.-]{0,6})?\
        (&(id|deep|mask)=[a-z,%0-9]{0,4}){0,2}";

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_the_rpc_gets(
            id: i64,
            name in "[a-z&=+% é]{1,8}",
            tags in prop::collection::vec("[a,&]{0,3}", 1..4),
        ) {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("id", &id.to_string()).append_pair("name", &name);
            for tag in &tags {
                query.append_pair("tags", tag);
            }
            let message = read(&binding("List"), &query.finish()).unwrap();
            let field = |name: &str| message.get_field_by_name(name).unwrap().into_owned();
            prop_assert_eq!(field("id"), Value::I64(id));
            prop_assert_eq!(field("name"), Value::String(name));
            prop_assert_eq!(field("tags"), Value::List(tags.into_iter().map(Value::String).collect()));
        }

        #[test]
        fn no_query_makes_it_panic(query in QUERY) {
            let _ = read(&binding("List"), &query);
        }
    }
}
