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
async fn the_alias_and_odd_content_types_work() {
    let server = Server::start(OK).await;
    for (path, content_type) in
        [("/contact/identify", "application/json"), ("/identify", "text/plain; charset=utf-8"), ("/identify?x=1", "x")]
    {
        let call =
            Client::new().post(server.url(path)).header("content-type", content_type).body(r#"{"email":"a@b.co"}"#);
        assert_eq!(call.send().await.unwrap().status(), 200);
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
    for path in
        ["/", "/identify/", "/identify:", "/identify:all", "/nope", "/identity.v1.IdentityService/Identify", "/%ff"]
    {
        assert_eq!(refused(call(Method::POST, path).await).await, refusal(404, 5, "PATH_UNKNOWN"), "{path}");
    }
    for (method, path, allow) in [
        (Method::GET, "/identify", "POST"),
        (Method::DELETE, "/contact/identify", "POST"),
        (Method::GET, "/identify:batch", "POST"),
        (Method::POST, "/healthz", "GET,HEAD"),
        (Method::PUT, "/readyz", "GET,HEAD"),
    ] {
        let response = call(method, path).await;
        assert_eq!(response.headers()["allow"], allow);
        assert_eq!(refused(response).await, refusal(405, 12, "HTTP_METHOD_NOT_ALLOWED"));
    }
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
