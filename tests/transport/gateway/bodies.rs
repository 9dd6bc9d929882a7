//! Bodies.

use std::io::Read;

use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use reqwest::Client;
use serde_json::{Value, json};

use super::{Served, form};

#[tokio::test]
async fn bodies_are_proto3_json() {
    let served = Served::start().await;
    let body = json!({
        "id": 7, "pageSize": "3", "tags": ["a"], "genre": 1, "genres": ["GENRE_POETRY"], "by_number": "5",
        "since": "2026-01-31T12:00:00Z", "wait": "3s", "mask": "a,b", "note": "n", "sure": false, "data": "AQI=",
        "ratio": "NaN", "deep": null, "counts": {"a": "1"}, "books": [{"title": "t"}], "unknown": {"deep": [1]},
        "book": {"unknown": 1, "title": "t"}, "marks": {"a": "GENRE_POETRY", "b": 1}, "limit": 7,
        "extra": {"pageSize": 1, "deep": {"unknown": [null, "x"]}},
    });
    let expected = json!({
        "name": "shelves/7", "id": "7", "pageSize": 3, "tags": ["a"], "genre": "GENRE_NOVEL",
        "genres": ["GENRE_POETRY"], "byNumber": "5", "since": "2026-01-31T12:00:00Z", "wait": "3s", "mask": "a,b",
        "note": "n", "sure": false, "data": "AQI=", "ratio": "NaN", "counts": {"a": "1"},
        "book": {"name": "", "title": "t"}, "books": [{"name": "", "title": "t"}],
        "marks": {"a": "GENRE_POETRY", "b": "GENRE_NOVEL"}, "limit": "7",
        "extra": {"pageSize": 1.0, "deep": {"unknown": [null, "x"]}},
    });
    let expected = form(expected);
    let with_mark = format!("\u{feff}{body}");
    assert_eq!(served.asked("PUT", "/v1/shelves/7", &body.to_string()).await, expected);
    assert_eq!(served.asked("PUT", "/v1/shelves/7", &with_mark).await, expected);
    for (body, field) in [
        (r#"{"pageSize":"secret"}"#, "pageSize"),
        (r#"{"pageSize":1.5}"#, "pageSize"),
        (r#"{"pageSize":[1]}"#, "pageSize"),
        (r#"{"id":"9223372036854775808"}"#, "id"),
        (r#"{"pageSize":2147483648}"#, "pageSize"),
        (r#"{"pageSize":1e10}"#, "pageSize"),
        (r#"{"pageSize":1e400}"#, "pageSize"),
        (r#"{"id":9223372036854775808}"#, "id"),
        (r#"{"id":9.223372036854775808e18}"#, "id"),
        (r#"{"id":-1e19}"#, "id"),
        (r#"{"numbers":[18446744073709551615,18446744073709551616]}"#, "numbers[1]"),
        (r#"{"numbers":[-1]}"#, "numbers[0]"),
        (r#"{"limit":18446744073709551616}"#, "limit"),
        (r#"{"ratio":1e400}"#, "ratio"),
        (r#"{"ratio":"1e400"}"#, "ratio"),
        (r#"{"ratio":"inf"}"#, "ratio"),
        (r#"{"share":1e39}"#, "share"),
        (r#"{"share":"1e39"}"#, "share"),
        (r#"{"book":{"author":{"years":[1e400]}}}"#, "book.author.years[0]"),
        (r#"{"extra":{"secret":1e400}}"#, "extra"),
        (r#"{"genre":"secret"}"#, "genre"),
        (r#"{"genre":3}"#, "genre"),
        (r#"{"genre":-1}"#, "genre"),
        (r#"{"genre":4294967297}"#, "genre"),
        (r#"{"genres":[1,3]}"#, "genres[1]"),
        (r#"{"marks":{"secret":3}}"#, "marks"),
        (r#"{"since":"10000-01-01T00:00:00Z"}"#, "since"),
        (r#"{"wait":"315576000001s"}"#, "wait"),
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
async fn the_largest_numbers_are_taken_as_they_are() {
    let served = Served::start().await;
    let body = r#"{"id":-9223372036854775808,"numbers":[18446744073709551615,1e3],"pageSize":2147483647,"share":1e38}"#;
    let expected = json!({
        "name": "shelves/7", "id": "-9223372036854775808", "numbers": ["18446744073709551615", "1000"],
        "pageSize": 2147483647, "share": 1e38,
    });
    assert_eq!(served.asked("PUT", "/v1/shelves/7", body).await, form(expected));
}

#[tokio::test]
async fn bodies_of_well_known_types_have_their_own_form() {
    let served = Served::start().await;
    for (path, body, expected) in [
        ("/v1/structs", r#"{"a":[1,null,{"b":"c"}]}"#, json!({"a": [1.0, null, {"b": "c"}]})),
        ("/v1/structs", "", json!({})),
        ("/v1/values", r#"["a",{"b":false}]"#, json!(["a", {"b": false}])),
        ("/v1/values", "null", Value::Null),
        ("/v1/durations", r#""1.5s""#, json!("1.500s")),
        ("/v1/bounds", "18446744073709551615", json!("18446744073709551615")),
        ("/v1/bounds", r#""7""#, json!("7")),
        ("/v1/pings", r#"{"unknown":1}"#, json!({})),
        ("/v1/pings", "", json!({})),
    ] {
        let response = served.send("POST", path, body).await;
        assert_eq!(response.status(), 200, "{path} {body}");
        assert_eq!(response.json::<Value>().await.unwrap(), expected, "{path} {body}");
    }
    for (path, body, message) in [
        ("/v1/structs", "[]", "the body must be an object"),
        ("/v1/durations", r#""secret""#, "the body must be a duration such as 1.5s"),
        ("/v1/durations", "{}", "the body must be a duration such as 1.5s"),
        ("/v1/bounds", "18446744073709551616", "the body must be an integer of 64 bits without a sign"),
        ("/v1/bounds", "1e400", "the body must be an integer of 64 bits without a sign"),
        ("/v1/pings", "7", "the body is not a JSON object"),
    ] {
        let refused = served.refused("POST", path, body).await;
        assert_eq!(refused, (String::new(), 400, message.to_owned()), "{path} {body}");
    }
    let extra = served.asked("POST", "/v1/extras", r#"{"pageSize":[true]}"#).await;
    assert_eq!(extra, form(json!({"extra": {"pageSize": [true]}})));
    let (named, status, _) = served.refused("POST", "/v1/extras", r#"{"a":1e400}"#).await;
    assert_eq!((&named[..], status), ("extra", 400));
}

#[tokio::test]
async fn bodies_that_are_no_json_or_too_large_are_refused() {
    let served = Served::start().await;
    let call = Client::new().put(served.server.url("/v1/shelves/7")).header("content-type", "application/xml");
    assert_eq!(call.body("<a/>").send().await.unwrap().status(), 415);
    assert_eq!(served.send("PUT", "/v1/shelves/7", vec![b' '; 65_537]).await.status(), 413);
    assert_eq!(served.send("PUT", "/v1/shelves/7", vec![b' '; 65_536]).await.status(), 200);
    // The message has 10 bytes for each.
    let years = |count: usize| format!(r#"{{"book":{{"author":{{"years":[{}]}}}}}}"#, vec!["-1"; count].join(","));
    let response = served.send("PUT", "/v1/shelves/7", years(7_000)).await;
    let status = response.status();
    let error: Value = response.json().await.unwrap();
    assert_eq!((status.as_u16(), &error["details"][0]["reason"]), (413, &json!("REQUEST_TOO_LARGE")));
    assert_eq!(served.send("PUT", "/v1/shelves/7", years(6_000)).await.status(), 200);
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
