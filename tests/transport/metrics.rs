use std::time::Duration;

use futures::StreamExt;
use identity::domain::Outcome;
use identity::proto::identity::v1::{BatchIdentifyRequest, IdentifyRequest, StreamIdentifyRequest};
use identity::resolver::{DatabaseState, IdentifyError};
use identity::store::Outage;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Script, Server, until, until_async};
use crate::raw::{H2Client, IDENTIFY};

const OK: Script = Script::Answer(Outcome::Matched);

/// Asks the port of metrics for a path, with these headers.
async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = reqwest::Client::new().get(format!("http://{}{path}", server.metrics));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn scrape(server: &Server) -> String {
    get(server, "/metrics", &[]).await.text().await.unwrap()
}

/// The value of a series, as it is scraped; nothing if it is not there.
fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Waits until these series have these values: a call is counted when HTTP drops its answer.
async fn has(server: &Server, expected: &[(String, f64)]) {
    let mut page = String::new();
    let all = async {
        until_async(async || {
            page = scrape(server).await;
            expected.iter().all(|(series, expected)| value(&page, series) == Some(*expected))
        })
        .await;
    };
    if tokio::time::timeout(Duration::from_secs(5), all).await.is_err() {
        let found: Vec<_> = expected.iter().map(|(series, _)| (series, value(&page, series))).collect();
        panic!("expected {expected:#?}, found {found:#?}");
    }
}

/// The series of a method of the service.
fn grpc(metric: &str, kind: &str, method: &str, more: &str) -> String {
    let service = if method == "unknown" { "unknown" } else { "identity.v1.IdentityService" };
    format!(r#"grpc_server_{metric}{{grpc_type="{kind}",grpc_service="{service}",grpc_method="{method}"{more}}}"#)
}

fn handled(kind: &str, method: &str, code: &str) -> String {
    grpc("handled_total", kind, method, &format!(r#",grpc_code="{code}""#))
}

fn http(method: &str, route: &str, status: u16) -> String {
    let labels = format!(r#"http_request_method="{method}",http_route="{route}""#);
    format!(r#"http_server_request_duration_seconds_count{{{labels},http_response_status_code="{status}"}}"#)
}

fn items(api: &str, result: &str) -> String {
    format!(r#"identity_items_total{{api="{api}",result="{result}"}}"#)
}

fn good() -> IdentifyRequest {
    IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() }
}

fn bad() -> IdentifyRequest {
    IdentifyRequest { email: Some("a@@b.co".into()), ..Default::default() }
}

#[tokio::test]
async fn each_grpc_call_is_counted_with_its_messages_and_items() {
    let server = Server::start(OK).await;
    let mut client = server.client().await;
    client.identify(good()).await.unwrap();
    client.identify(bad()).await.unwrap_err();
    client.batch_identify(BatchIdentifyRequest { requests: vec![good(), bad(), good()] }).await.unwrap();
    let message =
        |request: IdentifyRequest| StreamIdentifyRequest { correlation_id: "1".into(), request: Some(request) };
    let sent = futures::stream::iter([good(), bad(), good(), good()].map(message));
    let answers: Vec<_> = client.stream_identify(sent).await.unwrap().into_inner().collect().await;
    assert_eq!(answers.len(), 4);
    let mut unknown = tonic::client::Grpc::new(server.channel().await);
    for path in ["/identity.v1.IdentityService/Secret", "/a@b.co/c"] {
        unknown.ready().await.unwrap();
        let path = path.parse().unwrap();
        let codec = tonic_prost::ProstCodec::<IdentifyRequest, IdentifyRequest>::default();
        let error = unknown.unary(tonic::Request::new(good()), path, codec).await.unwrap_err();
        assert_eq!(error.code(), Code::Unimplemented);
    }
    has(
        &server,
        &[
            (grpc("started_total", "unary", "Identify", ""), 2.0),
            (handled("unary", "Identify", "OK"), 1.0),
            (handled("unary", "Identify", "InvalidArgument"), 1.0),
            (handled("unary", "Identify", "Canceled"), 0.0),
            (grpc("handling_seconds_count", "unary", "Identify", ""), 2.0),
            (grpc("msg_received_total", "unary", "Identify", ""), 2.0),
            (grpc("msg_sent_total", "unary", "Identify", ""), 1.0),
            (handled("unary", "BatchIdentify", "OK"), 1.0),
            (handled("bidi_stream", "StreamIdentify", "OK"), 1.0),
            (grpc("msg_received_total", "bidi_stream", "StreamIdentify", ""), 4.0),
            (grpc("msg_sent_total", "bidi_stream", "StreamIdentify", ""), 4.0),
            (handled("unary", "unknown", "Unimplemented"), 2.0),
            (items("grpc", "ok"), 1.0 + 2.0 + 3.0),
            (items("grpc", "invalid"), 3.0),
            (items("grpc", "failed"), 0.0),
            (r#"identity_connections{api="grpc"}"#.to_owned(), 2.0),
        ],
    )
    .await;
    let page = scrape(&server).await;
    assert!(!page.contains("Secret") && !page.contains("a@b.co"), "a path is no label: {page}");
    drop((client, unknown));
    has(&server, &[(r#"identity_connections{api="grpc"}"#.to_owned(), 0.0)]).await;
}

#[tokio::test]
async fn each_json_request_is_counted_by_method_route_and_status() {
    let server = Server::start(OK).await;
    let client = reqwest::Client::new();
    let post = async |path: &str, body: &'static str| {
        client.post(server.url(path)).body(body).send().await.unwrap().bytes().await.unwrap();
    };
    post("/identify", r#"{"email":"a@b.co"}"#).await;
    post("/contact/identify/", r#"{"email":"a@b.co"}"#).await;
    post("/identify", "nonsense").await;
    post("/identify:batch", r#"{"requests":[{"email":"a@b.co"},{"email":"@"}]}"#).await;
    post("/a@b.co", "").await;
    for path in ["/identify", "/healthz", "/docs", "/docs/", "/docs?url=x", "/docs/a@b.co"] {
        client.get(server.url(path)).send().await.unwrap().bytes().await.unwrap();
    }
    client.request("BREW".parse().unwrap(), server.url("/identify")).send().await.unwrap();
    let page = client.get(server.url("/docs")).send().await.unwrap();
    let again = client.get(server.url("/docs")).header("if-none-match", &page.headers()["etag"]).send().await.unwrap();
    assert_eq!(again.status(), 304);
    has(
        &server,
        &[
            (http("POST", "/identify", 200), 1.0),
            (http("POST", "/contact/identify", 200), 1.0),
            (http("POST", "/identify", 400), 1.0),
            (http("POST", "/identify:batch", 200), 1.0),
            (http("POST", "unknown", 404), 1.0),
            (http("GET", "/identify", 405), 1.0),
            (http("_OTHER", "/identify", 405), 1.0),
            (http("GET", "/healthz", 200), 1.0),
            (http("GET", "/docs", 200), 4.0),
            (http("GET", "/docs", 304), 1.0),
            (http("GET", "unknown", 404), 1.0),
            ("http_server_active_requests".to_owned(), 0.0),
            (items("http", "ok"), 3.0),
            (items("http", "invalid"), 1.0 + 1.0 + 2.0),
            (items("http", "failed"), 0.0),
        ],
    )
    .await;
    assert!(!scrape(&server).await.contains("a@b.co"));
}

#[tokio::test]
async fn the_items_of_a_stream_are_counted_while_it_is_open() {
    let server = Server::start(OK).await;
    let (send, requests) = tokio::sync::mpsc::unbounded_channel();
    let requests = tokio_stream::wrappers::UnboundedReceiverStream::new(requests);
    let mut answers = server.client().await.stream_identify(requests).await.unwrap().into_inner();
    for _ in 0..3 {
        send.send(StreamIdentifyRequest { correlation_id: "1".into(), request: Some(good()) }).unwrap();
        answers.message().await.unwrap().unwrap();
    }
    has(
        &server,
        &[
            (items("grpc", "ok"), 3.0),
            (grpc("started_total", "bidi_stream", "StreamIdentify", ""), 1.0),
            (handled("bidi_stream", "StreamIdentify", "OK"), 0.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn failures_of_the_service_and_callers_who_go_away_are_counted_apart() {
    let server = Server::start(Script::Fail(IdentifyError::Unavailable)).await;
    server.client().await.identify(good()).await.unwrap_err();
    server.post(r#"{"email":"a@b.co"}"#).await;
    has(
        &server,
        &[
            (handled("unary", "Identify", "Unavailable"), 1.0),
            (http("POST", "/identify", 503), 1.0),
            (items("grpc", "failed"), 1.0),
            (items("http", "failed"), 1.0),
        ],
    )
    .await;

    let server = Server::start(Script::Slow(Duration::from_secs(3_600))).await;
    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.identify(good()).await });
    let url = server.url("/identify");
    let json = tokio::spawn(async move { reqwest::Client::new().post(url).body(r#"{"email":"a@b.co"}"#).send().await });
    server.until_begun(2).await;
    has(&server, &[("http_server_active_requests".to_owned(), 1.0)]).await;
    call.abort();
    json.abort();
    let failed = (items("grpc", "failed"), 0.0);
    let gone = [(handled("unary", "Identify", "Canceled"), 1.0), (http("POST", "/identify", 499), 1.0), failed];
    has(&server, &gone).await;
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_cancelled() {
    let server = Server::start(Script::Large(1_000)).await;
    let mut client = H2Client::connect(server.grpc, 100).await;
    let large = IdentifyRequest { phone_number: Some("0".into()), ..Default::default() };
    let answer = client.unary(IDENTIFY, &large).await;
    drop(answer);
    has(&server, &[(handled("unary", "Identify", "Canceled"), 1.0), (handled("unary", "Identify", "OK"), 0.0)]).await;

    let mut client = H2Client::connect(server.http, 100).await;
    drop(client.post("/identify", r#"{"phoneNumber":"0"}"#).await);
    has(&server, &[(http("POST", "/identify", 499), 1.0), (items("http", "ok"), 0.0)]).await;
    assert_eq!(value(&scrape(&server).await, &http("POST", "/identify", 200)), None);
}

#[tokio::test]
async fn what_is_refused_because_of_load_has_its_reason() {
    let shed = |reason: &str| format!(r#"identity_shed_total{{reason="{reason}"}}"#);
    let server = Server::with(OK, |options| {
        options.fixed.max_calls = 0;
        options.fixed.probe_streams = 0;
    })
    .await;
    server.client().await.identify(good()).await.unwrap_err();
    server.post(r#"{"email":"a@b.co"}"#).await;
    HealthClient::new(server.channel().await).watch(HealthCheckRequest::default()).await.unwrap_err();
    has(&server, &[(shed("calls"), 2.0), (shed("streams"), 1.0), (shed("queue"), 0.0)]).await;

    let server = Server::with(OK, |options| options.settings.limits.max_connections = 1).await;
    let _taken = TcpStream::connect(server.http).await.unwrap();
    server.post(r#"{"email":"a@b.co"}"#).await;
    has(&server, &[(shed("connections"), 1.0)]).await;
}

#[tokio::test]
async fn both_formats_are_served_compressed_if_the_scraper_likes() {
    let server = Server::start(OK).await;
    let plain = get(&server, "/metrics", &[]).await;
    assert_eq!(plain.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = plain.text().await.unwrap();
    assert!(text.contains("# TYPE grpc_server_started_total counter\n") && !text.contains("# EOF"), "{text}");

    let open = get(&server, "/metrics", &[("accept", "application/openmetrics-text;version=1.0.0,*/*;q=0.1")]).await;
    assert_eq!(open.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = open.text().await.unwrap();
    assert!(text.contains("# TYPE grpc_server_started counter\n") && text.ends_with("# EOF\n"), "{text}");

    let compressed = get(&server, "/metrics", &[("accept-encoding", "gzip")]).await;
    assert_eq!(compressed.headers()["content-encoding"], "gzip");
    assert!(compressed.bytes().await.unwrap().len() < text.len() / 4);
    assert_eq!(get(&server, "/identify", &[]).await.status(), 404);
    let posted = reqwest::Client::new().post(format!("http://{}/metrics", server.metrics)).send().await.unwrap();
    assert_eq!(posted.status(), 405);
}

#[tokio::test]
async fn health_is_on_the_port_too_until_the_drain_has_ended() {
    let server = Server::start(Script::Slow(Duration::from_secs(2))).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(&server, path, &[]).await.status(), 200, "{path}");
    }
    server.database.send_replace(DatabaseState::Unusable(Outage::Unreachable));
    assert_eq!(get(&server, "/readyz", &[]).await.status(), 503);
    assert_eq!(get(&server, "/healthz", &[]).await.status(), 200);
    server.database.send_replace(DatabaseState::Usable);

    let mut client = server.client().await;
    let call = tokio::spawn(async move { client.identify(good()).await });
    server.until_begun(1).await;
    server.shutdown.cancel();
    until(|| std::net::TcpStream::connect(server.http).is_err()).await;
    assert_eq!(get(&server, "/readyz", &[]).await.status(), 503);
    assert_eq!(value(&scrape(&server).await, &grpc("started_total", "unary", "Identify", "")), Some(1.0));
    call.await.unwrap().unwrap();
    tokio::time::timeout(Duration::from_secs(5), server.task).await.unwrap().unwrap();
    until(|| std::net::TcpStream::connect(server.metrics).is_err()).await;
}
