//! Answers and errors of unary RPCs.

use reqwest::Client;
use serde_json::{Value, json};

use super::Served;

#[tokio::test]
async fn a_part_of_the_response_can_be_the_answer() {
    let served = Served::start().await;
    let explained = served.send("POST", "/v1/shelves/7:explain", "{}").await.text().await.unwrap();
    assert!(explained.starts_with(r#"{"name":"shelves/7","parent":"","id":"0","pageSize":0,"tags":[]"#), "{explained}");
    assert!(!explained.contains("since") && !explained.contains("hint"), "{explained}");
    for (body, expected) in [(r#"["a","b"]"#, r#"["a","b"]"#), ("[]", "[]"), ("", "[]"), ("null", "[]")] {
        assert_eq!(served.send("POST", "/v1/tags", body).await.text().await.unwrap(), expected, "{body}");
    }
    let (named, status, _) = served.refused("POST", "/v1/tags", r#"{"secret":1}"#).await;
    assert_eq!((&named[..], status), ("tags", 400));
    assert_eq!(served.send("GET", "/v1/count", "").await.text().await.unwrap(), "\"9223372036854775807\"");
}

#[tokio::test]
async fn an_error_of_the_rpc_comes_with_all_its_details() {
    let served = Served::start().await;
    let response = served.send("GET", "/v1/shelves/fail", "").await;
    assert_eq!(response.status(), 400);
    let error: Value = response.json().await.unwrap();
    let expected = json!({
        "code": 9,
        "message": "the shelf is broken",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "SHELF_BROKEN", "domain": "forms.v1", "metadata": {"shelf": "7"},
            },
            {
                "@type": "type.googleapis.com/google.rpc.PreconditionFailure",
                "violations": [
                    {"type": "BOARD", "subject": "shelves/7", "description": "a board is missing"},
                ],
            },
            {"@type": "type.googleapis.com/forms.v1.Shelf", "boards": "7"},
        ],
    });
    let sorted = |error: &Value| {
        let mut details = error["details"].as_array().unwrap().clone();
        details.sort_by_key(|detail| detail["@type"].to_string());
        (error["code"].clone(), error["message"].clone(), details)
    };
    assert_eq!(sorted(&error), sorted(&expected));
    let busy = served.send("GET", "/v1/shelves/busy", "").await;
    assert_eq!((busy.status().as_u16(), &busy.headers()["retry-after"]), (503, &"3".parse().unwrap()));
    let panicked = served.send("GET", "/v1/shelves/panic", "").await;
    assert_eq!(panicked.status(), 500);
    assert!(!panicked.text().await.unwrap().contains("doc"));
}

/// Only tonic fails without details. What it cannot read is what the gateway made.
#[tokio::test]
async fn a_failure_without_details_is_never_the_callers_fault() {
    let served = Served::start().await;
    for (name, status, code, reason) in [
        ("internal", 500, 13, json!("INTERNAL")),
        ("unknown", 500, 13, json!("INTERNAL")),
        ("range", 400, 11, Value::Null),
        ("exhausted", 429, 8, Value::Null),
        ("unimplemented", 501, 12, Value::Null),
    ] {
        let response = served.send("GET", &format!("/v1/shelves/{name}"), "").await;
        let found = response.status().as_u16();
        let error: Value = response.json().await.unwrap();
        assert_eq!((found, &error["code"]), (status, &json!(code)), "{name}");
        assert_eq!(error["details"][0]["reason"], reason, "{name}");
        assert_eq!(error["message"].as_str().unwrap().contains("of tonic"), status != 500, "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_whole_is_an_error() {
    let served = Served::start().await;
    for (fault, status) in [("none", 200), ("no-status", 500), ("two-messages", 500), ("no-message", 500)] {
        let call = Client::new().get(served.server.url("/v1/shelves/7")).header("x-fault", fault);
        let response = call.send().await.unwrap();
        assert_eq!(response.status(), status, "{fault}");
        let text = response.text().await.unwrap();
        assert_eq!(text.contains(r#""reason":"INTERNAL""#), status == 500, "{fault} {text}");
    }
}

#[tokio::test]
async fn the_metadata_are_the_headers() {
    let served = Served::start().await;
    let call = Client::new().get(served.server.url("/v1/shelves/7")).header("x-test", "till-7");
    let answer: Value = call.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["seen"], "till-7");
}
