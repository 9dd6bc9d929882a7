//! The gateway, over a service with every form of an http rule (`forms.proto`).

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use identity::domain::Outcome;
use identity::transport::http::JsonService;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::callers::{Guarded, MAY_IDENTIFY, entry, token};
use crate::forms::{DESCRIPTORS, Forms, SCOPED_DESCRIPTORS, Scoped};
use crate::harness::{Script, Server, until};

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

    /// What the RPC was asked, without the fields at their default.
    async fn asked(&self, method: &str, path: &str, body: &str) -> Value {
        let response = self.send(method, path, body.to_owned()).await;
        let status = response.status();
        let mut answer: Value = response.json().await.unwrap();
        assert_eq!(status, 200, "{method} {path} {body}: {answer}");
        let mut form = answer["form"].take();
        without_defaults(&mut form);
        form
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

fn without_defaults(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    fields.values_mut().for_each(without_defaults);
    let is_default = |value: &Value| {
        ["", "0", "GENRE_UNSPECIFIED"].iter().any(|text| value == text)
            || [json!(0), json!(0.0), json!(false), json!([]), json!({})].contains(value)
    };
    fields.retain(|_, value| !is_default(value));
}

#[tokio::test]
async fn every_method_and_template_reaches_its_rpc() {
    let served = Served::start().await;
    for (method, path, body, expected) in [
        ("GET", "/v1/shelves/7", "", json!({"name": "shelves/7"})),
        ("GET", "/v1/shelves/7/", "", json!({"name": "shelves/7"})),
        ("GET", "/v1/shelves/a%20b%2Fc%3A%C3%A9", "", json!({"name": "shelves/a b%2Fc:é"})),
        ("GET", "/v1/shelves/7/books/a/b%2Fc", "", json!({"name": "shelves/7/books/a/b%2Fc"})),
        ("GET", "/v1/shelves/7/books", "", json!({"name": "shelves/7/books"})),
        (
            "GET",
            "/v1/numbers/-9007199254740993/18446744073709551615/true/GENRE_NOVEL",
            "",
            json!({
                "id": "-9007199254740993", "byNumber": "18446744073709551615", "deep": true, "genre": "GENRE_NOVEL",
            }),
        ),
        ("POST", "/v1/shelves/7/books", r#"{"title":"t"}"#, json!({"parent": "shelves/7", "book": {"title": "t"}})),
        (
            "PATCH",
            "/v1/shelves/7/books/2?mask=title,author.fullName",
            r#"{"title":"t","author":{"full_name":"f"}}"#,
            json!({
                "book": {"name": "shelves/7/books/2", "title": "t", "author": {"fullName": "f"}},
                "mask": "title,author.fullName",
            }),
        ),
        // The name in the body may be the same.
        (
            "PATCH",
            "/v1/shelves/7/books/2",
            r#"{"name":"shelves/7/books/2"}"#,
            json!({"book": {"name": "shelves/7/books/2"}}),
        ),
        ("PUT", "/v1/shelves/7", r#"{"pageSize":3,"id":"4"}"#, json!({"name": "shelves/7", "pageSize": 3, "id": "4"})),
        ("PUT", "/v1/shelves/7", "", json!({"name": "shelves/7"})),
        ("DELETE", "/v1/shelves/7?deep=true", "", json!({"name": "shelves/7", "deep": true})),
        ("PURGE", "/v1/shelves/7", "", json!({"name": "shelves/7"})),
        ("OTHER", "/v1/any", "", Value::Object(Default::default())),
    ] {
        assert_eq!(served.asked(method, path, body).await, expected, "{method} {path}");
    }
    let head = served.send("HEAD", "/v1/shelves/7", "").await;
    assert_eq!((head.status().as_u16(), head.text().await.unwrap()), (200, String::new()));
}

#[tokio::test]
async fn query_parameters_become_fields() {
    let served = Served::start().await;
    for (query, expected) in [
        ("", json!({})),
        ("?&", json!({})),
        ("?page_size=7", json!({"pageSize": 7})),
        ("?pageSize=7&name=a+b%26%2B", json!({"pageSize": 7, "name": "a b&+"})),
        ("?tags=a&tags=&tags=b%2Cc", json!({"tags": ["a", "", "b,c"]})),
        ("?genre=GENRE_POETRY", json!({"genre": "GENRE_POETRY"})),
        (
            "?genre=2&genres=1&genres=GENRE_POETRY",
            json!({"genre": "GENRE_POETRY", "genres": ["GENRE_NOVEL", "GENRE_POETRY"]}),
        ),
        ("?book.author.full_name=f&book.title=t", json!({"book": {"title": "t", "author": {"fullName": "f"}}})),
        ("?book.author.years=1&book.author.years=-2", json!({"book": {"author": {"years": [1, -2]}}})),
        ("?byAuthor=f", json!({"byAuthor": "f"})),
        ("?since=2026-01-31T12:00:00.5Z", json!({"since": "2026-01-31T12:00:00.500Z"})),
        ("?since=2026-01-31T13:00:00%2B01:00", json!({"since": "2026-01-31T12:00:00Z"})),
        (
            "?times=2026-01-31T12:00:00Z&times=1970-01-01T00:00:00Z",
            json!({"times": ["2026-01-31T12:00:00Z", "1970-01-01T00:00:00Z"]}),
        ),
        ("?wait=1.5s", json!({"wait": "1.500s"})),
        ("?mask=book.title,pageSize", json!({"mask": "book.title,pageSize"})),
        ("?note=n&sure=true", json!({"note": "n", "sure": true})),
        ("?data=_-8%3D", json!({"data": "/+8="})),
        ("?ratio=-1.5e3", json!({"ratio": -1500.0})),
        ("?hint=", json!({})),
        ("?id=-9223372036854775808", json!({"id": "-9223372036854775808"})),
    ] {
        assert_eq!(served.asked("GET", &format!("/v1/shelves{query}"), "").await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_wrong_parameter_is_named_and_its_value_is_not_shown() {
    let served = Served::start().await;
    for (path, field) in [
        ("/v1/shelves?colour=secret", "colour"),
        ("/v1/shelves?name.x=secret", "name.x"),
        ("/v1/shelves?tags.x=secret", "tags.x"),
        ("/v1/shelves?pageSize=secret", "pageSize"),
        ("/v1/shelves?page_size=2147483648", "pageSize"),
        ("/v1/shelves?pageSize=1.5", "pageSize"),
        ("/v1/shelves?pageSize=", "pageSize"),
        ("/v1/shelves?pageSize=1&page_size=1", "pageSize"),
        ("/v1/shelves?deep=1", "deep"),
        ("/v1/shelves?deep=secret", "deep"),
        ("/v1/shelves?genre=secret", "genre"),
        ("/v1/shelves?since=secret", "since"),
        ("/v1/shelves?wait=secret", "wait"),
        ("/v1/shelves?sure=secret", "sure"),
        ("/v1/shelves?data=secret!", "data"),
        ("/v1/shelves?ratio=secret", "ratio"),
        ("/v1/shelves?book=secret", "book"),
        ("/v1/shelves?books=secret", "books"),
        ("/v1/shelves?books.title=secret", "books.title"),
        ("/v1/shelves?counts=secret", "counts"),
        ("/v1/shelves?counts.a=secret", "counts.a"),
        ("/v1/shelves?byAuthor=secret&byNumber=1", "byNumber"),
        ("/v1/shelves?name=%ff", "name"),
        ("/v1/shelves?name=%zz", "name"),
        ("/v1/shelves?secret@b.co=1", ""),
        ("/v1/shelves?=secret", ""),
        ("/v1/shelves/7?name=shelves/7", "name"),
        ("/v1/shelves/%ff", "name"),
        ("/v1/numbers/secret/1/true/1", "id"),
        ("/v1/numbers/1/-1/true/1", "byNumber"),
        ("/v1/numbers/1/1/secret/1", "deep"),
        ("/v1/numbers/1/1/true/secret", "genre"),
    ] {
        let (named, status, message) = served.refused("GET", path, "").await;
        assert_eq!((&named[..], status), (field, 400), "{path}: {message}");
        assert!(message.starts_with(field), "{message}");
    }
    for (method, path, body, field) in [
        ("PATCH", "/v1/shelves/7/books/2?book.title=secret", "{}", "book.title"),
        ("PUT", "/v1/shelves/7?pageSize=1", "{}", "pageSize"),
        ("PUT", "/v1/shelves/7?name=secret", "{}", "name"),
        ("PUT", "/v1/shelves/7", r#"{"name":"secret"}"#, "name"),
        ("PATCH", "/v1/shelves/7/books/2", r#"{"name":"secret"}"#, "book.name"),
    ] {
        let (named, status, message) = served.refused(method, path, body).await;
        assert_eq!((&named[..], status), (field, 400), "{path}: {message}");
    }
}

#[tokio::test]
async fn bodies_are_proto3_json() {
    let served = Served::start().await;
    let body = json!({
        "id": 7, "pageSize": "3", "tags": ["a"], "genre": 1, "genres": ["GENRE_POETRY"], "by_number": "5",
        "since": "2026-01-31T12:00:00Z", "wait": "3s", "mask": "a,b", "note": "n", "sure": false, "data": "AQI=",
        "ratio": "NaN", "deep": null, "counts": {"a": "1"}, "books": [{"title": "t"}], "unknown": {"deep": [1]},
        "book": {"unknown": 1, "title": "t"},
    });
    let expected = json!({
        "name": "shelves/7", "id": "7", "pageSize": 3, "tags": ["a"], "genre": "GENRE_NOVEL",
        "genres": ["GENRE_POETRY"], "byNumber": "5", "since": "2026-01-31T12:00:00Z", "wait": "3s", "mask": "a,b",
        "note": "n", "data": "AQI=", "ratio": "NaN", "counts": {"a": "1"}, "book": {"title": "t"},
        "books": [{"name": "", "title": "t"}],
    });
    let with_mark = format!("\u{feff}{body}");
    assert_eq!(served.asked("PUT", "/v1/shelves/7", &body.to_string()).await, expected);
    assert_eq!(served.asked("PUT", "/v1/shelves/7", &with_mark).await, expected);
    for (body, field) in [
        (r#"{"pageSize":"secret"}"#, "pageSize"),
        (r#"{"pageSize":1.5}"#, "pageSize"),
        (r#"{"pageSize":[1]}"#, "pageSize"),
        (r#"{"id":"9223372036854775808"}"#, "id"),
        (r#"{"genre":"secret"}"#, "genre"),
        (r#"{"deep":"secret"}"#, "deep"),
        (r#"{"tags":"secret"}"#, "tags"),
        (r#"{"tags":[1]}"#, "tags[0]"),
        (r#"{"book":{"author":{"years":[1,"secret"]}}}"#, "book.author.years[1]"),
        (r#"{"book":"secret"}"#, "book"),
        (r#"{"books":[{},{"title":1}]}"#, "books[1].title"),
        (r#"{"counts":{"secret":"secret"}}"#, "counts"),
        (r#"{"since":"secret"}"#, "since"),
        (r#"{"byAuthor":"secret","byNumber":1}"#, ""),
        (r#"{"pageSize":1,"pageSize":1}"#, ""),
        (r#"{"pageSize":1,"page_size":1}"#, ""),
        (r#"{"secret":"#, ""),
        (r#"{"name":"shelves/7"} secret"#, ""),
        ("[]", ""),
        ("null", ""),
        ("\"secret\"", ""),
    ] {
        let (named, status, message) = served.refused("PUT", "/v1/shelves/7", body).await;
        assert_eq!((&named[..], status), (field, 400), "{body}: {message}");
    }
}

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

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_refused_as_everywhere() {
    let served = Served::start().await;
    for path in
        ["/v1", "/v1/", "/v1/shelves/7/x", "/v1/shelves//", "/v1/shelves/7:unknown/x", "/forms.v1.FormsService/Get"]
    {
        let response = served.send("GET", path, "").await;
        let status = response.status();
        let error: Value = response.json().await.unwrap();
        assert_eq!((status.as_u16(), &error["details"][0]["reason"]), (404, &json!("PATH_UNKNOWN")), "{path}");
    }
    for (method, path, allow) in [
        ("POST", "/v1/shelves", "GET,HEAD"),
        ("POST", "/v1/shelves:watch", "GET,HEAD"),
        ("GET", "/v1/shelves/7:explain", "POST"),
        ("PATCH", "/v1/tags", "POST"),
    ] {
        let response = served.send(method, path, "").await;
        assert_eq!(response.headers()["allow"], allow, "{method} {path}");
        assert_eq!(response.status(), 405);
    }
    // The handlers of their own stay.
    assert_eq!(served.send("POST", "/identify", r#"{"email":"a@b.co"}"#).await.status(), 200);
    assert_eq!(served.send("GET", "/identify", "").await.headers()["allow"], "POST");
    // What is no JSON, and what is too large.
    let form = Client::new().put(served.server.url("/v1/shelves/7")).header("content-type", "application/xml");
    assert_eq!(form.body("<a/>").send().await.unwrap().status(), 415);
    assert_eq!(served.send("PUT", "/v1/shelves/7", vec![b' '; 65_537]).await.status(), 413);
    assert_eq!(served.send("PUT", "/v1/shelves/7", vec![b' '; 65_536]).await.status(), 200);
}

#[tokio::test]
async fn gzip_works_both_ways() {
    let served = Served::start().await;
    let mut body = Vec::new();
    let text = json!({"parent": "p".repeat(5_000)}).to_string();
    GzEncoder::new(text.as_bytes(), Compression::fast()).read_to_end(&mut body).unwrap();
    let call = Client::new().put(served.server.url("/v1/shelves/7"));
    let call = call.header("content-encoding", "gzip").header("accept-encoding", "gzip").body(body);
    let response = call.send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let bytes = response.bytes().await.unwrap();
    let answer: Value = serde_json::from_reader(GzDecoder::new(&bytes[..])).unwrap();
    assert_eq!(answer["form"]["parent"].as_str().unwrap().len(), 5_000);
}

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
    assert_eq!(failed[1]["error"]["details"].as_array().unwrap().len(), 3);
    let refused = served.send("GET", "/v1/shelves:watch?name=refused", "").await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["content-type"]),
        (400, &"application/json".parse().unwrap())
    );
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

#[tokio::test]
async fn the_metadata_are_the_headers() {
    let served = Served::start().await;
    let call = Client::new().get(served.server.url("/v1/shelves/7")).header("x-test", "till-7");
    let answer: Value = call.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["seen"], "till-7");
}

#[tokio::test]
async fn calls_are_measured_by_their_template() {
    let served = Served::start().await;
    served.asked("GET", "/v1/shelves/7", "").await;
    served.send("GET", "/v1/shelves/fail", "").await;
    served.send("GET", "/v1/shelves:watch?name=fail", "").await.text().await.unwrap();
    let page = || served.server.counted.scrape(identity::metrics::ScrapeFormat::Text);
    let has = |status: u16| {
        let labels = format!(
            r#"http_request_method="GET",http_route="/v1/{{name=shelves/*}}",http_response_status_code="{status}""#
        );
        page().lines().any(|line| line.contains(&labels))
    };
    until(|| has(200) && has(400)).await;
}

#[tokio::test]
async fn a_route_has_the_scope_of_its_rpc() {
    let (reader, other) = (token(), token());
    let callers = entry("reader", &reader, MAY_IDENTIFY) + &entry("other", &other, "scopes = ['metrics']");
    let json = JsonService::new(Scoped, SCOPED_DESCRIPTORS).unwrap();
    let Guarded { server, files: _files } = Guarded::with(&callers, |options, _| options.json = vec![json]).await;
    for (method, token, expected) in [
        ("GET", None, 401),
        ("GET", Some(&other), 403),
        ("GET", Some(&reader), 409),
        ("POST", None, 401),
        ("POST", Some(&other), 405),
    ] {
        let call = Client::new().request(method.parse().unwrap(), server.url("/v1/scoped/7"));
        let call = match token {
            Some(token) => call.bearer_auth(token.expose()),
            None => call,
        };
        assert_eq!(call.send().await.unwrap().status(), expected, "{method} {}", token.is_some());
    }
}
