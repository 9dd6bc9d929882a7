//! The description of the JSON API, and the page to try it. `tests/api` opens the page in a browser.

use std::io::Read;

use flate2::read::GzDecoder;
use identity::domain::Outcome;
use identity::settings::Spelling;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::harness::{Script, Server};

const OK: Script = Script::Answer(Outcome::Matched);

/// The paths of the page, with their content types.
const PAGE: [(&str, &str); 4] = [
    ("/docs", "text/html; charset=utf-8"),
    ("/docs/start.js", "text/javascript; charset=utf-8"),
    ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
];

/// Those of the description.
const DESCRIPTION: [(&str, &str); 2] = [("/openapi.json", "application/json"), ("/openapi.yaml", "application/yaml")];

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut call = Client::new().get(server.url(path));
    for (name, value) in headers {
        call = call.header(*name, *value);
    }
    call.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_description_spells_the_id_of_the_primary_as_answers_do() {
    for (spelling, names) in [
        (Spelling::Correct, &["primaryContactId"][..]),
        (Spelling::Legacy, &["primaryContatctId"]),
        (Spelling::Both, &["primaryContactId", "primaryContatctId"]),
    ] {
        let server = Server::with(OK, |options| options.settings.identify.primary_id_field = spelling).await;
        let document: Value = get(&server, "/openapi.json", &[]).await.json().await.unwrap();
        let contact = &document["components"]["schemas"]["Contact"];
        let rest = ["emails", "phoneNumbers", "secondaryContactIds"];
        assert_eq!(contact["required"], json!([names, &rest].concat()), "{spelling:?}");
        for name in names {
            assert_eq!(contact["properties"][name]["format"], "int64", "{spelling:?}");
        }
        let answer: Value = server.post(r#"{"email":"a@b.co"}"#).await.json().await.unwrap();
        let mut fields: Vec<_> = answer["contact"].as_object().unwrap().keys().collect();
        let mut described: Vec<_> = contact["properties"].as_object().unwrap().keys().collect();
        fields.sort();
        described.sort();
        assert_eq!(fields, described);
    }
}

#[tokio::test]
async fn each_path_of_the_description_takes_its_methods_and_no_other() {
    let server = Server::start(OK).await;
    let document: Value = get(&server, "/openapi.json", &[]).await.json().await.unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 5, "{paths:?}");
    for (path, item) in paths {
        let methods: Vec<_> = item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        let expected = if methods == ["GET"] { "GET,HEAD".to_owned() } else { methods.join(",") };
        let refused = Client::new().delete(server.url(path)).send().await.unwrap();
        assert_eq!((refused.status().as_u16(), header(&refused, "allow")), (405, expected.as_str()), "{path}");
    }
}

#[tokio::test]
async fn documents_have_their_type_and_a_tag_and_take_head() {
    let server = Server::start(OK).await;
    let mut tags = Vec::new();
    for (path, content_type) in PAGE.into_iter().chain(DESCRIPTION) {
        for slash in ["", "/"] {
            let path = format!("{path}{slash}");
            let response = get(&server, &path, &[]).await;
            assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, content_type), "{path}");
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
            assert_eq!(header(&response, "cache-control"), "no-cache");
            assert_eq!(header(&response, "vary"), "accept-encoding");
            let tag = header(&response, "etag").to_owned();
            assert!(tag.starts_with("W/\"") && tag.len() == 20, "{tag}");
            assert!(!response.text().await.unwrap().is_empty());

            let head = Client::new().head(server.url(&path)).send().await.unwrap();
            assert_eq!((head.status().as_u16(), header(&head, "etag")), (200, tag.as_str()), "{path}");

            let same = get(&server, &path, &[("if-none-match", &tag), ("accept-encoding", "gzip")]).await;
            assert_eq!((same.status().as_u16(), header(&same, "etag")), (304, tag.as_str()), "{path}");
            assert_eq!(header(&same, "vary"), "accept-encoding");
            assert!(same.bytes().await.unwrap().is_empty());
            let other = get(&server, &path, &[("if-none-match", "W/\"0123456789abcdef\"")]).await;
            assert_eq!(other.status(), 200, "{path}");
            if slash.is_empty() {
                tags.push(tag);
            }
        }
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), PAGE.len() + DESCRIPTION.len());
}

#[tokio::test]
async fn documents_are_the_same_with_and_without_gzip() {
    let server = Server::start(OK).await;
    for (path, _) in PAGE.into_iter().chain(DESCRIPTION) {
        let plain = get(&server, path, &[]).await;
        assert!(!plain.headers().contains_key("content-encoding"));
        let plain = plain.bytes().await.unwrap();
        let packed = get(&server, path, &[("accept-encoding", "gzip, br")]).await;
        let is_packed = header(&packed, "content-encoding") == "gzip";
        assert_eq!(is_packed, plain.len() >= 1024, "{path}");
        let packed = packed.bytes().await.unwrap();
        let mut read = Vec::new();
        if is_packed {
            GzDecoder::new(&packed[..]).read_to_end(&mut read).unwrap();
        } else {
            read.extend_from_slice(&packed);
        }
        assert!(read == plain, "{path}");
    }
    let bundle = get(&server, "/docs/swagger-ui-bundle.js", &[]).await.text().await.unwrap();
    assert!(bundle.len() > 1_000_000 && bundle.contains("SwaggerUIBundle"), "{} bytes", bundle.len());
}

#[tokio::test]
async fn the_page_may_load_nothing_of_others_and_has_no_script_in_itself() {
    let server = Server::start(OK).await;
    for (path, _) in PAGE {
        let response = get(&server, path, &[("origin", "https://evil.example")]).await;
        let policy: Vec<_> = header(&response, "content-security-policy").split("; ").collect();
        for rule in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(&rule), "{policy:?}");
        }
        assert!(!policy.iter().any(|rule| rule.contains("unsafe") || rule.contains("http")), "{policy:?}");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        assert!(!response.headers().contains_key("access-control-allow-origin"));
    }
    let page = get(&server, "/docs", &[]).await.text().await.unwrap();
    assert!(!page.contains("<script>") && !page.contains("style=") && !page.contains("://"), "{page}");
    // All that it refers to is there.
    let references = page.split('"').filter(|text| text.starts_with('/'));
    for path in references.clone() {
        assert_eq!(get(&server, path, &[]).await.status(), 200, "{path}");
    }
    assert_eq!(references.count(), 4);
}

#[tokio::test]
async fn the_page_can_be_turned_off() {
    let server = Server::with(OK, |options| options.settings.listen.http_docs = false).await;
    for (path, _) in PAGE {
        assert_eq!(get(&server, path, &[]).await.status(), 404, "{path}");
    }
    for (path, _) in DESCRIPTION {
        assert_eq!(get(&server, path, &[]).await.status(), 200, "{path}");
    }
    let about: Value = get(&server, "/", &[]).await.json().await.unwrap();
    assert_eq!(about["documentation"], "/openapi.yaml");
}
