//! `docs/openapi.yaml` against `proto/`: every binding, every field with its type, and every comment.
//!
//! The description may say more than the proto, about JSON. `tests/api` has it read by tools of others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a kind that is not known fails the test")]

use std::collections::BTreeSet;

use identity::proto::FILE_DESCRIPTOR_SET;
use identity::settings::Spelling;
use identity::transport::http::openapi_json;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, ReflectMessage,
};
use serde_json::Value;

const SERVICE: &str = "identity.v1.IdentityService";
const GRAPH: &str = "identity.v1.GraphService";

/// The schema of each message that is part of the JSON API.
const SCHEMAS: [(&str, &str); 7] = [
    ("identity.v1.IdentifyRequest", "IdentifyRequest"),
    ("identity.v1.IdentifyResponse", "IdentifyResponse"),
    ("identity.v1.BatchIdentifyRequest", "BatchIdentifyRequest"),
    ("identity.v1.BatchIdentifyResponse", "BatchIdentifyResponse"),
    ("identity.v1.BatchIdentifyResult", "BatchIdentifyResult"),
    ("identity.v1.Identity", "Contact"),
    ("google.rpc.Status", "Error"),
];

/// The fields that a single answer has as a header. Those of `Identity` are nowhere else. The texts of headers are of
/// their own: what the proto says of a field is not always so of a header.
const HEADERS: [(&str, &str); 4] = [
    ("identity.v1.IdentifyResponse.outcome", "Identity-Outcome"),
    ("identity.v1.IdentifyResponse.ignored", "Identity-Ignored"),
    ("identity.v1.Identity.truncated", "Identity-Truncated"),
    ("identity.v1.Identity.contact_count", "Identity-Truncated"),
];

/// The fields of `Identity` that are empty in the answers of `IdentityService`.
const NOT_IDENTIFY: [&str; 4] = [
    "identity.v1.Identity.name",
    "identity.v1.Identity.etag",
    "identity.v1.Identity.create_time",
    "identity.v1.Identity.update_time",
];

/// What the proto says for gRPC, and what the description says in its place.
const WORDS: [(&str, &str); 12] = [
    ("`primary_contact_id`", "`primaryContactId`"),
    ("`validate_only`", "`validateOnly`"),
    ("`secondary_contact_ids`", "`secondaryContactIds`"),
    ("`OUTCOME_CREATED`", "`created`"),
    ("`OUTCOME_MATCHED`", "`matched`"),
    ("`OUTCOME_LINKED`", "`linked`"),
    ("`OUTCOME_MERGED`", "`merged`"),
    ("sets `Identity.truncated`", "has the header `Identity-Truncated`"),
    ("The metadata `x-request-id`", "The header `x-request-id`"),
    ("| STREAMS_FULL |", "| STREAMS_FULL | gRPC alone:"),
    ("| CONNECTION_TOO_OLD |", "| CONNECTION_TOO_OLD | gRPC alone:"),
    ("| METHOD_UNKNOWN |", "| METHOD_UNKNOWN | gRPC alone:"),
];

/// The schemas of messages whose JSON differs between the services: `Identify` has a form of its own, and the calls of
/// the graph have proto3 JSON. All other messages of the graph have schemas of their names.
const GRAPH_SCHEMAS: [(&str, &str); 2] = [("Identity", "GraphIdentity"), ("Contact", "GraphContact")];

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()
}

fn document() -> Value {
    serde_json::from_str(openapi_json(Spelling::Correct)).unwrap()
}

/// Returns the paragraphs of the comment at a path of a file, without line breaks.
fn comment(file: &FileDescriptor, path: &[i32]) -> Vec<String> {
    let info = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
    let location = info.location.iter().find(|location| location.path == path).unwrap();
    let text = location.leading_comments();
    assert!(!text.trim().is_empty(), "no comment at {path:?} of {}", file.name());
    text.trim().split("\n\n").map(|paragraph| for_json(words(paragraph))).collect()
}

/// Returns what the description says in place of a text of the proto.
fn for_json(mut text: String) -> String {
    for (of_grpc, of_json) in WORDS {
        text = text.replace(of_grpc, of_json);
    }
    for field in fields_with_other_names() {
        for (before, after) in [("`", "`"), (".", "`")] {
            let name = |name: &str| format!("{before}{name}{after}");
            text = text.replace(&name(field.name()), &name(field.json_name()));
        }
    }
    text
}

/// The fields whose names differ in JSON.
fn fields_with_other_names() -> Vec<FieldDescriptor> {
    let pool = pool();
    let messages = pool.all_messages().filter(|message| message.package_name() == "identity.v1");
    let fields = messages.flat_map(|message| message.fields().collect::<Vec<_>>());
    fields.filter(|field| field.name() != field.json_name()).collect()
}

/// Returns the text with single spaces.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the name of each paragraph of the comment that the description does not have.
fn lacking(what: &str, comment: &[String], description: &Value) -> Vec<String> {
    let description = words(description.as_str().unwrap_or_default());
    let missing = comment.iter().filter(|paragraph| !description.contains(paragraph.as_str()));
    missing.map(|paragraph| format!("{what} lacks: {paragraph}")).collect()
}

fn schema_name(message: &MessageDescriptor) -> &'static str {
    SCHEMAS.iter().find(|(name, _)| *name == message.full_name()).map(|(_, schema)| *schema).unwrap_or_else(|| {
        panic!("{} has no schema in the table of this test", message.full_name());
    })
}

fn header_of(field: &FieldDescriptor) -> Option<&'static str> {
    HEADERS.iter().find(|(name, _)| *name == field.full_name()).map(|(_, header)| *header)
}

/// Whether a schema is a reference to this one, or to this one or anything else.
fn refers_to(schema: &Value, name: &str) -> bool {
    let is_it = |schema: &Value| schema["$ref"] == format!("#/components/schemas/{name}");
    is_it(schema) || schema["anyOf"].as_array().is_some_and(|any| any.iter().any(is_it))
}

/// Whether a schema has the type: as its only one, or in a list.
fn has_type(schema: &Value, name: &str) -> bool {
    schema["type"] == name || schema["type"].as_array().is_some_and(|types| types.contains(&name.into()))
}

/// Whether a schema is that of the field.
fn is_of(schema: &Value, field: &FieldDescriptor) -> bool {
    if field.is_list() && schema["type"] != "array" {
        return false;
    }
    let schema = if field.is_list() { &schema["items"] } else { schema };
    match field.kind() {
        Kind::Bool => has_type(schema, "boolean"),
        Kind::String => has_type(schema, "string"),
        Kind::Int64 => has_type(schema, "integer") && schema["format"] == "int64",
        // By the names of the fields that were left out.
        Kind::Message(message) if message.name() == "Ignored" => refers_to(schema, "LeftOut"),
        Kind::Message(message) => refers_to(schema, schema_name(&message)),
        Kind::Enum(outcome) => refers_to(schema, outcome.name()),
        kind => panic!("{} has a type that this test does not know: {kind:?}", field.full_name()),
    }
}

/// Returns the HTTP method and the path of each binding of an RPC: the first one, then the additional ones.
fn bindings(options: &DynamicMessage, pool: &DescriptorPool) -> Vec<(String, String)> {
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let rule = options.get_extension(&http).into_owned();
    let rule = rule.as_message().unwrap();
    let more = rule.get_field_by_name("additional_bindings").unwrap().into_owned();
    let of = |rule: &DynamicMessage| {
        let oneof = rule.descriptor().oneofs().find(|oneof| oneof.name() == "pattern").unwrap();
        let chosen = oneof.fields().find(|field| rule.has_field(field))?;
        Some((chosen.name().to_owned(), rule.get_field(&chosen).as_str().unwrap().to_owned()))
    };
    let additional = more.as_list().unwrap().iter().filter_map(|rule| of(rule.as_message().unwrap()));
    of(rule).into_iter().chain(additional).collect()
}

/// Returns what a `$ref` of the document leads to, or the value itself.
fn followed<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(target) => document.pointer(target.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// Returns the path in the description: each variable of a template is one segment there.
fn path_of(template: &str) -> String {
    ["name", "parent"].iter().fold(template.to_owned(), |path, variable| {
        path.replace(&format!("{{{variable}=identities/*}}"), "identities/{identity}")
    })
}

/// Returns what the path of a template gives.
fn is_in_path(template: &str, field: &FieldDescriptor) -> bool {
    template.contains(&format!("{{{}=", field.name()))
}

fn graph_schema(message: &MessageDescriptor) -> String {
    let own = GRAPH_SCHEMAS.iter().find(|(name, _)| *name == message.name());
    own.map_or(message.name(), |(_, schema)| schema).to_owned()
}

/// Whether a schema is that of the field, in proto3 JSON.
fn is_proto3_json(schema: &Value, field: &FieldDescriptor) -> bool {
    if field.is_list() && schema["type"] != "array" {
        return false;
    }
    let schema = if field.is_list() { &schema["items"] } else { schema };
    match field.kind() {
        Kind::String => schema["type"] == "string",
        Kind::Bool => schema["type"] == "boolean",
        Kind::Int32 => schema["type"] == "integer" && schema["format"] == "int32",
        Kind::Int64 => schema["type"] == "string" && schema["format"] == "int64",
        Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp" => {
            schema["type"] == "string" && schema["format"] == "date-time"
        }
        Kind::Message(message) => refers_to(schema, &graph_schema(&message)),
        Kind::Enum(of) => refers_to(schema, of.name()),
        kind => panic!("{} has a type that this test does not know: {kind:?}", field.full_name()),
    }
}

/// Compares the parameters of an operation without a body with the fields of its request.
fn wrong_parameters(message: &MessageDescriptor, template: &str, parameters: &Value) -> Vec<String> {
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

#[test]
fn each_binding_is_an_operation_that_says_what_the_rpc_says() {
    let (pool, document) = (pool(), document());
    let services = [SERVICE, GRAPH].map(|name| pool.get_service_by_name(name).unwrap());
    let mut wrong = Vec::new();
    let mut bound = BTreeSet::new();
    for method in services.iter().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let service = method.parent_service();
        let is_graph = service.full_name() == GRAPH;
        let bindings = bindings(&method.options(), &pool);
        let Some((_, first)) = bindings.first() else { continue };
        let comment = comment(&service.parent_file(), method.path());
        assert!(!is_graph || !bindings.is_empty(), "{} has no path", method.name());
        for (verb, template) in &bindings {
            let path = &path_of(template);
            let operation = &document["paths"][path][verb];
            let summary = if template == first {
                wrong.extend(lacking(path, &comment[1..], &operation["description"]));
                comment[0].trim_end_matches('.').to_owned()
            } else {
                format!("Does what {first} does")
            };
            if operation["summary"] != summary {
                wrong.push(format!("{verb} {path} has the summary {}, and not {summary}", operation["summary"]));
            }
            let request = followed(&document, &operation["requestBody"]);
            let schema = &request["content"]["application/json"]["schema"];
            let expected =
                if is_graph { graph_schema(&method.input()) } else { schema_name(&method.input()).to_owned() };
            match &verb[..] {
                "get" => wrong.extend(wrong_parameters(&method.input(), template, &operation["parameters"])),
                _ if refers_to(schema, &expected) => {}
                _ => wrong.push(format!("{verb} {path} takes {schema}")),
            }
            let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"];
            if is_graph && !refers_to(answer, &graph_schema(&method.output())) {
                wrong.push(format!("{verb} {path} answers {answer}"));
            }
            bound.insert((verb.clone(), path.clone()));
        }
    }
    assert!(bound.len() > 2, "{bound:?}");
    // Everything that is not bound is there to be read.
    for (path, item) in document["paths"].as_object().unwrap() {
        for verb in item.as_object().unwrap().keys().filter(|verb| *verb != "get") {
            if !bound.contains(&(verb.clone(), path.clone())) {
                wrong.push(format!("no rule of the proto has {verb} {path}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_document_says_what_the_service_says() {
    let (pool, document) = (pool(), document());
    let service = pool.get_service_by_name(SERVICE).unwrap();
    let comment = comment(&service.parent_file(), service.path());
    assert_eq!(document["info"]["summary"], comment[0].trim_end_matches('.'));
    let lacking = lacking("info", &comment[1..], &document["info"]["description"]);
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn each_field_is_there_with_its_type_and_its_description() {
    let (pool, document) = (pool(), document());
    let mut wrong = Vec::new();
    for (name, schema_name) in SCHEMAS.iter().filter(|(name, _)| name.starts_with("identity.v1.")) {
        let message = pool.get_message_by_name(name).unwrap();
        let file = message.parent_file();
        let schema = &document["components"]["schemas"][schema_name];
        wrong.extend(lacking(schema_name, &comment(&file, message.path()), &schema["description"]));
        let properties = schema["properties"].as_object().unwrap();
        let mut expected = BTreeSet::new();
        for field in message.fields() {
            let is_elsewhere = header_of(&field).is_some() || NOT_IDENTIFY.contains(&field.full_name());
            if is_elsewhere && *schema_name == "Contact" {
                continue;
            }
            let comment = comment(&file, field.path());
            expected.insert(field.json_name().to_owned());
            let Some(property) = properties.get(field.json_name()) else { continue };
            wrong.extend(lacking(field.full_name(), &comment, &property["description"]));
            if !is_of(property, &field) {
                wrong.push(format!("{} has another type: {property}", field.full_name()));
            }
        }
        let described: BTreeSet<_> = properties.keys().cloned().collect();
        if described != expected {
            wrong.push(format!("{schema_name} has the fields {described:?}, and not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_single_answer_has_the_contact_and_the_rest_in_headers() {
    let document = document();
    let answer = &document["components"]["responses"]["Identity"];
    let schema = &answer["content"]["application/json"]["schema"];
    assert_eq!(schema["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["contact"]);
    assert!(refers_to(&schema["properties"]["contact"], "Contact"));
    let headers: BTreeSet<_> = answer["headers"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(headers, HEADERS.map(|(_, header)| header).into());
    for header in headers {
        let text = answer["headers"][header]["description"].as_str().unwrap();
        assert!(text.len() > 10 && !text.contains("always set"), "{header}: {text}");
    }
}

#[test]
fn no_word_of_grpc_is_left_where_json_has_another() {
    let text = words(&document().to_string().replace("\\n", " "));
    for (of_grpc, of_json) in WORDS {
        assert!(text.contains(of_json), "{of_json}");
        assert!(!text.replace(of_json, "").contains(of_grpc), "{of_grpc}");
    }
}

#[test]
fn the_outcomes_are_those_of_the_enum_and_explained() {
    let (pool, document) = (pool(), document());
    let outcome = pool.get_enum_by_name("identity.v1.Outcome").unwrap();
    let file = outcome.parent_file();
    let schema = &document["components"]["schemas"]["Outcome"];
    let mut wrong = lacking("Outcome", &comment(&file, outcome.path()), &schema["description"]);
    let mut names = Vec::new();
    for value in outcome.values().filter(|value| value.number() != 0) {
        let name = value.name().strip_prefix("OUTCOME_").unwrap().to_lowercase();
        let explained = format!("`{name}`: {}", comment(&file, value.path()).join(" "));
        wrong.extend(lacking("Outcome", &[explained], &schema["description"]));
        names.push(name);
    }
    assert_eq!(schema["enum"], serde_json::json!(names));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_fields_that_can_be_ignored_are_those_of_the_request() {
    let (pool, document) = (pool(), document());
    let request = pool.get_message_by_name("identity.v1.IdentifyRequest").unwrap();
    let identifiers = request.fields().filter(|field| field.field_descriptor_proto().proto3_optional());
    let fields: Vec<_> = identifiers.map(|field| field.json_name().to_owned()).collect();
    assert_eq!(document["components"]["schemas"]["Field"]["enum"], serde_json::json!(fields));
}
