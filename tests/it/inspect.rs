//! `identity show` and `identity explain`: what a person sees of a customer, on every database.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::export::printed;
use crate::graph::tables;
use crate::harness::{Backend, Service, Suite, TestDatabase, binary, execute, register};
use crate::ignored::{TILL, identify, ignore};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        the_worked_example_is_shown_and_explained,
        a_pair_that_was_matched_holds_a_customer_together,
        nobody_is_exit_1_and_a_mistake_is_exit_2,
        nothing_is_written_and_no_file_is_made,
    );
}

fn command(database: &TestDatabase, words: &[&str]) -> Command {
    let mut command = binary();
    command.args(words).env("DATABASE_URL", &database.url).env("RUST_LOG", "off");
    command
}

fn said(database: &TestDatabase, words: &[&str]) -> String {
    printed(&mut command(database, words))
}

fn json_of(database: &TestDatabase, words: &[&str]) -> Value {
    serde_json::from_str(&said(database, &[words, &["--format", "json"]].concat())).expect("one JSON object")
}

/// The exit status of a command that fails, and its line.
fn refused(database: &TestDatabase, words: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = command(database, words).output().expect("the binary runs");
    let line = String::from_utf8(stderr).expect("text");
    assert!(stdout.is_empty() && line.lines().count() == 1, "{words:?}: {line}");
    assert!(!line.contains("hillvalley") && !line.contains("717171"), "{words:?} quotes a value: {line}");
    (status.code().expect("an exit"), line)
}

async fn primary(service: &Service, email: &str, phone: &str) -> i64 {
    identify(service, Some(email), Some(phone)).await.expect("an answer").primary
}

const GEORGE: (&str, &str) = ("george@hillvalley.edu", "919191");
const BIFF: (&str, &str) = ("biffsucks@hillvalley.edu", "717171");

/// George and Biff, strangers until a request has an identifier of each. Returns their ids.
async fn george_and_biff(database: &TestDatabase) -> (String, String) {
    let service = Service::start(database).await;
    let george = primary(&service, GEORGE.0, GEORGE.1).await;
    let biff = primary(&service, BIFF.0, BIFF.1).await;
    assert_eq!(primary(&service, GEORGE.0, BIFF.1).await, george);
    service.stop().await;
    (george.to_string(), biff.to_string())
}

async fn the_worked_example_is_shown_and_explained(database: TestDatabase) {
    let (george, biff) = george_and_biff(&database).await;
    let shown = json_of(&database, &["show", &george]);
    assert_eq!(shown["name"], json!(format!("identities/{george}")));
    assert_eq!((&shown["masked"], &shown["identifiers"][0]["value"]), (&json!(true), &json!("g***")));
    let name = format!("identities/{biff}");
    for who in [&biff[..], &name, " George@HillValley.edu", "phone:717171", "7171-71", "email:biffsucks@hillvalley.edu"]
    {
        assert_eq!(json_of(&database, &["show", who]), shown, "{who}");
    }
    let values = json_of(&database, &["show", &george, "--show-values"]);
    assert_eq!(values["identifiers"][3], json!({"name": "i4", "kind": "phone", "value": "717171", "ignored": false}));
    let text = said(&database, &["show", &george]);
    for line in [format!("├── contact {george}, primary, "), "│   └── i4 phone ***71\n".to_owned()] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    assert!(text.contains("evidence is complete since "), "a new database has all evidence: {text}");
    assert!(!text.contains("hillvalley") && !text.contains("717171"), "{text}");

    // Before the merge, and before Biff.
    let merged = shown["revisions"].as_array().expect("a list").last().expect("a merge");
    assert_eq!((&merged["kind"], &merged["absorbed"]), (&json!("merged"), &json!([biff.parse::<i64>().unwrap()])));
    let of_biff = shown["contacts"][1]["create_time"].as_str().expect("a moment");
    let of_george = shown["contacts"][0]["create_time"].as_str().expect("a moment");
    let then = json_of(&database, &["show", &biff, "--read-time", of_biff]);
    assert_eq!((&then["name"], &then["identifiers"][0]["name"]), (&json!(name), &json!("i3")));
    assert_eq!(then["revisions"].as_array().map(Vec::len), Some(1));
    let then = json_of(&database, &["show", GEORGE.0, "--read-time", of_biff]);
    assert_eq!((&then["name"], then["contacts"].as_array().map(Vec::len)), (&shown["name"], Some(1)));
    assert_eq!(refused(&database, &["show", &biff, "--read-time", of_george]).0, 1, "not inserted yet");
    assert_eq!(refused(&database, &["show", BIFF.0, "--read-time", of_george]).0, 1, "nobody's yet");
    assert_eq!(
        json_of(&database, &["show", &biff, "--read-time", merged["time"].as_str().unwrap()])["name"],
        shown["name"]
    );

    let set = shown["evidence"][2]["name"].as_str().expect("a name");
    let parts = json_of(&database, &["explain", &biff, "--without", set])["parts"].clone();
    assert_eq!((&parts[0]["identifiers"], &parts[1]["identifiers"]), (&json!(["i1", "i2"]), &json!(["i3", "i4"])));
    let path = json_of(&database, &["explain", &biff, "--between", BIFF.0, "i1"]);
    assert_eq!(
        (path["path"].as_array().map(Vec::len), path["weakest_cut"].as_array().map(Vec::len)),
        (Some(2), Some(1))
    );
    let text = said(&database, &["explain", GEORGE.0]);
    assert!(text.contains("3 of 3 sets split it if that one alone is lost:\n"), "{text}");
    let text = said(&database, &["explain", GEORGE.0, "--without", "717171", "--show-values"]);
    assert!(text.contains("without i4 phone 717171 it falls into 2 parts:\n"), "{text}");
    assert!(said(&database, &["show", &george, "--format", "dot"]).starts_with("graph identity {\n"));
    let mermaid = said(&database, &["explain", &george, "--without", set, "--format", "mermaid"]);
    assert!(mermaid.contains("subgraph part2") && !mermaid.contains("hillvalley"), "{mermaid}");
}

async fn a_pair_that_was_matched_holds_a_customer_together(database: TestDatabase) {
    let service = Service::start(&database).await;
    let id = primary(&service, "a@x.example", "1").await.to_string();
    for (email, phone) in [("b@x.example", "1"), ("b@x.example", "2"), ("a@x.example", "2")] {
        primary(&service, email, phone).await;
    }
    service.stop().await;
    let all = json_of(&database, &["explain", &id]);
    let names: Vec<&str> =
        all["evidence"].as_array().unwrap().iter().map(|set| set["name"].as_str().unwrap()).collect();
    let [_, second, _, matched] = names[..] else { panic!("{all}") };
    assert_eq!((&all["evidence"][3]["origin"], &all["bridges"]), (&json!("match"), &json!([])));
    let parts = |without: &[&str]| {
        let flags: Vec<&str> = without.iter().flat_map(|name| ["--without", name]).collect();
        json_of(&database, &[&["explain", &id], &flags[..]].concat())["parts"].as_array().unwrap().len()
    };
    assert_eq!((parts(&[second]), parts(&[second, matched])), (1, 2));
    let path = json_of(&database, &["explain", &id, "--between", "a@x.example", "2"]);
    assert_eq!((&path["path"], path["weakest_cut"].as_array().map(Vec::len)), (&json!([matched]), Some(2)));
    let text = said(&database, &["explain", &id]);
    assert!(text.contains("it stays together without any one of its sets\n"), "{text}");
}

async fn nobody_is_exit_1_and_a_mistake_is_exit_2(database: TestDatabase) {
    let (george, biff) = george_and_biff(&database).await;
    ignore(&database, &["add", "phone", TILL]);
    let unknown = |who: &str, expected: &str| {
        for name in ["show", "explain"] {
            let (status, line) = refused(&database, &[name, who]);
            assert!(status == 1 && line.contains(expected), "{name} {who}: {status} {line}");
        }
    };
    unknown("9007199254740993", "no identity has a contact with this id");
    unknown("new@hillvalley.edu", "nobody owns this email");
    unknown("phone:5550000", "nobody owns this phone");
    unknown("phone:0000000000", "this phone is ignored");
    let wrong = |words: &[&str], expected: &str| {
        let (status, line) = refused(&database, words);
        assert!(status == 2 && line.contains(expected), "{words:?}: {status} {line}");
    };
    wrong(&["show", "hillvalley"], "WHO: must be digits");
    wrong(&["show", "x hillvalley@"], "WHO: ");
    wrong(&["show", "99999999999999999999"], "WHO: is no id");
    wrong(&["show"], "required arguments were not provided");
    wrong(&["show", &george, "--read-time", "yesterday"], "--read-time: invalid value");
    wrong(&["show", &george, "--read-time", "2999-01-01T00:00:00Z"], "--read-time: must not be later");
    wrong(&["explain", &george, "--without", "e999"], "--without: value 1: the identity has no such evidence");
    wrong(&["explain", &george, "--without", "i1", "--without", "i9"], "--without: value 2: the identity does not own");
    wrong(&["explain", &george, "--between", "i1", "c1"], "--between: value 2: must be an identifier");
    wrong(&["explain", &george, "--between", "717171", "i4"], "--between: value 2: must be another");
    wrong(&["explain", &george, "--between", "i1"], "--between");
    wrong(&["explain", &george, "--between", "i1", "i2", "--without", "i3"], "--between");

    let tables = database.raw().await;
    let delete = format!(r#"UPDATE "Contact" SET "deletedAt" = "updatedAt" WHERE "id" = {biff}"#);
    execute(&tables, &delete).await;
    tables.close().await.expect("closed");
    unknown(&biff, "no identity has a contact with this id");
    unknown("phone:717171", "nobody owns this phone");
    let shown = json_of(&database, &["show", &george]);
    assert_eq!(shown["contacts"].as_array().map(Vec::len), Some(1));
}

async fn nothing_is_written_and_no_file_is_made(database: TestDatabase) {
    let is_sqlite = database.backend == Backend::Sqlite;
    let file = database.url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc").to_owned();
    for name in ["show", "explain"] {
        let (status, line) = refused(&database, &[name, "1"]);
        let reason = if is_sqlite { "file" } else { "identity migrate up" };
        assert!(status == 3 && line.contains(reason), "{line}");
    }
    assert!(!is_sqlite || !Path::new(&file).exists(), "no file is made");
    let (george, _) = george_and_biff(&database).await;
    let before = tables(&database).await;
    for words in [
        &["show", &george[..]][..],
        &["show", GEORGE.0, "--read-time", "2026-01-01T00:00:00Z"],
        &["explain", &george],
        &["explain", &george, "--between", "i1", "i4"],
        &["show", "new@hillvalley.edu"],
    ] {
        command(&database, words).output().expect("the binary runs");
    }
    assert_eq!(tables(&database).await, before);
    let in_memory = command(&database, &["show", "1"]).env("DATABASE_URL", "sqlite::memory:").output().unwrap();
    assert_eq!(in_memory.status.code(), Some(2));
    // A service may use the database beside the command.
    let service = Service::start(&database).await;
    said(&database, &["show", &george]);
    primary(&service, "new@hillvalley.edu", GEORGE.1).await;
    assert_eq!(json_of(&database, &["show", &george])["contacts"].as_array().map(Vec::len), Some(3));
    service.stop().await;
}
