//! `GraphService` in `docs/openapi.yaml`: its messages are proto3 JSON.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

use crate::{GRAPH, bindings, comment, document, has_type, lacking, pool, refers_to};

/// The schemas of messages whose JSON differs between the services: `Identify` has a form of its own, and the calls of
/// the graph have proto3 JSON. All other messages of the graph have schemas of their names.
const GRAPH_SCHEMAS: [(&str, &str); 2] = [("Identity", "GraphIdentity"), ("Contact", "GraphContact")];

/// Returns the path in the description: each variable of a template is one segment there.
pub fn path_of(template: &str) -> String {
    ["name", "parent"].iter().fold(template.to_owned(), |path, variable| {
        path.replace(&format!("{{{variable}=identities/*}}"), "identities/{identity}")
    })
}

/// Returns what the path of a template gives.
fn is_in_path(template: &str, field: &FieldDescriptor) -> bool {
    template.contains(&format!("{{{}=", field.name()))
}

pub fn graph_schema(message: &MessageDescriptor) -> String {
    let own = GRAPH_SCHEMAS.iter().find(|(name, _)| *name == message.name());
    own.map_or(message.name(), |(_, schema)| schema).to_owned()
}

/// Whether a schema is that of the field, in proto3 JSON.
fn is_proto3_json(schema: &Value, field: &FieldDescriptor) -> bool {
    if field.is_list() && !has_type(schema, "array") {
        return false;
    }
    let schema = if field.is_list() { &schema["items"] } else { schema };
    match field.kind() {
        Kind::String => schema["type"] == "string",
        Kind::Bool => schema["type"] == "boolean",
        Kind::Int32 => schema["type"] == "integer" && schema["format"] == "int32",
        Kind::Int64 => schema["type"] == "string" && schema["format"] == "int64",
        Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp" => {
            has_type(schema, "string") && schema["format"] == "date-time"
        }
        Kind::Message(message) => refers_to(schema, &graph_schema(&message)),
        Kind::Enum(of) => refers_to(schema, of.name()),
        kind => panic!("{} has a type that this test does not know: {kind:?}", field.full_name()),
    }
}

/// Compares the parameters of an operation without a body with the fields of its request.
pub fn wrong_parameters(message: &MessageDescriptor, template: &str, parameters: &Value) -> Vec<String> {
    let parameters: Vec<&Value> = parameters.as_array().unwrap().iter().collect();
    let mut wrong = Vec::new();
    let mut expected = BTreeSet::new();
    for field in message.fields() {
        if is_in_path(template, &field) {
            expected.insert("identity".to_owned());
            continue;
        }
        expected.insert(field.json_name().to_owned());
        let comment = comment(&message.parent_file(), field.path());
        let Some(parameter) = parameters.iter().find(|one| one["name"] == field.json_name()) else { continue };
        wrong.extend(lacking(field.full_name(), &comment, &parameter["description"]));
        if parameter["in"] != "query" || !is_proto3_json(&parameter["schema"], &field) {
            wrong.push(format!("{} has another type: {parameter}", field.full_name()));
        }
    }
    let named = parameters.iter().filter_map(|one| one["name"].as_str().map(str::to_owned));
    let described: BTreeSet<_> = named.collect();
    if described != expected {
        wrong.push(format!("{template} has the parameters {described:?}, and not {expected:?}"));
    }
    wrong
}

/// Returns the messages and enums that an RPC of the graph takes or returns.
fn of_the_graph(pool: &DescriptorPool) -> Vec<Kind> {
    let service = pool.get_service_by_name(GRAPH).unwrap();
    let mut all: Vec<Kind> = Vec::new();
    let mut waiting: Vec<Kind> = Vec::new();
    for method in service.methods() {
        let is_body = bindings(&method.options(), pool).iter().any(|(verb, _)| verb != "get");
        waiting.extend(is_body.then(|| Kind::Message(method.input())));
        waiting.push(Kind::Message(method.output()));
    }
    while let Some(kind) = waiting.pop() {
        let is_own = match &kind {
            Kind::Message(message) => message.package_name() == "identity.v1",
            Kind::Enum(_) => true,
            _ => false,
        };
        if !is_own || all.contains(&kind) {
            continue;
        }
        if let Kind::Message(message) = &kind {
            waiting.extend(message.fields().map(|field| field.kind()));
        }
        all.push(kind);
    }
    all
}

#[test]
fn each_message_of_the_graph_has_a_schema_in_proto3_json() {
    let (pool, document) = (pool(), document());
    let schemas = &document["components"]["schemas"];
    let service = pool.get_service_by_name(GRAPH).unwrap();
    let mut wrong = Vec::new();
    for kind in of_the_graph(&pool) {
        if let Kind::Enum(of) = &kind {
            let file = of.parent_file();
            let schema = &schemas[of.name()];
            wrong.extend(lacking(of.name(), &comment(&file, of.path()), &schema["description"]));
            let values = of.values().filter(|value| value.number() != 0).collect::<Vec<_>>();
            for value in &values {
                let explained = format!("- `{}`: {}", value.name(), comment(&file, value.path()).join(" "));
                wrong.extend(lacking(of.name(), &[explained], &schema["description"]));
            }
            let names: Vec<_> = values.iter().map(|value| value.name().to_owned()).collect();
            assert_eq!(schema["enum"], serde_json::json!(names), "{}", of.name());
        }
        let Kind::Message(message) = &kind else { continue };
        let file = message.parent_file();
        let schema = &schemas[graph_schema(message)];
        wrong.extend(lacking(message.name(), &comment(&file, message.path()), &schema["description"]));
        let paths = service.methods().filter(|method| method.input() == *message);
        let paths: Vec<_> = paths.flat_map(|method| bindings(&method.options(), &pool)).collect();
        let mut expected = BTreeSet::new();
        for field in message.fields().filter(|field| !paths.iter().any(|(_, path)| is_in_path(path, field))) {
            expected.insert(field.json_name().to_owned());
            let property = &schema["properties"][field.json_name()];
            wrong.extend(lacking(field.full_name(), &comment(&file, field.path()), &property["description"]));
            if !is_proto3_json(property, &field) {
                wrong.push(format!("{} has another type: {property}", field.full_name()));
            }
        }
        let described = schema["properties"].as_object().map(|all| all.keys().cloned().collect::<BTreeSet<_>>());
        if described.as_ref() != Some(&expected) {
            wrong.push(format!("{} has the fields {described:?}, and not {expected:?}", message.name()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tag_of_the_graph_says_what_the_service_says() {
    let (pool, document) = (pool(), document());
    let service = pool.get_service_by_name(GRAPH).unwrap();
    let comment = comment(&service.parent_file(), service.path());
    let tag = document["tags"].as_array().unwrap().iter().find(|tag| tag["name"] == "graph").unwrap();
    let lacking = lacking("graph", &comment, &tag["description"]);
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}
