//! Traces of the real service, as a collector gets them.

mod collector;
mod graph;

use std::collections::BTreeSet;

use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use identity::proto::identity::v1::{IdentifyRequest, StreamIdentifyRequest};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Request;

use crate::harness::{Api, Backend, Collector, Event, Proxy, Service, Span, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): a_trace_arrives_whole);
    register!(suite.on(&Backend::SERVERS): an_outage_is_in_the_spans);
    register!(suite.on(&[Backend::Sqlite]):
        requests_of_a_shared_batch_find_each_other,
        a_batch_is_one_call_and_a_stream_another,
        a_stream_does_not_make_a_trace_without_end,
        callers_decide_and_malformed_parents_do_not,
        a_failed_statement_is_an_error,
        no_identifier_is_in_a_span,
    );
    collector::register(suite);
    graph::register(suite);
}

const IDENTIFY: &str = "identity.v1.IdentityService/Identify";

/// The span of a caller.
const PARENT: &str = "b7ad6b7169203331";

/// A new id of a trace.
fn new_trace() -> String {
    format!("{:032x}", fastrand::u128(1..))
}

/// The header of a caller's trace.
fn traceparent(trace: &str, flags: &str) -> String {
    format!("00-{trace}-{PARENT}-{flags}")
}

/// A service that sends its traces to a collector.
async fn start(database: &TestDatabase, ratio: &str) -> (Service, Collector) {
    let collector = Collector::start().await;
    let flags = ["--otlp-endpoint", &collector.url(), "--trace-sample-ratio", ratio];
    (Service::start_with(&database.url, &flags).await, collector)
}

/// Sends a request with this header, which must succeed.
async fn identify(service: &Service, api: Api, header: &str, email: &str) {
    match api {
        Api::Grpc => {
            let mut client =
                IdentityServiceClient::connect(format!("http://{}", service.grpc)).await.expect("connected");
            let mut request = Request::new(IdentifyRequest { email: Some(email.to_owned()), ..Default::default() });
            request.metadata_mut().insert("traceparent", header.parse().expect("a value"));
            request.metadata_mut().insert("tracestate", "shop=1".parse().expect("a value"));
            client.identify(request).await.expect("an answer");
        }
        Api::Http => {
            let call = reqwest::Client::new().post(format!("http://{}/identify", service.http));
            let call = call.header("traceparent", header).header("tracestate", "shop=1");
            let answer = call.body(json!({ "email": email }).to_string()).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
        }
    }
}

/// The spans of a trace with this name.
fn named<'a>(spans: &'a [Span], trace: &str, name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.trace == trace && span.name == name).collect()
}

/// Whether the span of a call is there: the last one of its trace.
fn has_call(spans: &[Span], trace: &str) -> bool {
    spans.iter().any(|span| span.trace == trace && span.kind == SpanKind::Server)
}

async fn a_trace_arrives_whole(database: TestDatabase) {
    let (service, collector) = start(&database, "0").await;
    for api in Api::BOTH {
        let trace = new_trace();
        identify(&service, api, &traceparent(&trace, "01"), &format!("{api:?}@hillvalley.edu")).await;
        let spans = collector.until(|spans| has_call(spans, &trace)).await;
        let spans: Vec<Span> = spans.into_iter().filter(|span| span.trace == trace).collect();

        let name = if api == Api::Grpc { IDENTIFY } else { "POST /identify" };
        let [call] = named(&spans, &trace, name)[..] else { panic!("{spans:#?}") };
        assert_eq!((call.kind, call.parent.as_str(), call.state.as_str()), (SpanKind::Server, PARENT, "shop=1"));
        let expected = match api {
            Api::Grpc => [
                ("identity.outcome", "created"),
                ("rpc.method", IDENTIFY),
                ("rpc.response.status_code", "OK"),
                ("rpc.system.name", "grpc"),
            ],
            Api::Http => [
                ("http.request.method", "POST"),
                ("http.response.status_code", "200"),
                ("http.route", "/identify"),
                ("identity.outcome", "created"),
            ],
        };
        assert_eq!(call.attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert!(!call.is_error && call.links.is_empty());

        // A look-up, and a transaction: for each the wait for it, and its operations.
        let (waits, batches) = (named(&spans, &trace, "wait"), named(&spans, &trace, "batch"));
        let lanes = |spans: &[&Span]| spans.iter().map(|span| span.attribute("identity.lane").to_owned()).collect();
        let both = BTreeSet::from(["read".to_owned(), "write".to_owned()]);
        assert_eq!((lanes(&waits), lanes(&batches)), (both.clone(), both), "{spans:#?}");
        assert_eq!((waits.len(), batches.len()), (2, 2));
        for (wait, batch) in waits.iter().flat_map(|wait| batches.iter().map(move |batch| (wait, batch))) {
            assert_eq!((wait.kind, batch.kind), (SpanKind::Internal, SpanKind::Internal));
            assert_eq!((&wait.parent, &batch.parent), (&call.id, &call.id));
            assert!(batch.is_linked_to(call) && batch.attribute("identity.batch.size") == "1", "{batch:#?}");
            let is_its_own = wait.attribute("identity.lane") == batch.attribute("identity.lane");
            assert_eq!((wait.is_linked_to(batch), wait.links.len()), (is_its_own, 1));
            assert!(wait.begun <= wait.ended && (!is_its_own || wait.ended <= batch.begun), "{spans:#?}");
        }
        let mut operations = BTreeSet::new();
        for statement in spans.iter().filter(|span| span.kind == SpanKind::Client) {
            let batch = batches.iter().find(|batch| batch.id == statement.parent).expect("a batch");
            assert!(batch.begun <= statement.begun && statement.ended <= batch.ended, "{spans:#?}");
            let system = if database.backend == Backend::Postgres { "postgresql" } else { database.backend.name() };
            assert_eq!(statement.attribute("db.system.name"), system);
            let known = ["db.collection.name", "db.operation.name", "db.system.name"];
            assert!(statement.attributes.keys().all(|name| known.contains(&name.as_str())), "{statement:#?}");
            let operation = statement.attribute("db.operation.name");
            operations.insert((batch.attribute("identity.lane"), operation, statement.attribute("db.collection.name")));
        }
        for expected in [("read", "look_up", "Identifier"), ("write", "write", "Contact")] {
            assert!(operations.contains(&expected), "{operations:?}");
        }
        assert!(operations.iter().any(|(lane, operation, _)| (*lane, *operation) == ("write", "commit")));
        let statements = spans.iter().filter(|span| span.kind == SpanKind::Client).count();
        assert_eq!(spans.len(), 1 + 2 + 2 + statements, "nothing else: {spans:#?}");
    }
    service.stop().await;
}

async fn requests_of_a_shared_batch_find_each_other(database: TestDatabase) {
    let (service, collector) = start(&database, "0").await;
    // Until two requests that came at the same time have shared a batch.
    for round in 0..20 {
        let traces: Vec<_> = (0..40).map(|_| new_trace()).collect();
        let call = |(number, trace): (usize, &String)| {
            let (header, email) = (traceparent(trace, "01"), format!("{round}-{number}@hillvalley.edu"));
            let service = &service;
            async move { identify(service, Api::Http, &header, &email).await }
        };
        futures::future::join_all(traces.iter().enumerate().map(call)).await;
        let spans = collector.until(|spans| traces.iter().all(|trace| has_call(spans, trace))).await;
        let Some(batch) = spans.iter().find(|span| span.name == "batch" && span.links.len() > 1) else { continue };
        assert_eq!(batch.attribute("identity.batch.size"), batch.links.len().to_string(), "all of them are sampled");
        for (trace, id) in &batch.links {
            let call = spans.iter().find(|span| span.id == *id).expect("the call");
            assert_eq!((&call.trace, call.kind), (trace, SpanKind::Server));
            let lane = batch.attribute("identity.lane");
            let waits = named(&spans, trace, "wait");
            let wait = waits.iter().find(|wait| wait.attribute("identity.lane") == lane).expect("a wait");
            assert!(wait.is_linked_to(batch) && wait.parent == call.id, "{wait:#?}");
        }
        let parent = &batch.links[0];
        assert_eq!((&batch.trace, &batch.parent), (&parent.0, &parent.1), "it is in the trace of the first one");
        return service.stop().await;
    }
    panic!("no two requests have shared a batch");
}

async fn a_batch_is_one_call_and_a_stream_another(database: TestDatabase) {
    let (service, collector) = start(&database, "1").await;
    let events: Vec<_> = (0..300).map(|number| Event::of(&format!("{number}@hillvalley.edu"), "")).collect();
    let is_call = |span: &&Span| span.kind == SpanKind::Server;
    let calls = |spans: &[Span]| spans.iter().filter(is_call).count();
    for (number, name) in ["BatchIdentify", "StreamIdentify"].into_iter().enumerate() {
        match number {
            0 => assert!(service.caller().batch(Api::Grpc, &events).await.expect("answers").iter().all(Result::is_ok)),
            _ => assert!(service.caller().stream(&events).await.iter().all(Result::is_ok)),
        }
        let spans = collector.until(|spans| calls(spans) == number + 1).await;
        let name = format!("identity.v1.IdentityService/{name}");
        let call = spans.iter().find(|span| span.name == name).expect("its call");
        assert_eq!((call.attribute("identity.items"), call.attribute("identity.item_errors")), ("300", "0"));
        assert_eq!((call.parent.as_str(), call.attribute("identity.is_truncated")), ("", ""));
        let batches = named(&spans, &call.trace, "batch");
        let waits = named(&spans, &call.trace, "wait");
        assert!(batches.len() >= 2 && waits.len() <= batches.len(), "{} {}", batches.len(), waits.len());
        for batch in &batches {
            assert_eq!((&batch.parent, batch.links.len()), (&call.id, 1), "one link for all items of a call");
            assert!(batch.is_linked_to(call));
        }
        let sizes =
            batches.iter().map(|batch| batch.attribute("identity.batch.size").parse::<usize>().expect("a size"));
        assert!(sizes.sum::<usize>() >= 300);
    }
    service.stop().await;
}

async fn a_stream_does_not_make_a_trace_without_end(database: TestDatabase) {
    let (service, collector) = start(&database, "1").await;
    let mut client = IdentityServiceClient::connect(format!("http://{}", service.grpc)).await.expect("connected");
    let (send, items) = mpsc::unbounded_channel();
    let answers = client.stream_identify(UnboundedReceiverStream::new(items)).await.expect("a stream");
    let mut answers = answers.into_inner();
    for number in 0..100 {
        let request = IdentifyRequest { email: Some("doc@hillvalley.edu".to_owned()), ..Default::default() };
        send.send(StreamIdentifyRequest { correlation_id: number.to_string(), request: Some(request) }).expect("open");
        answers.message().await.expect("no error").expect("an answer");
    }
    drop(send);
    assert!(answers.message().await.expect("no error").is_none());
    let spans = collector.until(|spans| spans.iter().any(|span| span.kind == SpanKind::Server)).await;
    let call = spans.iter().find(|span| span.kind == SpanKind::Server).expect("there is one");
    assert_eq!((call.attribute("identity.items"), call.attribute("identity.is_truncated")), ("100", "true"));
    assert_eq!(named(&spans, &call.trace, "batch").len(), 64);
    service.stop().await;
}

async fn callers_decide_and_malformed_parents_do_not(database: TestDatabase) {
    let (service, collector) = start(&database, "1").await;
    let (unsampled, sampled) = (new_trace(), new_trace());
    for api in Api::BOTH {
        identify(&service, api, &traceparent(&unsampled, "00"), "doc@hillvalley.edu").await;
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(service.caller().get(path).await, 200);
    }
    identify(&service, Api::Grpc, &traceparent(&sampled, "01"), "doc@hillvalley.edu").await;
    let spans = collector.until(|spans| has_call(spans, &sampled)).await;
    assert!(spans.iter().all(|span| span.trace == sampled), "the trace of a caller, and no other: {spans:#?}");

    for (number, malformed) in ["00-0-0-01", "", &traceparent(&"0".repeat(32), "01")].into_iter().enumerate() {
        identify(&service, Api::BOTH[number % 2], malformed, "doc@hillvalley.edu").await;
        let is_new = |span: &&Span| span.kind == SpanKind::Server && span.trace != sampled;
        let spans = collector.until(|spans| spans.iter().filter(is_new).count() == number + 1).await;
        assert!(spans.iter().filter(is_new).all(|span| span.parent.is_empty() && span.state.is_empty()), "{spans:#?}");
    }
    service.stop().await;

    let (service, collector) = start(&database, "0").await;
    identify(&service, Api::Http, "", "doc@hillvalley.edu").await;
    identify(&service, Api::Http, &traceparent(&sampled, "01"), "doc@hillvalley.edu").await;
    let spans = collector.until(|spans| has_call(spans, &sampled)).await;
    assert!(spans.iter().all(|span| span.trace == sampled), "{spans:#?}");
    service.stop().await;
}

/// The table is gone, which the database says.
async fn a_failed_statement_is_an_error(database: TestDatabase) {
    let (service, collector) = start(&database, "1").await;
    crate::harness::execute(&database.raw().await, r#"ALTER TABLE "Identifier" RENAME TO "Elsewhere""#).await;
    service.caller().identify(Api::Http, Some("doc@hillvalley.edu"), None).await.expect_err("no table");
    let spans = collector.until(|spans| spans.iter().any(|span| span.kind == SpanKind::Server)).await;
    let call = spans.iter().find(|span| span.kind == SpanKind::Server).expect("there is one");
    assert!(call.is_error && call.attribute("error.type").starts_with('5'), "{call:#?}");
    let failed: Vec<_> = spans.iter().filter(|span| span.is_error && span.trace == call.trace).collect();
    let kind = |name: &str| {
        let span =
            failed.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no failed {name}: {spans:#?}"));
        span.attribute("error.type")
    };
    assert_eq!(kind("batch"), kind("look_up Identifier"));
    assert!(!kind("batch").is_empty());
    service.stop().await;
}

/// Also where no statement is sent, because no server is there.
async fn an_outage_is_in_the_spans(database: TestDatabase) {
    let (proxy, collector) = (Proxy::start(&database.url).await, Collector::start().await);
    let flags = ["--otlp-endpoint", &collector.url(), "--trace-sample-ratio", "1", "--database-timeout", "1s"];
    let service = Service::start_with(&proxy.url, &flags).await;
    proxy.down();
    for number in 0..3 {
        let email = format!("{number}@hillvalley.edu");
        service.caller().identify(Api::Http, Some(&email), None).await.expect_err("no database");
    }
    let calls = |spans: &[Span]| spans.iter().filter(|span| span.kind == SpanKind::Server).count();
    let spans = collector.until(|spans| calls(spans) == 3).await;
    let batches: Vec<_> = spans.iter().filter(|span| span.name == "batch").collect();
    assert!(!batches.is_empty(), "{spans:#?}");
    for batch in batches {
        let failed = spans.iter().find(|span| span.parent == batch.id && span.is_error);
        let failed = failed.unwrap_or_else(|| panic!("no failed operation of {batch:?}: {spans:#?}"));
        assert_eq!(failed.attribute("error.type"), batch.attribute("error.type"));
    }
    proxy.up();
    service.stop().await;
}

async fn no_identifier_is_in_a_span(database: TestDatabase) {
    let (service, collector) = start(&database, "1").await;
    let caller = service.caller();
    let events: Vec<_> =
        (0..5).map(|n| Event::of(&format!("secret{n}@hillvalley.edu"), &format!("55501{n}"))).collect();
    for api in Api::BOTH {
        caller.identify(api, Some("secret@hillvalley.edu"), Some("555010")).await.expect("an answer");
        caller.identify(api, Some("secret"), Some("555010")).await.expect_err("malformed");
        caller.batch(api, &events).await.expect("answers");
    }
    caller.stream(&events).await;
    assert_eq!(caller.get("/secret@hillvalley.edu?phone=555010").await, 404);
    let call = reqwest::Client::new().post(format!("http://{}/identify", service.http));
    let call =
        call.header("x-request-id", "secret-555010").header("user-agent", "secret").body(r#"{"phoneNumber":"555011"}"#);
    assert_eq!(call.send().await.expect("an answer").status(), 200);
    let spans = collector.until(|spans| spans.iter().filter(|span| span.kind == SpanKind::Server).count() == 9).await;
    assert!(spans.len() > 30, "{}", spans.len());
    service.stop().await;
    let bytes = collector.bytes();
    for personal in ["secret", "hillvalley", "55501", "127.0.0.1", "SELECT", "INSERT"] {
        let is_there = bytes.windows(personal.len()).any(|part| part == personal.as_bytes());
        assert!(!is_there, "{personal} is in the spans");
    }
    let unknown = spans.iter().find(|span| span.attribute("http.response.status_code") == "404").expect("the unknown");
    assert_eq!((unknown.name.as_str(), unknown.attribute("http.route")), ("GET", ""));
}
