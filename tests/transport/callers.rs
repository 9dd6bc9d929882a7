//! Who may call: tokens, client certificates, scopes, rates, and a file that changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use identity::auth::{CallerEntry, Token, append};
use identity::domain::Outcome;
use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use identity::resolver::Caller;
use tokio_stream::StreamExt;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate as PemCertificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_types::StatusExt;

use crate::certificates::{Authority, Certificate, Files};
use crate::harness::{Script, Server, ServerSettings, rest, until, until_async};
use crate::raw::{H2Client, IDENTIFY, send_late};

const OK: Script = Script::Answer(Outcome::Matched);
const BODY: &str = r#"{"email":"a@b.co"}"#;
pub(crate) const FILE: &str = "callers.toml";

/// A server with a file of callers.
pub(crate) struct Guarded {
    pub(crate) server: Server,
    pub(crate) files: Files,
}

impl Guarded {
    pub(crate) async fn start(text: &str) -> Self {
        Self::with(text, |_, _| {}).await
    }

    pub(crate) async fn with(text: &str, change: impl FnOnce(&mut ServerSettings, &Files)) -> Self {
        Self::running(OK, text, change).await
    }

    pub(crate) async fn running(script: Script, text: &str, change: impl FnOnce(&mut ServerSettings, &Files)) -> Self {
        let files = Files::new();
        let path = files.write(FILE, text);
        let server = Server::with(script, |options| {
            options.fixed.reload_every = Duration::from_millis(10);
            options.settings.access.tokens_file = Some(path);
            change(options, &files);
        })
        .await;
        Self { server, files }
    }

    async fn identify(&self, token: Option<&str>) -> Result<(), Status> {
        identify(&mut self.server.client().await, token).await
    }

    /// Status and answer of a request to the JSON API.
    async fn send(&self, path: &str, token: Option<&str>) -> reqwest::Response {
        let client = reqwest::Client::new();
        let url = self.server.url(path);
        let is_post = path.starts_with("/identify");
        let request = if is_post { client.post(url).body(BODY) } else { client.get(url) };
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap()
    }
}

pub(crate) fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

pub(crate) fn observation() -> pb::IdentifyRequest {
    pb::IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() }
}

pub(crate) async fn identify(client: &mut IdentityServiceClient<Channel>, token: Option<&str>) -> Result<(), Status> {
    client.identify(with_token(observation(), token)).await.map(drop)
}

pub(crate) fn entry(name: &str, token: &Token, rest: &str) -> String {
    format!("[[caller]]\nname = '{name}'\ntoken_sha256 = '{}'\n{rest}\n", token.hash().hex())
}

pub(crate) const MAY_IDENTIFY: &str = "scopes = ['identify']";

pub(crate) fn token() -> Token {
    Token::generate().unwrap()
}

pub(crate) fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_error_details().error_info().unwrap().reason.clone())
}

/// All of a status that a caller sees.
fn seen(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

#[tokio::test]
async fn without_a_valid_token_only_probes_answer() {
    let known = token();
    let guarded = Guarded::start(&entry("checkout", &known, MAY_IDENTIFY)).await;
    let almost = known.expose().replace(|c: char| c.is_ascii_digit(), "a");
    let known = Some(known.expose());
    let stranger = token();
    let channel = guarded.server.channel().await;
    let missing = guarded.identify(None).await.unwrap_err();
    assert_eq!(reason(&missing), (Code::Unauthenticated, "UNAUTHENTICATED".into()));
    for token in [None, Some(stranger.expose()), Some(almost.as_str()), Some("")] {
        // The answer does not tell a missing token from an unknown one.
        let mut client = IdentityServiceClient::new(channel.clone());
        assert_eq!(seen(&identify(&mut client, token).await.unwrap_err()), seen(&missing));
        let batch = pb::BatchIdentifyRequest { requests: vec![observation()] };
        assert_eq!(seen(&client.batch_identify(with_token(batch, token)).await.unwrap_err()), seen(&missing));
        let stream = client.stream_identify(with_token(tokio_stream::empty(), token)).await;
        assert_eq!(seen(&stream.unwrap_err()), seen(&missing));
        let mut reflection = ServerReflectionClient::new(channel.clone());
        let list = reflection.server_reflection_info(with_token(tokio_stream::empty(), token)).await;
        assert_eq!(seen(&list.unwrap_err()), seen(&missing));
        let health = HealthClient::new(channel.clone()).check(with_token(HealthCheckRequest::default(), token)).await;
        health.unwrap();
        for path in ["/identify", "/identify:batch", "/docs/nowhere", "/nowhere"] {
            let answer = guarded.send(path, token).await;
            assert_eq!(
                (answer.status().as_u16(), answer.headers()["www-authenticate"].as_bytes()),
                (401, &b"Bearer"[..])
            );
            let body: serde_json::Value = answer.json().await.unwrap();
            assert_eq!((&body["code"], &body["message"]), (&16.into(), &missing.message().into()), "{path}");
        }
        for path in ["/healthz", "/health", "/readyz", "/docs", "/docs/start.js", "/openapi.json", "/openapi.yaml"] {
            assert_eq!(guarded.send(path, token).await.status(), 200, "{path}");
        }
    }
    guarded.identify(known).await.unwrap();
    for (path, status) in [("/identify", 200), ("/openapi.yaml", 200), ("/nowhere", 404)] {
        assert_eq!(guarded.send(path, known).await.status(), status);
    }
    let items =
        tokio_stream::iter([pb::StreamIdentifyRequest { correlation_id: "c".into(), request: Some(observation()) }]);
    let answers = guarded.server.client().await.stream_identify(with_token(items, known)).await.unwrap().into_inner();
    assert!(answers.collect::<Vec<_>>().await[0].is_ok());
}

/// The answer does not wait for the body, and the body that comes later is no mistake.
#[tokio::test]
async fn a_refused_call_may_send_its_body_late() {
    let guarded = Guarded::start(&entry("checkout", &token(), MAY_IDENTIFY)).await;
    let mut client = H2Client::connect(guarded.server.grpc, 65_535).await;
    let (answer, body) = client.call(IDENTIFY).await;
    assert_eq!(answer.await.unwrap().headers()["grpc-status"], "16");
    send_late(body, &[b"\0\0", b"\0\0\0"]).await;
    let mut client = H2Client::connect(guarded.server.http, 65_535).await;
    for (path, status) in [("/identify", 401), ("/nowhere", 401)] {
        let (answer, body) = client.begin_post(path).await;
        assert_eq!(answer.await.unwrap().status(), status);
        send_late(body, &[b"{", b"}"]).await;
    }
}

#[tokio::test]
async fn without_the_page_the_description_needs_a_caller() {
    let known = token();
    let entry = entry("checkout", &known, MAY_IDENTIFY);
    let guarded = Guarded::with(&entry, |options, _| options.settings.listen.http_docs = false).await;
    for (path, status) in [("/openapi.json", 200), ("/openapi.yaml", 200), ("/docs", 404), ("/docs/start.js", 404)] {
        assert_eq!(guarded.send(path, None).await.status(), 401, "{path}");
        assert_eq!(guarded.send(path, Some(known.expose())).await.status(), status, "{path}");
    }
    assert_eq!(guarded.send("/", None).await.status(), 200);
}

#[tokio::test]
async fn a_caller_without_the_scope_is_refused() {
    let reader = token();
    let guarded = Guarded::start(&entry("reports", &reader, "scopes = ['read', 'metrics']")).await;
    let status = guarded.identify(Some(reader.expose())).await.unwrap_err();
    assert_eq!(reason(&status), (Code::PermissionDenied, "SCOPE_MISSING".into()));
    assert_eq!(status.get_error_details().error_info().unwrap().metadata["scope"], "identify");
    let answer = guarded.send("/identify", Some(reader.expose())).await;
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("SCOPE_MISSING"));
    assert_eq!(guarded.server.resolver.begun.load(Ordering::SeqCst), 0);
    // What needs a known caller alone.
    assert_eq!(guarded.send("/nowhere", Some(reader.expose())).await.status(), 404);
}

#[tokio::test]
async fn a_caller_that_calls_too_often_has_to_wait_and_others_have_not() {
    let (fast, other) = (token(), token());
    let text =
        entry("fast", &fast, "scopes = ['identify']\nrate = 1\nburst = 3") + &entry("other", &other, MAY_IDENTIFY);
    let guarded = Guarded::start(&text).await;
    let fast = Some(fast.expose());
    for _ in 0..3 {
        guarded.identify(fast).await.unwrap();
    }
    let status = guarded.identify(fast).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "RATE_LIMITED".into()));
    let wait = status.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    let answer = guarded.send("/identify", fast).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "1"));
    guarded.identify(Some(other.expose())).await.unwrap();
    assert_eq!(guarded.send("/healthz", fast).await.status(), 200, "a probe");
    tokio::time::sleep(wait).await;
    guarded.identify(fast).await.unwrap();
}

#[tokio::test]
async fn fairness_counts_by_the_caller_and_not_by_its_address() {
    let (one, other) = (token(), token());
    let guarded = Guarded::start(&(entry("one", &one, MAY_IDENTIFY) + &entry("other", &other, MAY_IDENTIFY))).await;
    for token in [&one, &one, &other] {
        guarded.identify(Some(token.expose())).await.unwrap();
        assert_eq!(guarded.send("/identify", Some(token.expose())).await.status(), 200);
    }
    let callers = guarded.server.resolver.callers.lock().unwrap().clone();
    assert!(callers.iter().all(|caller| matches!(caller, Caller::Known(_))), "{callers:?}");
    assert_eq!(callers[..4], [callers[0]; 4]);
    assert_eq!(callers[4], callers[5]);
    assert_ne!(callers[0], callers[4]);
}

/// A gRPC client with a certificate.
pub(crate) async fn certified(
    guarded: &Guarded,
    authority: &Authority,
    client: &Certificate,
) -> IdentityServiceClient<Channel> {
    let tls = ClientTlsConfig::new().ca_certificate(PemCertificate::from_pem(&authority.pem));
    let tls = tls.identity(Identity::from_pem(&client.pem, &client.key));
    let endpoint = Channel::from_shared(format!("https://{}", guarded.server.grpc)).unwrap().tls_config(tls).unwrap();
    IdentityServiceClient::new(endpoint.connect().await.unwrap())
}

#[tokio::test]
async fn a_certificate_names_a_caller_of_the_file() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let names = ["spiffe://shop.example/checkout", "pos.shop.example", "reports"];
    let text = [MAY_IDENTIFY, MAY_IDENTIFY, "scopes = ['read']"];
    let text: String =
        names.iter().zip(text).map(|(name, rest)| format!("[[caller]]\nname = '{name}'\n{rest}\n")).collect();
    let known = token();
    let guarded = Guarded::with(&(text + &entry("by-token", &known, MAY_IDENTIFY)), |options, files| {
        let [cert, key] = files.write_certificate("server", &authority.issue_local());
        let tls = &mut options.settings.tls;
        (tls.tls_cert, tls.tls_key) = (Some(cert), Some(key));
        tls.tls_client_ca = Some(files.write("clients.pem", &clients.pem));
    })
    .await;
    for (names, code) in [
        (&["spiffe://shop.example/checkout"][..], Code::Ok),
        (&["POS.shop.example", "elsewhere.example"], Code::Ok),
        (&["reports"], Code::PermissionDenied),
        (&["spiffe://shop.example/Checkout"], Code::Unauthenticated),
        (&["*.shop.example"], Code::Unauthenticated),
        (&["spiffe://shop.example/checkout", "pos.shop.example"], Code::Unauthenticated),
        (&[], Code::Unauthenticated),
    ] {
        let mut client = certified(&guarded, &authority, &clients.issue(names)).await;
        let code_seen = identify(&mut client, None).await.err().map_or(Code::Ok, |status| status.code());
        assert_eq!(code_seen, code, "{names:?}");
        // A token comes first.
        identify(&mut client, Some(known.expose())).await.unwrap();
        assert_eq!(identify(&mut client, Some("x")).await.unwrap_err().code(), Code::Unauthenticated);
    }
}

#[tokio::test]
async fn a_file_that_is_wrong_changes_nothing_and_is_counted() {
    let known = token();
    let text = entry("checkout", &known, MAY_IDENTIFY);
    let guarded = Guarded::start(&text).await;
    for (failures, wrong) in [&text[..text.len() / 2], "[[caller]]", &text.repeat(2)].into_iter().enumerate() {
        guarded.files.write(FILE, wrong);
        until(|| guarded.server.reloads("tokens")[1] == failures as u64 + 1).await;
        guarded.identify(Some(known.expose())).await.unwrap();
    }
    // A connection that is open learns of a change, too.
    let mut client = guarded.server.client().await;
    identify(&mut client, Some(known.expose())).await.unwrap();
    guarded.files.write(FILE, "");
    until(|| guarded.server.reloads("tokens")[1] == 4).await;
    identify(&mut client, Some(known.expose())).await.unwrap();
    guarded.files.write(FILE, &entry("other", &token(), MAY_IDENTIFY));
    until(|| guarded.server.reloads("tokens")[0] == 1).await;
    assert_eq!(identify(&mut client, Some(known.expose())).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_rotate_fifty_times_under_load_and_no_call_fails() {
    let first = token();
    let guarded = Arc::new(Guarded::start(&entry("checkout", &first, MAY_IDENTIFY)).await);
    let current = Arc::new(std::sync::Mutex::new(first));
    let is_over = Arc::new(AtomicBool::new(false));
    let calls: Arc<[AtomicUsize; 4]> = Arc::default();
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let (guarded, current) = (Arc::clone(&guarded), Arc::clone(&current));
            let (is_over, calls) = (Arc::clone(&is_over), Arc::clone(&calls));
            tokio::spawn(async move {
                let mut client = guarded.server.client().await;
                while !is_over.load(Ordering::Relaxed) {
                    let token = current.lock().unwrap().clone();
                    match number % 2 {
                        0 => identify(&mut client, Some(token.expose())).await.unwrap(),
                        _ => assert_eq!(guarded.send("/identify", Some(token.expose())).await.status(), 200),
                    }
                    calls[number].fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for rotation in 1..=50 {
        // As docs/security.md has it: the new token beside the old one, then the callers, then the old one goes.
        let next = token();
        let path = guarded.files.path(FILE);
        let scopes = "identify".parse().unwrap();
        append(&path, &CallerEntry { name: "checkout".into(), token: Some(next.hash()), scopes, rate: None }).unwrap();
        until(|| guarded.server.reloads("tokens")[0] == 2 * rotation - 1).await;
        *current.lock().unwrap() = next.clone();
        // Every task has made its last call with the old token.
        let before = calls.each_ref().map(|calls| calls.load(Ordering::Relaxed));
        until(|| calls.iter().zip(before).all(|(calls, before)| calls.load(Ordering::Relaxed) >= before + 2)).await;
        guarded.files.write(FILE, &entry("checkout", &next, MAY_IDENTIFY));
        until(|| guarded.server.reloads("tokens")[0] == 2 * rotation).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(guarded.server.reloads("tokens")[1], 0);
}

/// The status and the text of a scrape.
async fn scrape(guarded: &Guarded, token: Option<&str>) -> (u16, String) {
    let request = reqwest::Client::new().get(format!("http://{}/metrics", guarded.server.metrics));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn metrics_need_their_scope_and_know_callers_refusals_and_reloads() {
    let (checkout, prometheus, slow) = (token(), token(), token());
    let text = entry("checkout", &checkout, MAY_IDENTIFY)
        + &entry("prometheus", &prometheus, "scopes = ['metrics']")
        + &entry("slow", &slow, "scopes = ['identify']\nrate = 1");
    let guarded = Guarded::start(&text).await;
    let may_scrape = Some(prometheus.expose());
    for (token, status) in [(None, 401), (Some("x"), 401), (Some(checkout.expose()), 403), (may_scrape, 200)] {
        assert_eq!(scrape(&guarded, token).await.0, status);
    }
    let health = reqwest::get(format!("http://{}/healthz", guarded.server.metrics)).await.unwrap();
    assert_eq!(health.status(), 200, "a probe needs no token");

    guarded.identify(Some(checkout.expose())).await.unwrap();
    assert_eq!(guarded.identify(Some(prometheus.expose())).await.unwrap_err().code(), Code::PermissionDenied);
    guarded.identify(Some(slow.expose())).await.unwrap();
    assert_eq!(guarded.identify(Some(slow.expose())).await.unwrap_err().code(), Code::ResourceExhausted);
    for (token, status) in [(Some(slow.expose()), 429), (None, 401), (may_scrape, 403)] {
        assert_eq!(guarded.send("/identify", token).await.status(), status);
    }
    guarded.identify(None).await.unwrap_err();
    let page_has = async |series: &[&str]| {
        let mut page = String::new();
        for _ in 0..500 {
            page = scrape(&guarded, may_scrape).await.1;
            if series.iter().all(|one| page.lines().any(|line| line == *one)) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {series:?} in {page}");
    };
    page_has(&[
        r#"identity_caller_requests_total{caller="checkout",code="OK"} 1"#,
        r#"identity_caller_requests_total{caller="prometheus",code="PermissionDenied"} 2"#,
        r#"identity_caller_requests_total{caller="slow",code="OK"} 1"#,
        r#"identity_caller_requests_total{caller="slow",code="ResourceExhausted"} 2"#,
        // The scrapes count, too: two without a token that is known, one without the scope.
        r#"identity_auth_failures_total{reason="missing"} 3"#,
        r#"identity_auth_failures_total{reason="unknown_token"} 1"#,
        r#"identity_auth_failures_total{reason="scope"} 3"#,
        r#"identity_shed_total{reason="rate"} 2"#,
        // What is refused is no request to identify.
        r#"identity_items_total{api="grpc",result="ok"} 2"#,
        r#"identity_items_total{api="grpc",result="invalid"} 0"#,
        r#"identity_items_total{api="grpc",result="failed"} 0"#,
        r#"identity_items_total{api="http",result="invalid"} 0"#,
        r#"identity_items_total{api="http",result="failed"} 0"#,
    ])
    .await;

    guarded.files.write(FILE, "not TOML");
    page_has(&[
        r#"identity_config_reloads_total{what="tokens",result="error"} 1"#,
        r#"identity_config_stale{what="tokens"} 1"#,
    ])
    .await;
    guarded.files.write(FILE, &entry("prometheus", &prometheus, "scopes = ['metrics']"));
    let page = page_has(&[
        r#"identity_config_reloads_total{what="tokens",result="ok"} 1"#,
        r#"identity_config_stale{what="tokens"} 0"#,
    ])
    .await;
    assert!(!page.contains(r#"caller="checkout""#), "the file has it no more: {page}");
}

#[tokio::test]
async fn metrics_know_when_the_certificate_expires_and_which_handshakes_fail() {
    let authority = Authority::new();
    let prometheus = token();
    let guarded = Guarded::with(&entry("prometheus", &prometheus, "scopes = ['metrics']"), |options, files| {
        options.fixed.connection.handshake = Duration::from_millis(300);
        let [cert, key] = files.write_certificate("tls", &authority.issue_local());
        (options.settings.tls.tls_cert, options.settings.tls.tls_key) = (Some(cert), Some(key));
    })
    .await;
    // A TCP probe, a client that goes away amid its first message, and one that sends nothing.
    for bytes in [&b""[..], &[22, 3, 1, 0, 200]] {
        let mut probe = tokio::net::TcpStream::connect(guarded.server.grpc).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut probe, bytes).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut probe).await.unwrap();
        rest(&mut probe).await;
    }
    let mut silent = tokio::net::TcpStream::connect(guarded.server.grpc).await.unwrap();
    rest(&mut silent).await;
    let mut plain = tokio::net::TcpStream::connect(guarded.server.grpc).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"no TLS at all\r\n\r\n").await.unwrap();
    let value = |page: &str, series: &str| {
        let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.and_then(|value| value.parse::<f64>().ok()).unwrap_or_default()
    };
    let mut page = String::new();
    for _ in 0..500 {
        page = scrape(&guarded, Some(prometheus.expose())).await.1;
        if value(&page, r#"identity_auth_failures_total{reason="handshake"}"#) == 1.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(value(&page, r#"identity_auth_failures_total{reason="handshake"}"#), 1.0, "{page}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(value(&page, "identity_tls_certificate_expiry_timestamp_seconds") > now, "{page}");
}

#[tokio::test]
async fn readers_of_the_page_without_a_token_take_no_room_of_callers() {
    const BUNDLE: &str = "/docs/swagger-ui-bundle.js";
    let known = token();
    let few = |options: &mut ServerSettings, _: &Files| {
        options.fixed.unsent_bytes = 100_000;
        options.fixed.max_calls = 2;
        options.fixed.max_documents = 8;
    };
    let guarded = Guarded::with(&entry("checkout", &known, MAY_IDENTIFY), few).await;
    let mut stranger = H2Client::connect(guarded.server.http, 1).await;
    let mut slow = Vec::new();
    // One address has three quarters of the places.
    for number in 0..8 {
        // The plain file, of more than a megabyte, and the one with gzip.
        let headers = if number % 2 == 0 { &[][..] } else { &[("accept-encoding", "gzip")] };
        let response = stranger.get(BUNDLE, headers).await;
        assert_eq!(response.status(), if number < 6 { 200 } else { 429 }, "{number}");
        let mut body = response.into_body();
        if number < 6 {
            body.data().await.unwrap().unwrap();
            slow.push(body);
        }
    }
    assert_eq!(slow.len(), 6);
    for path in ["/identify", "/identify:batch"] {
        let response = guarded.send(path, Some(known.expose())).await;
        assert_ne!(response.status(), 429, "{path}");
    }
    guarded.identify(Some(known.expose())).await.unwrap();
    assert_eq!(guarded.send("/healthz", None).await.status(), 200);
    assert_eq!(guarded.send("/docs", None).await.status(), 429);
    drop((slow, stranger));
    until_async(async || guarded.send("/docs", None).await.status() == 200).await;
}
