//! `identity import`: exports that come back as they were, files of spreadsheets, and runs that are killed.

mod evidence;
mod marks;
mod refusals;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sea_orm::TransactionTrait;
use serde_json::{Value, json};

use crate::adopt::{Tables, killed_after, refusal, run, undo};
use crate::export::{export, fill, lines, printed};
use crate::harness::{Api, Service, Suite, TestDatabase, binary, execute, register};
use crate::verify;

pub fn register(suite: &mut Suite) {
    evidence::register(suite);
    marks::register(suite);
    refusals::register(suite);
    register!(suite.on_all():
        an_export_comes_back_as_it_was,
        a_file_of_a_spreadsheet_is_imported,
        an_import_that_is_killed_ends_as_one_that_is_not,
        an_import_waits_for_what_a_killed_one_asked_for_last,
    );
}

fn import(target: &TestDatabase, file: &Path, flags: &[&str]) -> Command {
    let mut command = binary();
    command.arg("import").arg(file).args(flags);
    if !flags.contains(&"--report") {
        command.args(["--report", "json"]);
    }
    command.env("DATABASE_URL", &target.url).env("RUST_LOG", "off");
    command
}

fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("a file");
    path
}

/// The lines of an export about contacts, owned identifiers, merges and evidence, without holders: their ids are new.
fn compared(text: &str) -> Vec<Value> {
    let is_kept = |line: &Value| match line["type"].as_str() {
        Some("contact") => line["holder"] == json!(false),
        Some("identifier") => line["ignored"] == json!(false),
        kind => matches!(kind, Some("merge" | "evidence")),
    };
    lines(text).into_iter().filter(is_kept).collect()
}

async fn an_export_comes_back_as_it_was(database: TestDatabase) {
    fill(&database).await;
    let folder = tempfile::tempdir().expect("a folder");
    let all = printed(&mut export(&database, &[]));
    let ndjson = file(folder.path(), "all.ndjson", &all);
    let csv = printed(&mut export(&database, &["--format", "csv", "--only", "contacts"]));
    let csv = file(folder.path(), "contacts.csv", csv);
    let mut expected = compared(&all);
    let deleted: Vec<Value> =
        expected.iter().filter(|line| line["deletedAt"].is_string()).map(|line| line["id"].clone()).collect();
    // What a deleted contact owns is free for the next request: an import gives it to nobody.
    expected.retain(|line| line["type"] != "identifier" || !deleted.contains(&line["contactId"]));
    assert!(expected.iter().any(|line| line["deletedAt"].is_string()));
    assert!(expected.iter().any(|line| line["ignored"] == json!(["phone"])));
    assert_eq!(expected.iter().filter(|line| line["type"] == "evidence").count(), 4);
    for (path, has_all) in [(&ndjson, true), (&csv, false)] {
        let target = TestDatabase::create(database.backend).await;
        let (status, dry) = run(&mut import(&target, path, &[]));
        assert_eq!((status, &dry["end"]), (0, &json!("dry_run")), "{dry}");
        assert!(refusals::is_untouched(&target).await, "a dry run writes nothing");
        let (status, done) = run(&mut import(&target, path, &["--apply"]));
        assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
        assert_eq!(dry["report"], done["report"]);
        verify::clean(&target);
        let exported = printed(&mut export(&target, &[]));
        let mut found = compared(&exported);
        let mut expected = expected.clone();
        let is_kept = |line: &Value| has_all || !matches!(line["type"].as_str(), Some("merge" | "evidence"));
        expected.retain(is_kept);
        found.retain(is_kept);
        assert_eq!(found, expected);
        let kept = done["report"]["evidence"]["kept"].as_u64();
        assert_eq!(kept, has_all.then_some(4), "{done}");
        // The same again: nothing is written.
        let (status, again) = run(&mut import(&target, path, &["--apply"]));
        assert_eq!((status, &again["end"], &again["contacts_written"]), (0, &json!("done"), &json!(0)), "{again}");
        assert_eq!(printed(&mut export(&target, &[])), exported);
        let service = Service::start(&target).await;
        let answer = service.caller().identify(Api::Grpc, Some("customer1@x.de"), Some("12")).await;
        assert_eq!(answer.expect("an answer").outcome, "matched");
        service.stop().await;
        let (status, line) = refusal(&mut import(&database, path, &["--apply"]));
        assert!(status == 3 && line.contains("rows that were not adopted"), "{line}");
        target.drop().await;
    }
}

async fn a_file_of_a_spreadsheet_is_imported(target: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "\u{feff}E-Mail;Telefon;created_at;note\r\n\
                Ann@Example.com;0171 1;2024-01-01T10:00:00Z;\"two\r\nlines; and a \"\"quote\"\"\"\r\n\
                ;0171 1;2023-01-01T10:00:00Z;older\r\n\
                bob@example.com;;;\r\n\
                ;;;\r\n\
                no address;0172 2;2024-01-02T10:00:00Z;\r\n";
    let path = file(folder.path(), "customers.csv", text);
    let flags = ["--map", "phone=Telefon", "email=E-Mail", "--apply"];
    let (status, done) = run(&mut import(&target, &path, &flags));
    assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
    let table = done["report"]["table"].as_array().expect("lines");
    assert!(
        table
            .iter()
            .any(|line| line.as_str().is_some_and(|line| line.starts_with("not read") && line.contains("note")))
    );
    assert_eq!(done["report"]["values"]["email_malformed"], json!(1));
    let contacts = Tables::of(&target).await.contacts;
    let found: Vec<_> = contacts.iter().map(|row| (row.id, row.email.as_deref(), row.linked_id)).collect();
    let expected =
        [(1, Some("Ann@example.com"), Some(2)), (2, None, None), (3, Some("bob@example.com"), None), (4, None, None)];
    assert_eq!(found.len(), expected.len());
    for ((id, email, linked_id), wanted) in found.iter().zip(expected) {
        assert_eq!(
            (*id, email.map(str::to_lowercase), *linked_id),
            (wanted.0, wanted.1.map(str::to_lowercase), wanted.2)
        );
    }
    verify::clean(&target);
    // The same file is done; another one is another import.
    assert_eq!(run(&mut import(&target, &path, &flags)).1["contacts_written"], json!(0));
    std::fs::write(&path, text.replace("bob", "bobby")).expect("written");
    let (status, line) = refusal(&mut import(&target, &path, &flags));
    assert!(status == 2 && line.contains("this differs: the file"), "{line}");
    assert!(undo(&target).output().expect("the binary runs").status.success());
    assert_eq!(run(&mut import(&target, &path, &flags)).1["end"], json!("done"));
}

/// Rows of the file: some transactions of each step.
const ROWS: usize = 13_000;

async fn an_import_that_is_killed_ends_as_one_that_is_not(target: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let row = |number: usize| {
        format!("{},customer{}@example.com,{}\n", number, number - number % 3, 100_000 + number - number % 2)
    };
    let text: String = std::iter::once("id,email,phone\n".to_owned()).chain((1..=ROWS).map(row)).collect();
    let path = file(folder.path(), "customers.csv", text);
    let flags = ["--max-join", "50", "--apply"];
    let fresh = TestDatabase::create(target.backend).await;
    let begun = Instant::now();
    assert_eq!(run(&mut import(&fresh, &path, &flags)).0, 0);
    let takes = begun.elapsed();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..4 {
        if killed_after(&mut import(&target, &path, &flags), takes.mul_f64(random.f64())).await.is_none() {
            assert!(undo(&target).output().expect("the binary runs").status.success());
        }
    }
    let (status, done) = run(&mut import(&target, &path, &flags));
    assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
    let (found, expected) = (Tables::of(&target).await.without_moments(), Tables::of(&fresh).await.without_moments());
    assert!(found == expected, "the tables of an import that was not killed");
    assert_eq!(found.contacts.len(), ROWS);
    verify::clean(&target);
    let tables = target.raw().await;
    execute(&tables, r#"UPDATE "Contact" SET "deletedAt" = '2026-01-01 00:00:00' WHERE "id" = 1"#).await;
    tables.close().await.expect("closed");
    let (status, line) = refusal(&mut undo(&target));
    assert!(status == 3 && line.contains("has written"), "{line}");
    fresh.drop().await;
}

/// Longer than a transaction waits for a lock.
const STATEMENT_OF_THE_DEAD: Duration = Duration::from_secs(4);

/// The server goes on with the last statement of a process that was killed, and keeps its locks until then.
async fn an_import_waits_for_what_a_killed_one_asked_for_last(target: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "customers.csv", "id,email,phone\n1,ann@example.com,0171 1\n");
    assert_eq!(run(&mut import(&target, &path, &["--apply"])).0, 0);
    let tables = target.raw().await;
    let dead = tables.begin().await.expect("a transaction");
    execute(&dead, r#"UPDATE "Adoption" SET "phase" = "phase" WHERE "id" = 1"#).await;
    let mut command = import(&target, &path, &["--apply"]);
    let further = tokio::task::spawn_blocking(move || run(&mut command));
    tokio::time::sleep(STATEMENT_OF_THE_DEAD).await;
    assert!(!further.is_finished(), "it waits");
    dead.rollback().await.expect("it ends");
    let (status, done) = further.await.expect("it ends");
    assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
    tables.close().await.expect("closed");
}
