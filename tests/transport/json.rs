use std::time::Duration;

use identity::domain::Outcome;
use identity::resolver::{DatabaseState, IdentifyError};
use identity::settings::Spelling;
use identity::store::Outage;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::harness::{Script, Server};

const OK: Script = Script::Answer(Outcome::Linked);

async fn status_and_body(response: Response) -> (u16, Value) {
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.headers().contains_key("x-request-id"));
    (response.status().as_u16(), response.json().await.unwrap())
}

/// The answer's status, code and reason; and its shape is checked.
async fn refused(response: Response) -> (u16, i64, String) {
    let (status, body) = status_and_body(response).await;
    assert!(!body["message"].as_str().unwrap().is_empty());
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    let info = &body["details"][0];
    assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo");
    assert_eq!(info["domain"], "identity.v1");
    (status, body["code"].as_i64().unwrap(), info["reason"].as_str().unwrap().to_owned())
}

fn refusal(status: u16, code: i64, reason: &str) -> (u16, i64, String) {
    (status, code, reason.to_owned())
}

#[tokio::test]
async fn the_answer_is_exactly_the_contact() {
    for (outcome, name) in [
        (Outcome::Created, "created"),
        (Outcome::Matched, "matched"),
        (Outcome::Linked, "linked"),
        (Outcome::Merged, "merged"),
    ] {
        let server = Server::start(Script::Answer(outcome)).await;
        let response = server.post(r#"{"email":"doc@hillvalley.edu","phoneNumber":123456}"#).await;
        assert_eq!(response.headers()["identity-outcome"], name);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(
            response.text().await.unwrap(),
            concat!(
                r#"{"contact":{"primaryContactId":1,"emails":["doc@hillvalley.edu","mcfly@hillvalley.edu"],"#,
                r#""phoneNumbers":["123456"],"secondaryContactIds":[23]}}"#
            )
        );
    }
}

#[tokio::test]
async fn the_first_field_is_spelled_as_set() {
    for (spelling, first) in [
        (Spelling::Legacy, r#"{"contact":{"primaryContatctId":1,"emails""#),
        (Spelling::Both, r#"{"contact":{"primaryContactId":1,"primaryContatctId":1,"emails""#),
    ] {
        let server = Server::with(OK, |options| options.settings.identify.primary_id_field = spelling).await;
        let body = server.post(r#"{"phone_number":"1"}"#).await.text().await.unwrap();
        assert!(body.starts_with(first), "{body}");
    }
}

#[tokio::test]
async fn every_spelling_of_a_path_works() {
    let server = Server::start(OK).await;
    for path in ["/identify", "/contact/identify", "/identify?x=1", "/identify/", "/contact/identify/"] {
        let call = Client::new().post(server.url(path)).body(r#"{"email":"a@b.co"}"#).send().await.unwrap();
        assert_eq!(call.status(), 200, "{path}");
    }
    for path in ["/identify:batch", "/identify%3Abatch", "/identify%3abatch", "/identify:batch/", "/identify%3Abatch/"]
    {
        let call = Client::new().post(server.url(path)).body(r#"{"requests":[{"email":"a@b.co"}]}"#);
        assert_eq!(call.send().await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_by_its_content_type_is_415() {
    let server = Server::start(OK).await;
    let call = async |path: &str, content_type: &str, body: &'static str| {
        let call = Client::new().post(server.url(path)).header("content-type", content_type).body(body);
        call.send().await.unwrap()
    };
    for json in ["application/json", "text/plain; charset=utf-8", "application/vnd.shop+json", "text/json"] {
        assert_eq!(call("/identify", json, r#"{"email":"a@b.co"}"#).await.status(), 200, "{json}");
    }
    for (content_type, body) in [
        ("application/x-www-form-urlencoded", "email=a%40b.co&phoneNumber=1"),
        ("application/x-www-form-urlencoded", r#"{"email":"a@b.co"}"#),
        ("multipart/form-data; boundary=x", "--x\r\n\r\n--x--"),
        ("application/xml", "<email>a@b.co</email>"),
    ] {
        for path in ["/identify", "/contact/identify", "/identify:batch"] {
            let response = call(path, content_type, body).await;
            assert_eq!(response.headers()["accept"], "application/json");
            assert_eq!(refused(response).await, refusal(415, 3, "CONTENT_TYPE_UNKNOWN"), "{content_type}");
        }
    }
    assert_eq!(server.resolver.begun.load(std::sync::atomic::Ordering::SeqCst), 4);
}

#[tokio::test]
async fn the_number_0_is_no_phone_number() {
    let server = Server::start(OK).await;
    let missing = server.post(r#"{"phoneNumber":0}"#).await;
    assert_eq!(refused(missing).await, refusal(400, 3, "IDENTIFIER_MISSING"));
    let (_, answer) = status_and_body(server.post(r#"{"email":"a@b.co","phoneNumber":0}"#).await).await;
    assert_eq!(answer["contact"]["phoneNumbers"], json!([]));
}

#[tokio::test]
async fn the_root_says_what_this_is() {
    let server = Server::start(OK).await;
    let (status, about) = status_and_body(reqwest::get(server.url("/")).await.unwrap()).await;
    assert_eq!(status, 200);
    assert_eq!(about["name"], "identity");
    assert_eq!(about["version"], env!("CARGO_PKG_VERSION"));
    let documentation = reqwest::get(server.url(about["documentation"].as_str().unwrap())).await.unwrap();
    assert_eq!(documentation.headers()["content-type"], "text/html; charset=utf-8");
    assert!(documentation.text().await.unwrap().starts_with("<!doctype html>"));
}

#[tokio::test]
async fn the_probes_have_short_names_and_take_head() {
    let server = Server::start(OK).await;
    for path in ["/healthz", "/health", "/healthz/", "/health/", "/readyz", "/readyz/"] {
        let (status, body) = status_and_body(reqwest::get(server.url(path)).await.unwrap()).await;
        assert_eq!((status, body), (200, json!({"status": "ok"})), "{path}");
    }
    for path in ["/", "/healthz", "/health", "/readyz"] {
        assert_eq!(Client::new().head(server.url(path)).send().await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_ignored() {
    let server = Server::start(OK).await;
    assert_eq!(server.post("\u{feff}{\"email\":\"a@b.co\"}").await.status(), 200);
}

#[tokio::test]
async fn bad_input_names_its_fields_as_json_does() {
    let server = Server::start(OK).await;
    let (status, body) = status_and_body(server.post(r#"{"email":"nobody","phoneNumber":"call me"}"#).await).await;
    assert_eq!((status, &body["code"]), (400, &json!(3)));
    assert_eq!(body["details"][0]["metadata"]["fields"], "email,phoneNumber");
    assert_eq!(body["details"][1]["@type"], "type.googleapis.com/google.rpc.BadRequest");
    let violations = body["details"][1]["fieldViolations"].as_array().unwrap();
    assert_eq!(violations.iter().map(|v| v["field"].as_str().unwrap()).collect::<Vec<_>>(), ["email", "phoneNumber"]);
    assert!(!body.to_string().contains("nobody"));

    for (body, reason) in [
        ("{}", "IDENTIFIER_MISSING"),
        (r#"{"email":null,"phoneNumber":" "}"#, "IDENTIFIER_MISSING"),
        (r#"{"phoneNumber":-1}"#, "IDENTIFIER_INVALID"),
        (r#"{"phoneNumber":1,"phone_number":1}"#, "IDENTIFIER_INVALID"),
        ("", "REQUEST_MALFORMED"),
        ("[]", "REQUEST_MALFORMED"),
        (r#"{"email":"a@b.co","email":"a@b.co"}"#, "REQUEST_MALFORMED"),
        (r#"{"email":"#, "REQUEST_MALFORMED"),
    ] {
        assert_eq!(refused(server.post(body).await).await, refusal(400, 3, reason), "{body}");
    }
}

#[tokio::test]
async fn every_failure_of_the_resolver_has_its_status() {
    for (script, expected, retry_after, delay) in [
        (Script::Fail(IdentifyError::Overloaded), refusal(429, 8, "OVERLOADED"), Some("1"), json!("0.500s")),
        (Script::Fail(IdentifyError::Unavailable), refusal(503, 14, "DATABASE_UNAVAILABLE"), Some("1"), json!("1s")),
        (Script::Fail(IdentifyError::DeadlineExceeded), refusal(504, 4, "DEADLINE_EXCEEDED"), None, Value::Null),
        (Script::Fail(IdentifyError::Internal), refusal(500, 13, "INTERNAL"), None, Value::Null),
        (Script::Panic, refusal(500, 13, "INTERNAL"), None, Value::Null),
    ] {
        let server = Server::start(script).await;
        let body = r#"{"email":"a@b.co"}"#;
        let response = server.post(body).await;
        assert_eq!(response.headers().get("retry-after").map(|value| value.to_str().unwrap()), retry_after);
        assert_eq!(refused(response).await, expected);
        let (_, body) = status_and_body(server.post(body).await).await;
        assert_eq!(body["details"][1]["retryDelay"], delay);
    }
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_have_the_shape() {
    let server = Server::start(OK).await;
    let call = async |method: Method, path: &str| Client::new().request(method, server.url(path)).send().await.unwrap();
    for path in ["/identify//", "/identify:", "/identify:all", "/nope", "/identity.v1.IdentityService/Identify", "/%ff"]
    {
        assert_eq!(refused(call(Method::POST, path).await).await, refusal(404, 5, "PATH_UNKNOWN"), "{path}");
    }
    for (method, path, allow) in [
        (Method::GET, "/identify", "POST"),
        (Method::DELETE, "/contact/identify", "POST"),
        (Method::GET, "/identify/", "POST"),
        (Method::OPTIONS, "/identify", "POST"),
        (Method::GET, "/identify:batch", "POST"),
        (Method::GET, "/identify%3Abatch", "POST"),
        (Method::POST, "/", "GET,HEAD"),
        (Method::POST, "/health", "GET,HEAD"),
        (Method::POST, "/healthz", "GET,HEAD"),
        (Method::PUT, "/readyz", "GET,HEAD"),
    ] {
        let response = call(method, path).await;
        assert_eq!(response.headers()["allow"], allow);
        assert_eq!(refused(response).await, refusal(405, 12, "HTTP_METHOD_NOT_ALLOWED"));
    }
    let head = call(Method::HEAD, "/identify").await;
    assert_eq!((head.status().as_u16(), &head.headers()["allow"]), (405, &"POST".parse().unwrap()));
}

#[tokio::test]
async fn a_body_over_the_limit_is_413() {
    let server = Server::start(OK).await;
    for size in [64 * 1024 + 1, 1_000_000, 20_000_000] {
        assert_eq!(refused(server.post("x".repeat(size)).await).await, refusal(413, 3, "REQUEST_TOO_LARGE"), "{size}");
    }
    let padded = format!(r#"{{"email":"a@b.co"{}}}"#, " ".repeat(64 * 1024 - 19));
    assert_eq!(server.post(padded).await.status(), 200);
}

#[tokio::test]
async fn the_timeout_header_is_honoured() {
    let server = Server::start(Script::Slow(Duration::from_secs(60))).await;
    let call = async |timeout| {
        let call = Client::new().post(server.url("/identify")).header("Grpc-Timeout", timeout);
        call.body(r#"{"email":"a@b.co"}"#).send().await.unwrap()
    };
    assert_eq!(refused(call("50m").await).await, refusal(504, 4, "DEADLINE_EXCEEDED"));
    assert_eq!(refused(call("soon").await).await, refusal(400, 3, "TIMEOUT_MALFORMED"));
}

#[tokio::test]
async fn readyz_refuses_in_the_shape() {
    let server = Server::start(OK).await;
    server.database.send_replace(DatabaseState::Unusable(Outage::Unreachable));
    let response = reqwest::get(server.url("/readyz")).await.unwrap();
    assert_eq!(refused(response).await, refusal(503, 14, "NOT_READY"));
}

#[tokio::test]
async fn the_request_id_comes_back() {
    let server = Server::start(OK).await;
    let id = async |id: &str| {
        let call = Client::new().get(server.url("/nope")).header("x-request-id", id).send().await.unwrap();
        call.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(id("till-7").await, "till-7");
    assert_eq!(id("doc@hillvalley.edu").await.len(), 36);
}
