//! Paths, methods and query parameters.

use serde_json::{Value, json};

use super::{Served, book, form};

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
        (
            "POST",
            "/v1/shelves/7/books",
            r#"{"title":"t"}"#,
            json!({"parent": "shelves/7", "book": book(json!({"title": "t"}))}),
        ),
        (
            "PATCH",
            "/v1/shelves/7/books/2?mask=title,author.fullName",
            r#"{"title":"t","author":{"full_name":"f"}}"#,
            json!({
                "book": {"name": "shelves/7/books/2", "title": "t", "author": {"fullName": "f", "years": []}},
                "mask": "title,author.fullName",
            }),
        ),
        // The name in the body may be the same.
        (
            "PATCH",
            "/v1/shelves/7/books/2",
            r#"{"name":"shelves/7/books/2"}"#,
            json!({"book": book(json!({"name": "shelves/7/books/2"}))}),
        ),
        ("PUT", "/v1/shelves/7", r#"{"pageSize":3,"id":"4"}"#, json!({"name": "shelves/7", "pageSize": 3, "id": "4"})),
        ("PUT", "/v1/shelves/7", "", json!({"name": "shelves/7"})),
        ("DELETE", "/v1/shelves/7?deep=true", "", json!({"name": "shelves/7", "deep": true})),
        ("PURGE", "/v1/shelves/7", "", json!({"name": "shelves/7"})),
        ("OTHER", "/v1/any", "", json!({})),
    ] {
        assert_eq!(served.asked(method, path, body).await, form(expected), "{method} {path}");
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
        (
            "?book.author.full_name=f&book.title=t",
            json!({"book": {"name": "", "title": "t", "author": {"fullName": "f", "years": []}}}),
        ),
        (
            "?book.author.years=1&book.author.years=-2",
            json!({"book": book(json!({"author": {"fullName": "", "years": [1, -2]}}))}),
        ),
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
        ("?hint=", json!({"hint": ""})),
        ("?note=&sure=false", json!({"note": "", "sure": false})),
        ("?ratio=NaN&share=-Infinity", json!({"ratio": "NaN", "share": "-Infinity"})),
        ("?numbers=18446744073709551615&limit=0", json!({"numbers": ["18446744073709551615"], "limit": "0"})),
        ("?node.node.name=n", json!({"node": {"name": "", "node": {"name": "n"}}})),
        ("?id=-9223372036854775808", json!({"id": "-9223372036854775808"})),
    ] {
        assert_eq!(served.asked("GET", &format!("/v1/shelves{query}"), "").await, form(expected), "{query}");
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
        ("/v1/shelves?genre=3", "genre"),
        ("/v1/shelves?genre=-1", "genre"),
        ("/v1/shelves?genres=GENRE_NOVEL&genres=3", "genres"),
        ("/v1/shelves?since=secret", "since"),
        ("/v1/shelves?since=10000-01-01T00:00:00Z", "since"),
        ("/v1/shelves?wait=315576000001s", "wait"),
        ("/v1/shelves?wait=secret", "wait"),
        ("/v1/shelves?sure=secret", "sure"),
        ("/v1/shelves?data=secret!", "data"),
        ("/v1/shelves?ratio=secret", "ratio"),
        ("/v1/shelves?ratio=1e400", "ratio"),
        ("/v1/shelves?ratio=inf", "ratio"),
        ("/v1/shelves?ratio=nan", "ratio"),
        ("/v1/shelves?share=1e39", "share"),
        ("/v1/shelves?id=9223372036854775808", "id"),
        ("/v1/shelves?numbers=18446744073709551616", "numbers"),
        ("/v1/shelves?limit=-1", "limit"),
        ("/v1/shelves?extra=secret", "extra"),
        ("/v1/shelves?extra.fields=secret", "extra.fields"),
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
        ("/v1/numbers/1/1/true/3", "genre"),
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
async fn paths_and_methods_that_are_not_there_are_refused_as_everywhere() {
    let served = Served::start().await;
    for path in [
        "/v1",
        "/v1/",
        "/v1/shelves/7/x",
        "/v1/shelves//",
        "/v1/shelves/7:unknown/x",
        "/v1/shelves/7/books//a",
        "/v1/shelves/7/books/a//",
        "/forms.v1.FormsService/Get",
    ] {
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
        ("GET", "/v1/any", "POST,PUT,PATCH,DELETE"),
        ("HEAD", "/v1/any", "POST,PUT,PATCH,DELETE"),
    ] {
        let response = served.send(method, path, "").await;
        assert_eq!(response.headers()["allow"], allow, "{method} {path}");
        assert_eq!(response.status(), 405);
    }
    // The handlers of their own stay.
    assert_eq!(served.send("POST", "/identify", r#"{"email":"a@b.co"}"#).await.status(), 200);
    assert_eq!(served.send("GET", "/identify", "").await.headers()["allow"], "POST");
}

/// A page can send GET, and simple forms of POST, without asking first. It must reach nothing that is stored.
#[tokio::test]
async fn pages_of_other_sites_reach_no_rule_for_any_method() {
    let served = Served::start().await;
    for (method, path, status) in [
        ("GET", "/v1/any", 405),
        ("HEAD", "/v1/any", 405),
        ("POST", "/v1/any", 403),
        ("OTHER", "/v1/any", 403),
        ("DELETE", "/v1/shelves/7", 403),
        ("GET", "/v1/shelves/7", 403),
    ] {
        let call = reqwest::Client::new().request(method.parse().unwrap(), served.server.url(path));
        let response = call.header("origin", "https://evil.example").send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert!(!response.headers().contains_key("access-control-allow-origin"), "a page cannot read it");
    }
}
