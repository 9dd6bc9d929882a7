//! Web pages that call the JSON API.

use std::sync::atomic::Ordering;

use identity::domain::Outcome;
use identity::resolver::IdentifyError;
use reqwest::{Client, Method, Response};
use serde_json::Value;

use crate::harness::{Script, Server, ServerSettings};

const OK: Script = Script::Answer(Outcome::Linked);
const SHOP: &str = "https://shop.example";

fn with_shop(options: &mut ServerSettings) {
    options.settings.listen.http_allowed_origins = SHOP.parse().unwrap();
    options.settings.listen.http_host_names = "identity.example".parse().unwrap();
}

async fn post(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut call = Client::new().post(server.url(path)).body(r#"{"email":"a@b.co"}"#);
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    call.send().await.unwrap()
}

#[tokio::test]
async fn a_page_of_another_site_cannot_write() {
    let server = Server::with(OK, with_shop).await;
    let own = format!("http://{}", server.http);
    for (origin, host) in [
        ("https://evil.example", "rebind.evil.example"),
        ("http://rebind.evil.example", "rebind.evil.example"),
        ("https://evil.example", &own["http://".len()..]),
        ("null", "identity.example"),
        ("http://127.0.0.1:1", &own["http://".len()..]),
        ("http://shop.example", "identity.example"),
    ] {
        for path in ["/identify", "/contact/identify", "/identify:batch", "/nope"] {
            let headers = [("origin", origin), ("host", host), ("content-type", "text/plain")];
            let response = post(&server, path, &headers).await;
            assert_eq!(response.status(), 403, "{origin} {host}");
            assert!(!response.headers().contains_key("access-control-allow-origin"));
            assert!(response.headers().contains_key("x-request-id"));
            let body: Value = response.json().await.unwrap();
            assert_eq!((&body["code"], &body["details"][0]["reason"]), (&7.into(), &"ORIGIN_NOT_ALLOWED".into()));
            assert!(!body.to_string().contains("evil"), "{body}");
        }
    }
    assert_eq!(server.resolver.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn pages_of_the_service_itself_can() {
    let server = Server::with(OK, with_shop).await;
    let own = format!("http://{}", server.http);
    for headers in [
        &[("origin", own.as_str())][..],
        &[("origin", "http://localhost:3000"), ("host", "localhost:3000")],
        &[("origin", "https://identity.example"), ("host", "identity.example")],
    ] {
        assert_eq!(post(&server, "/identify", headers).await.status(), 200, "{headers:?}");
    }
}

#[tokio::test]
async fn a_page_of_the_list_can_read_every_answer() {
    for (script, status) in [(OK, 200), (Script::Fail(IdentifyError::Overloaded), 429), (Script::Panic, 500)] {
        let server = Server::with(script, with_shop).await;
        let response = post(&server, "/identify", &[("origin", SHOP), ("host", "identity.example")]).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["access-control-allow-origin"], SHOP);
        assert_eq!(response.headers()["vary"], "origin");
        let exposed = response.headers()["access-control-expose-headers"].to_str().unwrap();
        for header in ["identity-outcome", "identity-ignored", "identity-truncated", "retry-after", "x-request-id"] {
            assert!(exposed.split(',').any(|one| one == header), "{exposed}");
        }
    }
}

#[tokio::test]
async fn browsers_may_ask_for_pages_of_the_list_before() {
    let server = Server::with(OK, with_shop).await;
    let preflight = async |origin: &str| {
        let call = Client::new().request(Method::OPTIONS, server.url("/identify")).header("origin", origin);
        let call = call.header("access-control-request-method", "POST");
        call.header("access-control-request-headers", "content-type").send().await.unwrap()
    };
    let response = preflight(SHOP).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["access-control-allow-origin"], SHOP);
    assert_eq!(response.headers()["access-control-allow-methods"], "GET,HEAD,POST,PUT,PATCH,DELETE");
    assert_eq!(response.headers()["access-control-allow-headers"], "content-type");
    let response = preflight("https://evil.example").await;
    assert_eq!(response.status(), 403);
    assert!(!response.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn probes_answer_any_page_without_sharing() {
    let server = Server::with(OK, with_shop).await;
    let call = Client::new().get(server.url("/healthz")).header("origin", "https://evil.example");
    let response = call.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn over_http2_the_authority_is_the_host() {
    let server = Server::with(OK, with_shop).await;
    let io = hyper_util::rt::TokioIo::new(tokio::net::TcpStream::connect(server.http).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let own = format!("http://{}", server.http);
    for (origin, status) in [(own.as_str(), 200), ("https://evil.example", 403)] {
        let call = http::Request::post(server.url("/identify")).header("origin", origin);
        let call = call.body(http_body_util::Full::new(bytes::Bytes::from(r#"{"email":"a@b.co"}"#))).unwrap();
        assert_eq!(sender.send_request(call).await.unwrap().status(), status, "{origin}");
    }
}
