//! Reads the `google.api.http` rules of the proto.

use std::borrow::Cow;

use http::Method;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ReflectMessage, Value};

/// An HTTP method and path that the proto gives an RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// `package.Service/Method`.
    pub(super) rpc: String,
    pub(super) method: Method,
    pub(super) path: String,
}

/// The `google.api.http` options of the proto cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// The descriptor set cannot be decoded.
    #[error("the API's descriptors cannot be read")]
    Descriptors(#[from] prost_reflect::DescriptorError),
    /// It lacks the extension `google.api.http`.
    #[error("the API's descriptors lack google.api.http")]
    NoExtension,
    /// A rule of a form that this gateway does not serve. It serves standard methods with a literal path and the
    /// request in the body.
    #[error("the http rule of {rpc} is of a form that the gateway does not serve")]
    Unsupported {
        /// The RPC that has the rule.
        rpc: String,
    },
}

/// Returns every binding of the descriptor set, in the order of the proto.
pub(super) fn read(descriptors: &[u8]) -> Result<Vec<Binding>, BindingError> {
    let pool = DescriptorPool::decode(descriptors)?;
    let http = pool.get_extension_by_name("google.api.http").ok_or(BindingError::NoExtension)?;
    let mut bindings = Vec::new();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = method.options();
        if !options.has_extension(&http) {
            continue;
        }
        let rule = options.get_extension(&http);
        let unsupported = || BindingError::Unsupported { rpc: name(&method) };
        let rule = rule.as_message().ok_or_else(unsupported)?;
        let more = field(rule, "additional_bindings");
        let more = more.as_deref().and_then(Value::as_list).unwrap_or_default();
        for rule in std::iter::once(rule).chain(more.iter().filter_map(Value::as_message)) {
            let (method_, path) = pattern(rule).ok_or_else(unsupported)?;
            bindings.push(Binding { rpc: name(&method), method: method_, path });
        }
    }
    Ok(bindings)
}

fn name(method: &MethodDescriptor) -> String {
    format!("{}/{}", method.parent_service().full_name(), method.name())
}

/// The method and path of a rule whose RPC gets its request from the body.
fn pattern(rule: &DynamicMessage) -> Option<(Method, String)> {
    let oneof = rule.descriptor().oneofs().find(|oneof| oneof.name() == "pattern")?;
    let chosen = oneof.fields().find(|field| rule.has_field(field))?;
    let method = match chosen.name() {
        "put" => Method::PUT,
        "post" => Method::POST,
        "patch" => Method::PATCH,
        _ => return None,
    };
    let path = rule.get_field(&chosen).as_str()?.to_owned();
    let takes_body = field(rule, "body")?.as_str() == Some("*");
    (is_literal(&path) && takes_body).then_some((method, path))
}

/// Whether a path has no variables: `/identify`, or with a custom verb `/identify:batch`.
fn is_literal(path: &str) -> bool {
    let (name, verb) = path.rsplit_once(':').unwrap_or((path, "verb"));
    let is_name = name.starts_with('/') && !name.contains(['{', '}', '*', ':']);
    is_name && !name.ends_with('/') && !verb.is_empty() && verb.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn field<'a>(rule: &'a DynamicMessage, name: &str) -> Option<Cow<'a, Value>> {
    rule.get_field_by_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn the_proto_has_these() {
        let binding = |rpc: &str, path: &str| Binding {
            rpc: format!("identity.v1.IdentityService/{rpc}"),
            method: Method::POST,
            path: path.to_owned(),
        };
        let batch = binding("BatchIdentify", "/identify:batch");
        let single = ["/identify", "/contact/identify"].map(|path| binding("Identify", path));
        assert_eq!(read(FILE_DESCRIPTOR_SET).unwrap(), [&single[..], &[batch]].concat());
    }

    #[test]
    fn a_literal_path_may_end_in_a_verb() {
        for path in ["/identify", "/contact/identify", "/identify:batch"] {
            assert!(is_literal(path), "{path}");
        }
        for path in ["", "identify", "/{id}", "/*", "/a:b:c", "/a:b/c", "/identify:", "/:batch", "/{id}:batch"] {
            assert!(!is_literal(path), "{path}");
        }
    }

    #[test]
    fn descriptors_without_the_options_are_refused() {
        let error = read(tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap_err();
        assert!(matches!(error, BindingError::NoExtension));
    }
}
