//! Server streams.

use std::sync::atomic::Ordering;
use std::time::Duration;

use identity::transport::http::JsonService;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Served;
use crate::callers::{FILE, Guarded, MAY_IDENTIFY, entry, token};
use crate::forms::{SCOPED_DESCRIPTORS, Scoped};
use crate::harness::until;

#[tokio::test]
async fn a_stream_is_a_line_for_each_answer() {
    let served = Served::start().await;
    let lines = async |query: &str| {
        let response = served.send("GET", &format!("/v1/shelves:watch{query}"), "").await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"application/x-ndjson".parse().unwrap())
        );
        let text = response.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let result = |count: u32| json!({"result": {"tags": [], "count": count.to_string(), "seen": ""}});
    assert_eq!(lines("?pageSize=3").await, [result(1), result(2), result(3)]);
    assert!(lines("").await.is_empty());
    let failed = lines("?pageSize=1&name=fail").await;
    assert_eq!((failed.len(), &failed[0]), (2, &result(1)));
    assert_eq!(
        (&failed[1]["error"]["code"], &failed[1]["error"]["message"]),
        (&json!(14), &json!("the shelf is broken"))
    );
    assert_eq!(failed[1]["error"]["details"].as_array().unwrap().len(), 4);
    let refused = served.send("GET", "/v1/shelves:watch?name=refused", "").await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["content-type"]),
        (400, &"application/json".parse().unwrap())
    );
}

/// The lines of an open stream until its end, which must be soon.
async fn rest(response: Response) -> Vec<Value> {
    let text = timeout(Duration::from_secs(5), response.text()).await.unwrap().unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Code and reason of a line.
fn error(line: &Value) -> (i64, &str) {
    let mut details = line["error"]["details"].as_array().unwrap().iter();
    (line["error"]["code"].as_i64().unwrap(), details.find_map(|detail| detail["reason"].as_str()).unwrap())
}

#[tokio::test]
async fn an_open_stream_ends_at_its_deadline() {
    let served = Served::start().await;
    let call = Client::new().get(served.server.url("/v1/shelves:watch?pageSize=1&name=wait"));
    let lines = rest(call.header("grpc-timeout", "200m").send().await.unwrap()).await;
    assert_eq!((lines.len(), error(&lines[1])), (2, (4, "DEADLINE_EXCEEDED")));
    until(|| served.forms.dropped.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn an_open_stream_ends_when_the_service_shuts_down() {
    let served = Served::start().await;
    let mut stream = served.send("GET", "/v1/shelves:watch?pageSize=1&name=wait", "").await;
    stream.chunk().await.unwrap().unwrap();
    served.server.shutdown.cancel();
    let lines = rest(stream).await;
    assert_eq!((lines.len(), error(&lines[0])), (1, (14, "SHUTTING_DOWN")));
    // The drain waits for nothing else.
    timeout(Duration::from_secs(5), served.server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_open_stream_ends_when_its_caller_loses_the_scope() {
    let (caller, other) = (token(), token());
    let json = JsonService::new(Scoped, SCOPED_DESCRIPTORS).unwrap();
    let text = entry("reader", &caller, MAY_IDENTIFY);
    let guarded = Guarded::with(&text, |options, _| options.json = vec![json]).await;
    let call = Client::new().get(guarded.server.url("/v1/scoped/7")).bearer_auth(caller.expose());
    let mut stream = call.header("x-stream", "open").send().await.unwrap();
    assert!(stream.chunk().await.unwrap().unwrap().starts_with(br#"{"result":"#));
    guarded.files.write(FILE, &entry("other", &other, MAY_IDENTIFY));
    let lines = rest(stream).await;
    assert_eq!((lines.len(), error(&lines[0])), (1, (16, "UNAUTHENTICATED")));
}

#[tokio::test]
async fn the_rpc_is_dropped_when_its_client_goes_away_or_its_deadline_passes() {
    let served = Served::start().await;
    let dropped = || served.forms.dropped.load(Ordering::SeqCst);
    let mut stream = served.send("GET", "/v1/shelves:watch?pageSize=1&name=wait", "").await;
    assert!(stream.chunk().await.unwrap().unwrap().starts_with(br#"{"result":"#));
    assert_eq!(dropped(), 0);
    drop(stream);
    until(|| dropped() == 1).await;
    let slow = Client::new().get(served.server.url("/v1/shelves/slow"));
    assert!(slow.timeout(Duration::from_millis(50)).send().await.is_err());
    until(|| dropped() == 2).await;
    let late = Client::new().get(served.server.url("/v1/shelves/slow")).header("grpc-timeout", "50m");
    let late = late.send().await.unwrap();
    assert_eq!(late.status(), 504);
    until(|| dropped() == 3).await;
}
