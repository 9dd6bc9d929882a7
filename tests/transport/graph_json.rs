//! `GraphService` over JSON: what each call passes, and the answers that only HTTP has. `tests/it/graph/` has the rest.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flate2::Compression;
use flate2::read::GzEncoder;
use futures::future::join_all;
use identity::domain::Outcome;
use identity::metrics::ScrapeFormat;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::instrument::WithSubscriber;

use crate::callers::{Guarded, entry, token};
use crate::harness::{Script, Server, until};
use crate::log::collect;

const OK: Script = Script::Answer(Outcome::Matched);

/// The path of each call.
const PATHS: [&str; 7] = [
    "/v1/identities/1",
    "/v1/identities:lookup",
    "/v1/identities",
    "/v1/identities/1/contacts",
    "/v1/identities/1/evidence",
    "/v1/identities/1/revisions",
    "/v1/identities/1:explain",
];

const LOOK_UP: &str = r#"{"identifiers": [{"kind": "email", "value": "a@b.co"}]}"#;

/// A call with the method of its path, and a body that fits.
fn call(server: &Server, path: &str) -> RequestBuilder {
    let url = server.url(path);
    match path {
        _ if path.contains(":lookup") => Client::new().post(url).body(LOOK_UP),
        _ if path.contains(":explain") => Client::new().post(url).body("{}"),
        _ => Client::new().get(url),
    }
}

/// The status of each call, with this token.
async fn all(server: &Server, token: Option<&str>) -> Vec<u16> {
    let mut found = Vec::new();
    for path in PATHS {
        let call = call(server, path);
        let call = match token {
            Some(token) => call.bearer_auth(token),
            None => call,
        };
        found.push(call.send().await.unwrap().status().as_u16());
    }
    found
}

/// The HTTP status and the reason of an error; and its shape is checked.
async fn refused(response: Response) -> (u16, String) {
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.headers().contains_key("x-request-id"));
    let status = response.status().as_u16();
    let error: Value = response.json().await.unwrap();
    assert_eq!(error["details"][0]["@type"], "type.googleapis.com/google.rpc.ErrorInfo", "{error}");
    assert_eq!(error["details"][0]["domain"], "identity.v1");
    (status, error["details"][0]["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn each_call_needs_the_scope_read_and_a_place_in_the_queue() {
    for (scope, status) in [("read", 200), ("identify", 403)] {
        let reader = token();
        let guarded = Guarded::start(&entry("one", &reader, &format!("scopes = ['{scope}']"))).await;
        assert_eq!(all(&guarded.server, Some(reader.expose())).await, [status; 7]);
        assert_eq!(all(&guarded.server, None).await, [401; 7]);
        let wrong = Client::new().post(guarded.server.url(PATHS[0])).send().await.unwrap();
        assert_eq!(wrong.status(), 401, "only known callers learn which methods a path has");
    }
    let full = Server::start(Script::Full).await;
    assert_eq!(all(&full, None).await, [429; 7]);
    let head = Client::new().head(full.url(PATHS[0])).send().await.unwrap();
    assert_eq!(head.status(), 429);
    let slow = Server::with(Script::Slow(Duration::from_secs(60)), |options| {
        options.settings.limits.request_timeout = Duration::from_millis(50);
    });
    assert_eq!(all(&slow.await, None).await, [504; 7]);
}

#[tokio::test]
async fn a_caller_beyond_its_rate_is_refused() {
    let reader = token();
    let guarded = Guarded::start(&entry("one", &reader, "scopes = ['read']\nrate = 1\nburst = 1")).await;
    let calls = (0..4).flat_map(|_| PATHS).map(|path| call(&guarded.server, path).bearer_auth(reader.expose()).send());
    let mut statuses = [0, 0];
    for response in join_all(calls).await {
        let response = response.unwrap();
        let is_refused = response.status() == 429;
        assert!(is_refused || response.status() == 200);
        assert_eq!(response.headers().contains_key("retry-after"), is_refused);
        statuses[usize::from(is_refused)] += 1;
    }
    assert!(statuses[0] >= 1 && statuses[1] >= 1, "{statuses:?}");
}

#[tokio::test]
async fn the_timeout_header_is_honoured() {
    let server = Server::start(Script::Slow(Duration::from_secs(60))).await;
    for path in PATHS {
        for (timeout, expected) in [("30m", (504, "DEADLINE_EXCEEDED")), ("soon", (400, "TIMEOUT_MALFORMED"))] {
            let response = call(&server, path).header("grpc-timeout", timeout).send().await.unwrap();
            assert_eq!(refused(response).await, (expected.0, expected.1.to_owned()), "{path}");
        }
    }
}

#[tokio::test]
async fn paths_have_the_spellings_that_clients_send() {
    let server = Server::start(OK).await;
    for path in [
        "/v1/identities/1/",
        "/v1/identities/%31",
        "/v1/%69dentities/1",
        "/v1/identities%3Alookup",
        "/v1/identities:lookup/",
        "/v1/identities/1/contacts/",
        "/v1/identities/1:explain/",
        "/v1/identities?page_size=1",
        "/v1/identities?pageSize=1&",
        "/v1/identities/1?readTime=1970-01-01T00:00:00.001Z",
        "/v1/identities/23",
    ] {
        let is_look_up = path.contains("lookup");
        let call = if is_look_up { Client::new().post(server.url(path)).body(LOOK_UP) } else { call(&server, path) };
        assert_eq!(call.send().await.unwrap().status(), 200, "{path}");
    }
    let (get, head) = (call(&server, PATHS[0]), Client::new().head(server.url(PATHS[0])));
    let (get, head) = (get.send().await.unwrap(), head.send().await.unwrap());
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"], get.headers()["content-length"]);
    assert!(get.text().await.unwrap().len() > 100 && head.text().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_the_shape() {
    let server = Server::start(OK).await;
    let send = async |method: Method, path: &str| {
        let call = Client::new().request(method, server.url(path)).body("{}");
        call.send().await.unwrap()
    };
    for path in [
        "/v1",
        "/v1/",
        "/v1/identities//",
        "/v1/identities//contacts",
        "/v1//identities/1",
        "/v1/identities%2F1",
        "/v1/identities/1/2",
        "/v1/identities:other",
        "/v2/identities/1",
    ] {
        assert_eq!(refused(send(Method::GET, path).await).await, (404, "PATH_UNKNOWN".to_owned()), "{path}");
    }
    for (method, path, allow) in [
        (Method::POST, PATHS[0], "GET,HEAD"),
        (Method::DELETE, PATHS[0], "GET,HEAD"),
        (Method::GET, PATHS[1], "POST"),
        (Method::POST, PATHS[2], "GET,HEAD"),
        (Method::PUT, PATHS[3], "GET,HEAD"),
        (Method::GET, PATHS[6], "POST"),
    ] {
        let response = send(method, path).await;
        assert_eq!(response.headers()["allow"], allow, "{path}");
        assert_eq!(refused(response).await, (405, "HTTP_METHOD_NOT_ALLOWED".to_owned()));
    }
    for path in ["/v1/identities/2", "/v1/identities/9007199254740993", "/v1/identities/2/contacts"] {
        let response = send(Method::GET, path).await;
        assert_eq!(refused(response).await, (404, "IDENTITY_UNKNOWN".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn errors_name_fields_as_json_does() {
    let server = Server::start(OK).await;
    for (path, body, reason, field) in [
        ("/v1/identities?pageSize=-1", None, "PAGE_SIZE_INVALID", "pageSize"),
        ("/v1/identities?page_token=x", None, "PAGE_TOKEN_INVALID", "pageToken"),
        ("/v1/identities/1/contacts?pageSize=-1", None, "PAGE_SIZE_INVALID", "pageSize"),
        ("/v1/identities?page_size=x", None, "REQUEST_MALFORMED", "pageSize"),
        ("/v1/identities?pageSize=2147483648", None, "REQUEST_MALFORMED", "pageSize"),
        ("/v1/identities?orderBy=a", None, "REQUEST_MALFORMED", "orderBy"),
        ("/v1/identities/1?readTime=soon", None, "REQUEST_MALFORMED", "readTime"),
        ("/v1/identities/1?read_time=2999-01-01T00:00:00Z", None, "READ_TIME_INVALID", "readTime"),
        ("/v1/identities/1:explain", Some(json!({"without_evidence": ["x"]})), "NAME_INVALID", "withoutEvidence[0]"),
        (
            "/v1/identities/1:explain",
            Some(json!({"withoutIdentifiers": [{"kind": "email", "value": "secret"}]})),
            "IDENTIFIER_INVALID",
            "withoutIdentifiers[0].value",
        ),
        (
            "/v1/identities:lookup",
            Some(json!({"identifiers": [{"kind": "phone", "value": "1"}, {"kind": "secret", "value": "1"}]})),
            "IDENTIFIER_INVALID",
            "identifiers[1].kind",
        ),
        (
            "/v1/identities:lookup",
            Some(json!({"identifiers": [{"kind": "phone", "value": 1}]})),
            "REQUEST_MALFORMED",
            "identifiers[0].value",
        ),
    ] {
        let call = match body {
            Some(body) => Client::new().post(server.url(path)).json(&body),
            None => Client::new().get(server.url(path)),
        };
        let response = call.send().await.unwrap();
        assert_eq!(response.status(), 400, "{path}");
        let error: Value = response.json().await.unwrap();
        let details = &error["details"];
        assert_eq!((&details[0]["reason"], &details[0]["metadata"]["fields"]), (&json!(reason), &json!(field)));
        assert_eq!(details[1]["fieldViolations"][0]["field"], field);
        assert!(error["message"].as_str().unwrap().starts_with(&format!("{field} ")), "{error}");
        let text = error.to_string();
        assert!(!text.replace(reason, "").contains('_'), "a name of the proto: {text}");
        assert!(!text.contains("secret"));
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused() {
    let server = Server::start(OK).await;
    let post = |body: Vec<u8>| Client::new().post(server.url(PATHS[1])).body(body);
    let xml = post(b"<a/>".to_vec()).header("content-type", "application/xml").send().await.unwrap();
    assert_eq!(refused(xml).await, (415, "CONTENT_TYPE_UNKNOWN".to_owned()));
    let brotli = post(LOOK_UP.into()).header("content-encoding", "br").send().await.unwrap();
    assert_eq!(refused(brotli).await, (415, "ENCODING_UNKNOWN".to_owned()));
    for body in ["", "[]", "null", "{", r#"{"identifiers":[]} x"#, "\u{feff}[]"] {
        let response = post(body.into()).send().await.unwrap();
        let (status, reason) = refused(response).await;
        assert!(status == 400 && ["REQUEST_MALFORMED", "IDENTIFIER_MISSING"].contains(&&reason[..]), "{body} {reason}");
    }
}

#[tokio::test]
async fn a_look_up_may_be_as_large_as_a_batch() {
    let server = Server::start(OK).await;
    let identifiers: Vec<_> = (0..1_000).map(|n| format!(r#"{{"kind":"email","value":"{n:0>240}@b.co"}}"#)).collect();
    let body = format!(r#"{{"identifiers":[{}]}}"#, identifiers.join(","));
    let post = |body: String| Client::new().post(server.url(PATHS[1])).body(body).send();
    assert_eq!(post(body.clone()).await.unwrap().status(), 200);
    let padded = format!("{body}{}", " ".repeat(3_000_000));
    assert_eq!(refused(post(padded).await.unwrap()).await, (413, "REQUEST_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn a_body_may_be_compressed() {
    let server = Server::start(OK).await;
    let mut body = Vec::new();
    GzEncoder::new(LOOK_UP.as_bytes(), Compression::fast()).read_to_end(&mut body).unwrap();
    let call = Client::new().post(server.url(PATHS[1])).header("content-encoding", "gzip").body(body);
    let response = call.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["identities"][0]["primaryContactId"], "1");
}

#[tokio::test]
async fn pages_of_other_sites_may_not_send_and_cannot_read() {
    let server = Server::with(OK, |options| {
        options.settings.listen.http_allowed_origins = "https://shop.example".parse().unwrap();
    })
    .await;
    for path in PATHS {
        let evil = call(&server, path).header("origin", "https://evil.example").send().await.unwrap();
        assert_eq!(evil.status(), 403, "{path}");
        assert!(!evil.headers().contains_key("access-control-allow-origin"), "{path}");
        let shop = call(&server, path).header("origin", "https://shop.example").send().await.unwrap();
        assert_eq!(
            (shop.status().as_u16(), &shop.headers()["access-control-allow-origin"]),
            (200, &"https://shop.example".parse().unwrap())
        );
        // Its owner gave this name the address of the service (DNS rebinding). A page of it names no origin by GET.
        let rebound = call(&server, path).header("host", "rebind.evil.example").send().await.unwrap();
        let is_get = !path.contains(':');
        assert_eq!(rebound.status(), if is_get { 403 } else { 200 }, "{path}");
        let own = call(&server, path).send().await.unwrap();
        assert_eq!((own.status().as_u16(), &own.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
    }
    let public = Client::new().get(server.url("/healthz")).header("host", "rebind.evil.example").send().await.unwrap();
    assert_eq!(public.status(), 200);
}

/// One thread, so that the subscriber of this test sees the tasks of the server, and only them.
#[test]
fn a_call_is_logged_and_counted_by_its_template() {
    let (lines, _guard) = collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(
        async {
            let server = Server::start(OK).await;
            for path in ["/v1/identities/23?readTime=1970-01-01T00:00:00.000777Z", "/v1/identities/doc", PATHS[6]] {
                call(&server, path).send().await.unwrap();
            }
            let look_up = Client::new().post(server.url(PATHS[1]));
            look_up.body(r#"{"identifiers":[{"kind":"email","value":"doc@b.co"}]}"#).send().await.unwrap();
            until(|| lines.with_message("call").len() == 4).await;
            let page = server.counted.scrape(ScrapeFormat::Text);
            for (method, route, status) in [
                ("GET", "/v1/{name=identities/*}", 200),
                ("GET", "/v1/{name=identities/*}", 400),
                ("POST", "/v1/{name=identities/*}:explain", 200),
                ("POST", "/v1/identities:lookup", 200),
            ] {
                let labels = format!(
                    r#"http_request_method="{method}",http_route="{route}",http_response_status_code="{status}""#
                );
                assert!(page.contains(&labels), "{labels}");
            }
            assert!(!page.contains("doc") && !page.contains("identities/23"));
        }
        .with_current_subscriber(),
    );
    let log = lines.text();
    assert!(!log.contains("doc") && !log.contains("identities/23") && !log.contains("000777"), "{log}");
    let calls = lines.with_message("call");
    let field = |call: &Value, name: &str| call["fields"][name].as_str().unwrap_or_default().to_owned();
    let logged: Vec<_> = calls
        .iter()
        .map(|call| ["rpc.method", "http.route", "rpc.response.status_code"].map(|name| field(call, name)))
        .collect();
    let of =
        |rpc: &str, route: &str, code: &str| [format!("identity.v1.GraphService/{rpc}"), route.into(), code.into()];
    assert_eq!(
        logged,
        [
            of("GetIdentity", "/v1/{name=identities/*}", "OK"),
            of("GetIdentity", "/v1/{name=identities/*}", "INVALID_ARGUMENT"),
            of("ExplainIdentity", "/v1/{name=identities/*}:explain", "OK"),
            of("LookupIdentities", "/v1/identities:lookup", "OK"),
        ]
    );
}

#[tokio::test]
async fn calls_under_way_finish_when_the_service_shuts_down() {
    let server = Server::start(Script::Slow(Duration::from_millis(400))).await;
    let calls: Vec<_> = PATHS.map(|path| tokio::spawn(call(&server, path).send())).into();
    server.until_begun(PATHS.len()).await;
    server.shutdown.cancel();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
    }
    assert_eq!(server.resolver.dropped.load(Ordering::SeqCst), 0);
    timeout(Duration::from_secs(10), server.task).await.unwrap().unwrap();
}
