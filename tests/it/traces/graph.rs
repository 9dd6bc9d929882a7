//! Traces of calls of `GraphService`, by both APIs.

use std::collections::BTreeSet;

use identity::proto::identity::v1 as pb;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tonic::Request;

use super::{PARENT, has_call, named, new_trace, start, traceparent};
use crate::graph::{client, identifier, question};
use crate::harness::{Api, Backend, Service, Span, Suite, TestDatabase, register, send_for_status};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): a_trace_of_each_read_arrives_whole);
}

/// Each RPC, with the template of its path. The second half of a path is its query.
const RPCS: [(&str, &str, &str, &str); 7] = [
    ("GetIdentity", "GET", "/v1/{name=identities/*}", ""),
    ("LookupIdentities", "POST", "/v1/identities:lookup", ""),
    ("ListIdentities", "GET", "/v1/identities", "?pageSize=10"),
    ("ListContacts", "GET", "/v1/{parent=identities/*}/contacts", ""),
    ("ListEvidence", "GET", "/v1/{parent=identities/*}/evidence", ""),
    ("ListRevisions", "GET", "/v1/{parent=identities/*}/revisions", ""),
    ("ExplainIdentity", "POST", "/v1/{name=identities/*}:explain", ""),
];

const EMAILS: [&str; 2] = ["secret@hillvalley.edu", "secret2@hillvalley.edu"];
const PHONE: &str = "5550199";
const NAME: &str = "identities/1";

async fn a_trace_of_each_read_arrives_whole(database: TestDatabase) {
    let (service, collector) = start(&database, "0").await;
    for email in EMAILS {
        service.caller().identify(Api::Grpc, Some(email), Some(PHONE)).await.expect("an answer");
    }
    for (rpc, method, template, query) in RPCS {
        for api in Api::BOTH {
            let (trace, rpc) = (new_trace(), format!("identity.v1.GraphService/{rpc}"));
            let header = traceparent(&trace, "01");
            match api {
                Api::Grpc => call(&service, &rpc, &header).await,
                Api::Http => send(&service, method, &path(template, query), &header).await,
            }
            let spans = collector.until(|spans| has_call(spans, &trace)).await;
            let spans: Vec<Span> = spans.into_iter().filter(|span| span.trace == trace).collect();
            let name = if api == Api::Grpc { rpc.clone() } else { format!("{method} {template}") };
            let [call] = named(&spans, &trace, &name)[..] else { panic!("no {name}: {spans:#?}") };
            let expected = match api {
                Api::Grpc => {
                    vec![("rpc.method", rpc.as_str()), ("rpc.response.status_code", "OK"), ("rpc.system.name", "grpc")]
                }
                Api::Http => vec![
                    ("http.request.method", method),
                    ("http.response.status_code", "200"),
                    ("http.route", template),
                ],
            };
            let expected = expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            assert_eq!(call.attributes, expected);
            check(database.backend, &spans, call);
        }
    }
    service.stop().await;
    let bytes = collector.bytes();
    for private in ["secret", "hillvalley", PHONE, NAME, "127.0.0.1", "SELECT", "pageSize"] {
        let is_there = bytes.windows(private.len()).any(|part| part == private.as_bytes());
        assert!(!is_there, "{private} is in the spans");
    }
}

/// Checks a trace: the span of its caller is above the call, waits and batches are below it, statements below batches.
fn check(backend: Backend, spans: &[Span], call: &Span) {
    assert_eq!((call.kind, call.parent.as_str(), call.state.as_str()), (SpanKind::Server, PARENT, "shop=1"));
    assert!(spans.iter().all(|span| !span.is_error) && call.links.is_empty(), "{spans:#?}");
    let (waits, batches) = (named(spans, &call.trace, "wait"), named(spans, &call.trace, "batch"));
    assert!(!waits.is_empty() && waits.len() <= batches.len(), "{spans:#?}");
    for span in waits.iter().chain(&batches) {
        assert_eq!((span.kind, &span.parent), (SpanKind::Internal, &call.id));
        assert!(["read", "graph"].contains(&span.attribute("identity.lane")), "{span:#?}");
        assert!(call.begun <= span.begun && span.ended <= call.ended, "{spans:#?}");
    }
    for wait in &waits {
        let batch = batches.iter().find(|batch| wait.is_linked_to(batch)).expect("the batch that it waited for");
        assert_eq!((wait.links.len(), wait.attribute("identity.lane")), (1, batch.attribute("identity.lane")));
        assert!(wait.ended <= batch.begun && batch.is_linked_to(call), "{spans:#?}");
    }
    let statements: Vec<_> = spans.iter().filter(|span| span.kind == SpanKind::Client).collect();
    let of_tables = statements.iter().filter(|span| !span.attribute("db.collection.name").is_empty()).count();
    assert!(of_tables > 0, "no statement reads a table: {spans:#?}");
    let system = if backend == Backend::Postgres { "postgresql" } else { backend.name() };
    for statement in &statements {
        let batch = batches.iter().find(|batch| batch.id == statement.parent).expect("a batch");
        assert!(batch.begun <= statement.begun && statement.ended <= batch.ended, "{spans:#?}");
        let known = BTreeSet::from(["db.collection.name", "db.operation.name", "db.system.name"]);
        assert!(statement.attributes.keys().all(|name| known.contains(name.as_str())), "{statement:#?}");
        let [operation, table] = ["db.operation.name", "db.collection.name"].map(|name| statement.attribute(name));
        assert_eq!((statement.attribute("db.system.name"), operation.is_empty()), (system, false));
        assert_eq!(statement.name, format!("{operation} {table}").trim_end());
        assert!(["Contact", "Identifier", ""].contains(&table), "{statement:#?}");
    }
    assert_eq!(spans.len(), 1 + waits.len() + batches.len() + statements.len(), "nothing else: {spans:#?}");
}

/// A path with the name of the identity for its variable.
fn path(template: &str, query: &str) -> String {
    let path = ["{name=identities/*}", "{parent=identities/*}"]
        .iter()
        .fold(template.to_owned(), |path, variable| path.replace(variable, NAME));
    path + query
}

/// Makes a call of the gRPC API with this header, which must succeed.
async fn call(service: &Service, rpc: &str, header: &str) {
    let mut client = client(service);
    let (name, parent) = (NAME.to_owned(), NAME.to_owned());
    match rpc.rsplit_once('/').expect("an RPC").1 {
        "GetIdentity" => {
            let message = pb::GetIdentityRequest { name, read_time: None };
            client.get_identity(traced(message, header)).await.map(drop)
        }
        "LookupIdentities" => {
            let identifiers = vec![identifier(EMAILS[0]), identifier(PHONE)];
            let message = pb::LookupIdentitiesRequest { identifiers, read_time: None };
            client.lookup_identities(traced(message, header)).await.map(drop)
        }
        "ListIdentities" => client.list_identities(traced(Default::default(), header)).await.map(drop),
        "ListContacts" => {
            let message = pb::ListContactsRequest { parent, ..Default::default() };
            client.list_contacts(traced(message, header)).await.map(drop)
        }
        "ListEvidence" => {
            let message = pb::ListEvidenceRequest { parent, ..Default::default() };
            client.list_evidence(traced(message, header)).await.map(drop)
        }
        "ListRevisions" => {
            let message = pb::ListRevisionsRequest { parent, ..Default::default() };
            client.list_revisions(traced(message, header)).await.map(drop)
        }
        "ExplainIdentity" => {
            let between = EMAILS.map(identifier).to_vec();
            let message = pb::ExplainIdentityRequest { between, ..question(NAME) };
            client.explain_identity(traced(message, header)).await.map(drop)
        }
        unknown => panic!("{unknown}"),
    }
    .expect("an answer");
}

fn traced<T>(message: T, header: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("traceparent", header.parse().expect("a value"));
    request.metadata_mut().insert("tracestate", "shop=1".parse().expect("a value"));
    request
}

/// Makes a call of the JSON API with this header, which must succeed.
async fn send(service: &Service, method: &str, path: &str, header: &str) {
    let call = service.caller().request(method.parse().expect("a method"), path);
    let call = call.header("traceparent", header).header("tracestate", "shop=1");
    let values = |identifiers: &[&str]| -> Vec<Value> {
        identifiers.iter().map(|one| identifier(one)).map(|one| json!({"kind": one.kind, "value": one.value})).collect()
    };
    let call = match path {
        "/v1/identities:lookup" => call.json(&json!({ "identifiers": values(&[EMAILS[0], PHONE]) })),
        _ if method == "POST" => call.json(&json!({ "between": values(&EMAILS) })),
        _ => call,
    };
    assert_eq!(send_for_status(call).await, 200, "{path}");
}
