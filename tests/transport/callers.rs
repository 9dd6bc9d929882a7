//! Who may call: tokens, client certificates, scopes and rates.

use std::sync::atomic::Ordering;
use std::time::Duration;

use identity::auth::Token;
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
use crate::harness::{Script, Server, ServerSettings, until_async};
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

    pub(crate) async fn identify(&self, token: Option<&str>) -> Result<(), Status> {
        identify(&mut self.server.client().await, token).await
    }

    /// Status and answer of a request to the JSON API.
    pub(crate) async fn send(&self, path: &str, token: Option<&str>) -> reqwest::Response {
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
