//! The gateway, over a service with every form of an http rule (`forms.proto`).

mod answers;
mod bodies;
mod calls;
mod paths;
mod streams;

use identity::domain::Outcome;
use identity::transport::http::JsonService;
use reqwest::{Client, Method, Response};
use serde_json::{Map, Value, json};

use crate::forms::{DESCRIPTORS, Forms};
use crate::harness::{Script, Server};

struct Served {
    server: Server,
    forms: Forms,
}

impl Served {
    async fn start() -> Self {
        let forms = Forms::default();
        let json = JsonService::new(forms.clone(), DESCRIPTORS).unwrap();
        let server = Server::with(Script::Answer(Outcome::Matched), |options| options.json = vec![json]).await;
        Self { server, forms }
    }

    async fn send(&self, method: &str, path: &str, body: impl Into<reqwest::Body>) -> Response {
        let method: Method = method.parse().unwrap();
        Client::new().request(method, self.server.url(path)).body(body).send().await.unwrap()
    }

    /// What the RPC was asked, with every field that JSON writes.
    async fn asked(&self, method: &str, path: &str, body: &str) -> Value {
        let response = self.send(method, path, body.to_owned()).await;
        let status = response.status();
        let mut answer: Value = response.json().await.unwrap();
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        answer["form"].take()
    }

    /// The field that is wrong, the HTTP status and the message.
    async fn refused(&self, method: &str, path: &str, body: &str) -> (String, u16, String) {
        let response = self.send(method, path, body.to_owned()).await;
        assert_eq!(response.headers()["content-type"], "application/json");
        let status = response.status().as_u16();
        let error: Value = response.json().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        assert!(!error.to_string().contains("secret"), "{error}");
        (text(&error["details"][1]["fieldViolations"][0]["field"]), status, text(&error["message"]))
    }
}

/// The JSON of a `Form` with these fields: those at their default are written too, unless they are messages, `optional`
/// or of a oneof.
fn form(fields: Value) -> Value {
    let defaults = json!({
        "name": "", "parent": "", "id": "0", "pageSize": 0, "tags": [], "genre": "GENRE_UNSPECIFIED", "genres": [],
        "data": "", "ratio": 0.0, "deep": false, "counts": {}, "books": [], "times": [], "share": 0.0, "numbers": [],
        "marks": {},
    });
    with(defaults, fields)
}

/// The JSON of a `Book`.
fn book(fields: Value) -> Value {
    with(json!({"name": "", "title": ""}), fields)
}

fn with(mut all: Value, fields: Value) -> Value {
    let fields: Map<String, Value> = serde_json::from_value(fields).unwrap();
    all.as_object_mut().unwrap().extend(fields);
    all
}
