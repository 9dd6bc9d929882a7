//! A service that got every kind of call, from callers that may make it and from those that may not.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use identity::auth::Token;
use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::graph_service_client::GraphServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as AlphaClient;

use super::counted::until_all_are_counted;
use crate::certificates::Files;
use crate::graph::{identifier, question};
use crate::harness::{Api, Caller, Event, Service, TestDatabase, send_for_status};

/// A service that got every kind of call, and its metrics after them.
pub(super) struct UsedService {
    pub(super) service: Service,
    pub(super) page: String,
    /// Personal data and secrets that calls had.
    pub(super) private: Vec<String>,
    _files: Files,
}

/// The callers of the service.
struct Callers {
    /// May identify and read.
    checkout: Caller,
    /// May read, once a second.
    hasty: Caller,
    /// May scrape, and nothing else.
    scraper: Caller,
    /// Is not in the file.
    stranger: Caller,
    /// Sends no token.
    anonymous: Caller,
}

const FIRST_PHONE: &str = "4155550101";
const OTHER_PHONE: &str = "4155550103";

impl UsedService {
    pub(super) async fn start(database: &TestDatabase) -> Self {
        let [checkout, hasty, scraper, stranger] = [(); 4].map(|()| Token::generate().expect("random numbers"));
        let entry = |name: &str, token: &Token, rest: &str| {
            format!("[[caller]]\nname = '{name}'\ntoken_sha256 = '{}'\nscopes = {rest}\n", token.hash().hex())
        };
        let entries = [
            entry("checkout", &checkout, "['identify', 'read']"),
            entry("hasty", &hasty, "['read']\nrate = 1\nburst = 1"),
            entry("scraper", &scraper, "['metrics']"),
        ];
        let files = Files::new();
        let path = files.write("callers.toml", &entries.concat());
        let flags = ["--metrics-addr", "127.0.0.1:0", "--tokens-file", path.to_str().expect("UTF-8")];
        let service = Service::start_with(&database.url, &flags).await;
        let callers = Callers {
            checkout: service.caller_with(checkout.expose()),
            hasty: service.caller_with(hasty.expose()),
            scraper: service.caller_with(scraper.expose()),
            stranger: service.caller_with(stranger.expose()),
            anonymous: service.caller(),
        };
        identify(&callers.checkout).await;
        read_the_graph(&callers.checkout).await;
        read_by_json(&callers.checkout).await;
        ask_about_the_service(&callers.checkout).await;
        ask_for_what_is_refused(&callers).await;
        let page = until_all_are_counted(&service, scraper.expose()).await;

        let tokens = [&checkout, &hasty, &scraper, &stranger];
        let secrets = tokens.iter().flat_map(|token| [token.expose().to_owned(), token.hash().hex()]);
        let sent = ["x.de", "batch.de", FIRST_PHONE, OTHER_PHONE, "order-88", "nothing"];
        let private = sent.map(str::to_owned).into_iter().chain(secrets).collect();
        Self { service, page, private, _files: files }
    }
}

/// Requests to identify, in every form and with every outcome.
async fn identify(caller: &Caller) {
    let outcome = async |email, phone| {
        caller.identify(Api::Grpc, email, phone).await.map_or_else(|refusal| panic!("{refusal:?}"), |one| one.outcome)
    };
    assert_eq!(outcome(Some("a@x.de"), Some(FIRST_PHONE)).await, "created");
    assert_eq!(outcome(Some("a@x.de"), Some(FIRST_PHONE)).await, "matched");
    assert_eq!(outcome(Some("b@x.de"), Some(FIRST_PHONE)).await, "linked");
    assert_eq!(outcome(Some("c@x.de"), Some(OTHER_PHONE)).await, "created");
    assert_eq!(outcome(Some("c@x.de"), Some(FIRST_PHONE)).await, "merged");
    caller.identify(Api::Http, Some("a@x.de"), None).await.expect("an answer");
    let events: Vec<_> = (0..10).map(|n| Event { email: Some(format!("{n}@batch.de")), phone: None }).collect();
    for api in Api::BOTH {
        assert!(caller.batch(api, &events).await.expect("answers").iter().all(Result::is_ok));
        caller.identify(api, Some("@"), None).await.expect_err("no address");
    }
    assert!(caller.stream(&events).await.iter().all(Result::is_ok));
    let never = pb::IdentifyRequest {
        email: Some("never@x.de".to_owned()),
        external_ref: "order-88".to_owned(),
        validate_only: true,
        ..Default::default()
    };
    caller.send(Api::Grpc, &never).await.expect("an answer, which is no outcome");
}

/// Each RPC of `GraphService`.
async fn read_the_graph(caller: &Caller) {
    let mut graph = GraphServiceClient::new(caller.connection());
    let name = || "identities/1".to_owned();
    graph.get_identity(pb::GetIdentityRequest { name: name(), read_time: None }).await.expect("an identity");
    let identifiers = ["a@x.de", "unknown@x.de", OTHER_PHONE].map(identifier).to_vec();
    let asked = pb::LookupIdentitiesRequest { identifiers, read_time: None };
    graph.lookup_identities(asked).await.expect("identities");
    graph.list_identities(pb::ListIdentitiesRequest::default()).await.expect("a page");
    graph.list_contacts(pb::ListContactsRequest { parent: name(), ..Default::default() }).await.expect("a page");
    graph.list_evidence(pb::ListEvidenceRequest { parent: name(), ..Default::default() }).await.expect("a page");
    graph.list_revisions(pb::ListRevisionsRequest { parent: name(), ..Default::default() }).await.expect("a page");
    let between = ["a@x.de", "c@x.de"].map(identifier).to_vec();
    let asked = pb::ExplainIdentityRequest { between, ..question("identities/1") };
    graph.explain_identity(asked).await.expect("an explanation");
}

/// The same by JSON, and a request by the other path of `Identify`.
async fn read_by_json(caller: &Caller) {
    for path in ["/v1/identities/1", "/v1/identities?pageSize=1"] {
        assert_eq!(caller.get(path).await, 200, "{path}");
    }
    for list in ["contacts", "evidence", "revisions"] {
        assert_eq!(caller.get(&format!("/v1/identities/1/{list}")).await, 200, "{list}");
    }
    for (path, body) in [
        ("/v1/identities:lookup", r#"{"identifiers": [{"kind": "email", "value": "unknown@x.de"}]}"#),
        ("/v1/identities/1:explain", "{}"),
        ("/contact/identify", r#"{"email": "a@x.de", "validateOnly": true}"#),
    ] {
        assert_eq!(post(caller, path, "application/json", body).await, 200, "{path}");
    }
}

/// Probes, reflection and pages.
async fn ask_about_the_service(caller: &Caller) {
    let mut health = HealthClient::new(caller.connection());
    health.check(HealthCheckRequest::default()).await.expect("an answer");
    let mut watch = health.watch(HealthCheckRequest::default()).await.expect("a stream").into_inner();
    watch.message().await.expect("no error").expect("the state");
    drop(watch);
    let mut reflection = ServerReflectionClient::new(caller.connection());
    let stream = reflection.server_reflection_info(stream::empty()).await.expect("a stream");
    assert_eq!(stream.into_inner().count().await, 0);
    let mut reflection = AlphaClient::new(caller.connection());
    let stream = reflection.server_reflection_info(stream::empty()).await.expect("a stream");
    assert_eq!(stream.into_inner().count().await, 0);

    for path in ["/", "/healthz", "/health", "/readyz", "/openapi.yaml"] {
        assert_eq!(caller.get(path).await, 200, "{path}");
    }
    for path in ["/docs", "/graph", "/openapi.json"] {
        let first = caller.request(Method::GET, path).send().await.expect("an answer");
        let tag = first.headers()[ETAG].clone();
        assert_eq!((first.status().as_u16(), first.bytes().await.expect("a body").is_empty()), (200, false), "{path}");
        assert_eq!(send_for_status(caller.request(Method::GET, path).header(IF_NONE_MATCH, tag)).await, 304, "{path}");
    }
}

/// Calls that are refused: for their form, for what they ask for, and for who makes them.
async fn ask_for_what_is_refused(callers: &Callers) {
    let Callers { checkout, hasty, scraper, stranger, anonymous } = callers;
    for path in ["/nothing/a@x.de?phone=4155550101", "/v1/identities/999999"] {
        assert_eq!(checkout.get(path).await, 404, "{path}");
    }
    for (content_type, body, refused) in [
        ("application/json", r#"{"email": "a@x.de"#, 400),
        ("application/x-www-form-urlencoded", "email=a%40x.de", 415),
    ] {
        for path in ["/identify", "/identify:batch", "/v1/identities:lookup"] {
            assert_eq!(post(checkout, path, content_type, body).await, refused, "{path}");
        }
    }
    assert_eq!(send_for_status(checkout.request(Method::DELETE, "/identify")).await, 405);
    // A service of another program.
    let request = ExportTraceServiceRequest::default();
    let unknown = TraceServiceClient::new(checkout.connection()).export(request).await;
    assert_eq!(unknown.expect_err("no such service").code(), Code::Unimplemented);

    for (caller, code) in
        [(anonymous, Code::Unauthenticated), (stranger, Code::Unauthenticated), (scraper, Code::PermissionDenied)]
    {
        for api in Api::BOTH {
            let refusal = caller.identify(api, Some("a@x.de"), Some(FIRST_PHONE)).await.expect_err("refused");
            assert_eq!(refusal.code, code, "{api:?}");
        }
        let request = pb::GetIdentityRequest { name: "identities/1".to_owned(), read_time: None };
        let refusal = GraphServiceClient::new(caller.connection()).get_identity(request).await;
        assert_eq!(refusal.expect_err("refused").code(), code);
        let refused = if code == Code::Unauthenticated { 401 } else { 403 };
        assert_eq!(caller.get("/v1/identities/1").await, refused);
    }
    let begun = Instant::now();
    while hasty.get("/v1/identities/1").await != 429 {
        assert!(begun.elapsed() < Duration::from_secs(60), "its rate is no limit");
    }
}

async fn post(caller: &Caller, path: &str, content_type: &str, body: &'static str) -> u16 {
    send_for_status(caller.request(Method::POST, path).header(CONTENT_TYPE, content_type).body(body)).await
}
