//! Reads the `google.api.http` rules of the proto.

use http::Method;
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MethodDescriptor, ReflectMessage,
    ServiceDescriptor, Value,
};

use super::field_path::{ResolvedField, field};
use crate::transport::template::{HttpMethod, Template};

/// An HTTP method and path that the proto gives an RPC.
#[derive(Clone, Debug)]
pub(super) struct Binding {
    pub(super) rpc: MethodDescriptor,
    pub(super) method: HttpMethod,
    pub(super) template: Template,
    /// The fields that the path gives, in the order of the template.
    pub(super) path_fields: Vec<ResolvedField>,
    pub(super) body: BodyRule,
    /// The field of the response that is the answer. `None`: all of the response.
    pub(super) response_body: Option<FieldDescriptor>,
}

/// What the body of a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BodyRule {
    /// Nothing: query parameters give the fields.
    Nothing,
    /// `*`: all fields that the path does not give.
    All,
    /// This field. Query parameters give the others.
    Field(FieldDescriptor),
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
    /// It lacks a service.
    #[error("the API's descriptors lack the service {0}")]
    NoService(String),
    /// A rule is wrong, or of a form that the gateway does not serve.
    #[error("the http rule of {rpc} cannot be served: {problem}")]
    Rule {
        /// The RPC that has the rule.
        rpc: String,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Returns every binding of a service, in the order of the proto.
pub(super) fn read(service: &ServiceDescriptor) -> Result<Vec<Binding>, BindingError> {
    let http = extension(service.parent_pool())?;
    let mut bindings = Vec::new();
    for rpc in service.methods() {
        let options = rpc.options();
        if !options.has_extension(&http) {
            continue;
        }
        let wrong = |problem| BindingError::Rule { rpc: name(&rpc), problem };
        let rule = options.get_extension(&http);
        let rule = rule.as_message().ok_or_else(|| wrong("it is no message"))?;
        let more = rule.get_field_by_name("additional_bindings");
        let more = more.as_deref().and_then(Value::as_list).unwrap_or_default();
        bindings.push(binding(&rpc, rule).map_err(wrong)?);
        for rule in more.iter().filter_map(Value::as_message) {
            if rule.has_field_by_name("additional_bindings") {
                return Err(wrong("additional bindings have no additional bindings"));
            }
            bindings.push(binding(&rpc, rule).map_err(wrong)?);
        }
    }
    Ok(bindings)
}

/// `package.Service/Method`.
pub(super) fn name(rpc: &MethodDescriptor) -> String {
    format!("{}/{}", rpc.parent_service().full_name(), rpc.name())
}

fn extension(pool: &DescriptorPool) -> Result<ExtensionDescriptor, BindingError> {
    pool.get_extension_by_name("google.api.http").ok_or(BindingError::NoExtension)
}

fn binding(rpc: &MethodDescriptor, rule: &DynamicMessage) -> Result<Binding, &'static str> {
    if rpc.is_client_streaming() {
        return Err("the RPC takes a stream");
    }
    let (method, path) = pattern(rule).ok_or("it has no method and path")?;
    let template: Template = path.parse().map_err(|_| "its path is no template")?;
    let path_fields =
        template.fields().map(|name| path_field(rpc, name).ok_or("a variable is no field with one value"));
    let path_fields = path_fields.collect::<Result<Vec<_>, _>>()?;
    let body = match &text(rule, "body")[..] {
        "" => BodyRule::Nothing,
        "*" => BodyRule::All,
        name => BodyRule::Field(field(&rpc.input(), name).ok_or("its body is no field of the request")?),
    };
    let response_body = match &text(rule, "response_body")[..] {
        "" => None,
        name => Some(field(&rpc.output(), name).ok_or("its response_body is no field of the response")?),
    };
    Ok(Binding { rpc: rpc.clone(), method, template, path_fields, body, response_body })
}

/// The method and path of a rule.
fn pattern(rule: &DynamicMessage) -> Option<(HttpMethod, String)> {
    let oneof = rule.descriptor().oneofs().find(|oneof| oneof.name() == "pattern")?;
    let chosen = oneof.fields().find(|field| rule.has_field(field))?;
    let value = rule.get_field(&chosen);
    let method = match chosen.name() {
        "get" => Method::GET,
        "put" => Method::PUT,
        "post" => Method::POST,
        "delete" => Method::DELETE,
        "patch" => Method::PATCH,
        "custom" => {
            let custom = value.as_message()?;
            let method = match &text(custom, "kind")[..] {
                "*" => HttpMethod::Any,
                kind => HttpMethod::One(kind.parse().ok()?),
            };
            return Some((method, text(custom, "path")));
        }
        _ => return None,
    };
    Some((HttpMethod::One(method), value.as_str()?.to_owned()))
}

/// The field that a variable of the path names.
fn path_field(rpc: &MethodDescriptor, name: &str) -> Option<ResolvedField> {
    let path = ResolvedField::resolve(&rpc.input(), name)?;
    let has_one_value = !path.leaf.is_list() && !matches!(path.leaf.kind(), Kind::Message(_));
    has_one_value.then_some(path)
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn the_proto_has_these() {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let service = pool.get_service_by_name("identity.v1.IdentityService").unwrap();
        let bindings = read(&service).unwrap();
        assert!(bindings.iter().all(|of| of.method == HttpMethod::One(Method::POST) && of.body == BodyRule::All));
        let paths: Vec<_> = bindings.iter().map(|of| (of.rpc.name(), of.template.to_string())).collect();
        let path = |rpc, path: &str| (rpc, path.to_owned());
        let expected = [
            path("Identify", "/identify"),
            path("Identify", "/contact/identify"),
            path("BatchIdentify", "/identify:batch"),
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn descriptors_without_the_options_are_refused() {
        let pool = DescriptorPool::decode(tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
        let error = read(&pool.services().next().unwrap()).unwrap_err();
        assert!(matches!(error, BindingError::NoExtension));
    }
}
