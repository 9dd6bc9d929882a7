//! The description of the JSON API, and the pages for people. `tests/api` opens them in a browser.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use http::HeaderMap;
use identity::domain::Outcome;
use identity::settings::Spelling;
use reqwest::{Client, Response};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::harness::{Script, Server, talk};
use crate::raw::H2Client;

const OK: Script = Script::Answer(Outcome::Matched);

/// The paths of the pages, with their content types.
const PAGES: [(&str, &str); 17] = [
    ("/docs", "text/html; charset=utf-8"),
    ("/docs/start.js", "text/javascript; charset=utf-8"),
    ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("/docs/swagger-ui-bundle.js.LICENSE.txt", "text/plain; charset=utf-8"),
    ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
    ("/graph", "text/html; charset=utf-8"),
    ("/graph/page.css", "text/css; charset=utf-8"),
    ("/graph/page.js", "text/javascript; charset=utf-8"),
    ("/graph/api.js", "text/javascript; charset=utf-8"),
    ("/graph/dom.js", "text/javascript; charset=utf-8"),
    ("/graph/inspector.js", "text/javascript; charset=utf-8"),
    ("/graph/layout.js", "text/javascript; charset=utf-8"),
    ("/graph/model.js", "text/javascript; charset=utf-8"),
    ("/graph/explanation.js", "text/javascript; charset=utf-8"),
    ("/graph/view.js", "text/javascript; charset=utf-8"),
    ("/graph/cytoscape.esm.min.mjs", "text/javascript; charset=utf-8"),
    ("/graph/cytoscape.LICENSE.txt", "text/plain; charset=utf-8"),
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
    let mut all: Vec<_> = PAGES.map(|(path, _)| (path, vec!["GET".to_owned()])).into();
    all.extend(paths.iter().map(|(path, item)| {
        (path.as_str(), item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect())
    }));
    for (path, methods) in all {
        let expected = if methods == ["GET"] { "GET,HEAD".to_owned() } else { methods.join(",") };
        let refused = Client::new().delete(server.url(path)).send().await.unwrap();
        assert_eq!((refused.status().as_u16(), header(&refused, "allow")), (405, expected.as_str()), "{path}");
    }
}

#[tokio::test]
async fn documents_have_their_type_and_a_tag_and_take_head() {
    let server = Server::start(OK).await;
    let mut tags = Vec::new();
    for (path, content_type) in PAGES.into_iter().chain(DESCRIPTION) {
        for slash in ["", "/"] {
            let path = format!("{path}{slash}");
            let response = get(&server, &path, &[]).await;
            assert_eq!((response.status().as_u16(), header(&response, "content-type")), (200, content_type), "{path}");
            assert_eq!(header(&response, "x-content-type-options"), "nosniff");
            assert_eq!(header(&response, "cache-control"), "no-cache");
            assert_eq!(header(&response, "vary"), "accept-encoding");
            let tag = header(&response, "etag").to_owned();
            assert!(tag.starts_with("W/\"") && tag.len() == 20, "{tag}");
            let of_get = response.headers().clone();
            assert!(!response.text().await.unwrap().is_empty());

            let head = Client::new().head(server.url(&path)).send().await.unwrap();
            assert_eq!(head.status(), 200, "{path}");
            let described = |headers: &HeaderMap| {
                let mut headers = headers.clone();
                for name in ["date", "x-request-id"] {
                    headers.remove(name);
                }
                headers
            };
            assert!(of_get.contains_key("content-length"), "{path}");
            assert_eq!(described(head.headers()), described(&of_get), "{path}");
            assert!(head.bytes().await.unwrap().is_empty());

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
    assert_eq!(tags.len(), PAGES.len() + DESCRIPTION.len());
}

/// `content-length: 0` would say that the file is empty.
#[tokio::test]
async fn an_unchanged_document_says_no_length() {
    let server = Server::start(OK).await;
    for (path, _) in PAGES.into_iter().chain(DESCRIPTION) {
        let tag = header(&get(&server, path, &[]).await, "etag").to_owned();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nif-none-match: {tag}\r\nconnection: close\r\n\r\n");
        let answer = String::from_utf8(talk(server.http, request.as_bytes()).await).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 304 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(!answer.contains("content-length") && !answer.contains("transfer-encoding"), "{answer}");

        let mut client = H2Client::connect(server.http, 65_535).await;
        let response = client.get(path, &[("if-none-match", &tag)]).await;
        assert_eq!(response.status(), 304, "{path}");
        assert!(!response.headers().contains_key("content-length"), "{response:?}");
        assert!(response.into_body().data().await.is_none());
    }
}

/// The sums are those of the files in the package, so this finds any change of them, without asking npm.
#[tokio::test]
async fn the_files_of_others_are_unchanged() {
    for (folder, page, served) in [("swagger-ui", "/docs", 3), ("cytoscape", "/graph", 1)] {
        assert_eq!(check_files_of_others(folder, page).await, served, "{folder}");
    }
}

/// Compares the files of a folder with their sums, and returns how many of them a page serves.
async fn check_files_of_others(folder: &str, page: &str) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("third_party").join(folder);
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let sum = |content: &[u8]| digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let server = Server::start(OK).await;
    let mut listed = BTreeSet::from(["README.md", "SHA256SUMS", "VERSION"].map(str::to_owned));
    let mut served = 0;
    for line in sums.lines() {
        let (expected, name) = line.split_once("  ").unwrap();
        let content = if let Ok(content) = fs::read(folder.join(name)) {
            listed.insert(name.to_owned());
            content
        } else {
            let mut content = Vec::new();
            let packed = fs::read(folder.join(format!("{name}.gz"))).unwrap();
            GzDecoder::new(&packed[..]).read_to_end(&mut content).unwrap();
            listed.insert(format!("{name}.gz"));
            content
        };
        let found: String = sum(&content);
        assert_eq!(found, expected, "{name}");
        let response = get(&server, &format!("{page}/{name}"), &[]).await;
        if response.status() == 200 {
            assert!(response.bytes().await.unwrap() == content, "{name}");
            served += 1;
        }
    }
    let present = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(present.collect::<BTreeSet<_>>(), listed);
    served
}

#[tokio::test]
async fn documents_are_the_same_with_and_without_gzip() {
    let server = Server::start(OK).await;
    for (path, _) in PAGES.into_iter().chain(DESCRIPTION) {
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
async fn the_pages_may_load_nothing_of_others_and_have_no_script_in_themselves() {
    let server = Server::start(OK).await;
    for (path, _) in PAGES {
        let response = get(&server, path, &[("origin", "https://evil.example")]).await;
        let policy: Vec<_> = header(&response, "content-security-policy").split("; ").collect();
        let rules = [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ];
        for rule in rules {
            assert!(policy.contains(&rule), "{policy:?}");
        }
        assert!(!policy.iter().any(|rule| rule.contains("unsafe") || rule.contains("http")), "{policy:?}");
        assert_eq!(header(&response, "referrer-policy"), "no-referrer");
        assert!(!response.headers().contains_key("access-control-allow-origin"));
    }
    for (path, count) in [("/docs", 4), ("/graph", 3)] {
        let page = get(&server, path, &[]).await.text().await.unwrap();
        assert!(!page.contains("<script>") && !page.contains("style=") && !page.contains("://"), "{page}");
        // All that it refers to is there.
        let references = page.split('"').filter(|text| text.starts_with('/'));
        for path in references.clone() {
            assert_eq!(get(&server, path, &[]).await.status(), 200, "{path}");
        }
        assert_eq!(references.count(), count, "{path}");
    }
}

#[tokio::test]
async fn each_module_of_the_graph_page_is_served_and_used() {
    let server = Server::start(OK).await;
    let is_module = |path: &&str| path.starts_with("/graph/") && path.ends_with("js");
    let modules = PAGES.map(|(path, _)| path).into_iter().filter(is_module);
    let mut imported = BTreeSet::from(["/graph/page.js".to_owned()]);
    for path in modules.clone().filter(|path| !path.contains("cytoscape")) {
        let text = get(&server, path, &[]).await.text().await.unwrap();
        let names = text.split("from \"./").skip(1).map(|rest| rest.split('"').next().unwrap());
        imported.extend(names.map(|name| format!("/graph/{name}")));
    }
    assert_eq!(imported, modules.map(str::to_owned).collect());
}

#[tokio::test]
async fn the_pages_can_be_turned_off() {
    let server = Server::with(OK, |options| options.settings.listen.http_docs = false).await;
    for (path, _) in PAGES {
        assert_eq!(get(&server, path, &[]).await.status(), 404, "{path}");
    }
    for (path, _) in DESCRIPTION {
        assert_eq!(get(&server, path, &[]).await.status(), 200, "{path}");
    }
    let about: Value = get(&server, "/", &[]).await.json().await.unwrap();
    assert_eq!(about["documentation"], "/openapi.yaml");
}
