//! Files that are refused, each by one line, and before anything is written.

use std::path::Path;
use std::time::Duration;

use sea_orm::{EntityTrait, QuerySelect};
use serde_json::json;

use super::{file, import};
use crate::adopt::{refusal, run, undo};
use crate::harness::{Backend, Suite, TestDatabase, execute, query, register};
use crate::verify;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_wrong_file_is_one_line_and_writes_nothing,
        a_file_that_cannot_be_opened_is_a_wrong_command_line,
        a_file_that_changes_between_the_reads_is_refused,
        a_target_with_a_row_in_any_table_is_refused,
    );
}

/// Whether a database has no table at all. A command that writes makes tables first; on SQLite it makes the file.
pub async fn is_untouched(target: &TestDatabase) -> bool {
    let path = target.url.strip_prefix("sqlite://").map(|path| path.trim_end_matches("?mode=rwc"));
    if let Some(path) = path {
        return !Path::new(path).exists();
    }
    let schema = if target.backend.is_mysql() { "DATABASE()" } else { "current_schema()" };
    let tables = target.raw().await;
    let sql = format!("SELECT 1 FROM information_schema.tables WHERE table_schema = {schema}");
    let is_empty = query(&tables, &sql).await.is_empty();
    tables.close().await.expect("closed");
    is_empty
}

async fn a_wrong_file_is_one_line_and_writes_nothing(target: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let export = r#"{"type":"export","version":1,"rules":2,"tables":["contacts"]}"#;
    let joined = format!("{export}\n{{\"type\":\"end\",\"rows\":0}}\n{{\"type\":\"contact\",\"id\":1}}\n");
    let merges = export.replace("contacts", "merges") + "\n{\"type\":\"end\",\"rows\":0}\n";
    for (name, content, status, said) in [
        (
            "a.csv",
            &b"email,phone\r\na@x.de,1\r\nsecret@x.de\r\n"[..],
            3,
            "line 3 has 1 fields, and the first line has 2",
        ),
        ("b.csv", b"email,phone\n\"a@\nx.de\",1\nsecret\xff@x.de,2\n", 3, "line 4 is not UTF-8"),
        ("c.csv", b"\xff\xfee\0m\0", 3, "line 1 is not UTF-8"),
        // The lines are those that an editor counts, with the blank ones.
        ("q.csv", b"\n\nemail,phone\n\n\na@x.de,1\n\nsecret@x.de\n", 3, "line 8 has 1 fields"),
        ("r.csv", b"id,email\r\n\r\n1,\"a\r\n@x.de\"\r\n\r\nsecret,b@x.de", 3, "line 6 has an id"),
        ("s.csv", b"email,note\n\na@x.de,\n\nsecret@x.de,\"5 inch\n\nsecret\n", 3, "line 5 opens a quote"),
        ("t.ndjson", b"\n{\"email\":\"a@x.de\"}\n\n\nsecret\n", 3, "line 5 is no JSON object"),
        ("u.ndjson", merges.as_bytes(), 3, "an export without contacts"),
        ("d.csv", b"name,town\nsecret,secret\n", 2, "the file has no column for email or phoneNumber"),
        (
            "e.csv",
            b"email,created_at\nsecret@x.de,2024-01-01 10:00:00\n",
            2,
            "line 2: createdAt does not say its time zone",
        ),
        ("f.csv", b"id,email\n2,secret@x.de\n1,b@x.de\n", 3, "the ids do not rise at line 3"),
        ("g.csv", b"id,email\nsecret,secret@x.de\n", 3, "line 2 has an id"),
        ("h.csv", b"email,deleted_at\nsecret@x.de,yes\n", 3, "line 2 has a deletedAt that is no date"),
        ("i.csv", b"", 3, "the file is empty"),
        ("j.txt", b"email\n", 2, "--format csv"),
        ("k.ndjson", b"{\"email\":\"a@x.de\"}\nsecret\n", 3, "line 2 is no JSON object"),
        ("l.ndjson", export.as_bytes(), 3, "an export that was cut"),
        ("m.csv", b"secret@x.de,1\nsecret2@x.de,2\n", 3, "line 1 has no names of columns"),
        ("n.csv", b"secret,0301234567\nsecret,2\n", 3, "line 1 has no names of columns"),
        ("o.csv", b"email,note\na@x.de,\"5 inch\nsecret@x.de,\nc@x.de,\n", 3, "line 2 opens a quote"),
        ("p.ndjson", joined.as_bytes(), 3, "cut or joined"),
    ] {
        let path = file(folder.path(), name, content);
        let (found, line) = refusal(&mut import(&target, &path, &["--apply"]));
        assert!(found == status && line.contains(said) && line.lines().count() == 1, "{name}: {found} {line}");
        assert!(!line.contains("secret"), "{name}: {line}");
        assert!(is_untouched(&target).await, "{name}");
    }
    let plain = file(
        folder.path(),
        "plain.jsonl",
        "{\"email\":\"a@x.de\"}\n{\"phone\":4917112345,\"created_at\":\"2024-01-01\"}\n",
    );
    let (status, done) = run(&mut import(&target, &plain, &["--time-zone", "Europe/Berlin", "--apply"]));
    assert_eq!((status, &done["report"]["rows"]), (0, &json!(2)), "{done}");
}

async fn a_file_that_cannot_be_opened_is_a_wrong_command_line(target: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, missing) = (file(folder.path(), "good.csv", "email\na@x.de\n"), folder.path().join("missing.csv"));
    let pipe = folder.path().join("pipe.csv");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let missing_name = missing.display().to_string();
    for (path, flags, named) in [
        (&missing, &[][..], "<FILE> must be a file that can be read"),
        (&folder.path().to_owned(), &["--format", "csv"], "<FILE> must be a regular file"),
        (&good, &["--ignore", missing_name.as_str()], "--ignore: must be a file that can be read"),
        (&good, &["--accept", missing_name.as_str()], "--accept: must be a file that can be read"),
    ] {
        let (status, line) = refusal(&mut import(&target, path, flags));
        assert!(status == 2 && line.contains(named) && line.lines().count() == 1, "{status} {line}");
    }
    // Nobody writes to the pipe: opening it must not wait.
    let (status, line) = refusal(&mut import(&target, &pipe, &[]));
    assert!(status == 2 && line.contains("<FILE> must be a regular file"), "{status} {line}");
    assert!(is_untouched(&target).await);
}

/// So many rows that the reads of the file take a while.
const ROWS: usize = 60_000;

async fn a_file_that_changes_between_the_reads_is_refused(target: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let row = |number: usize| format!("{number},customer{number}@example.com,{}\n", 100_000 + number);
    let text: String = std::iter::once("id,email,phone\n".to_owned()).chain((1..=ROWS).map(row)).collect();
    let path = file(folder.path(), "customers.csv", &text);
    let mut child = import(&target, &path, &["--apply"]);
    let child = child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn();
    let mut child = child.expect("the binary runs");
    // The first contacts are written, and the file is read for them.
    while !has_contacts(&target).await {
        assert!(child.try_wait().expect("a state").is_none(), "it has ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The last row has still to be read.
    std::fs::write(&path, text.replace(&format!("customer{ROWS}@"), "another@")).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let line = String::from_utf8(output.stderr).expect("text");
    let status = output.status.code().expect("an exit");
    assert!(status == 3 && line.contains("the file changed while it was read") && line.contains("--undo"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(undo(&target).output().expect("the binary runs").status.success());
    let (status, done) = run(&mut import(&target, &path, &["--apply"]));
    assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
    verify::clean(&target);
}

/// Whether contacts are there, while another process makes the tables.
async fn has_contacts(target: &TestDatabase) -> bool {
    let path = target.url.strip_prefix("sqlite://").map(|path| path.trim_end_matches("?mode=rwc"));
    if path.is_some_and(|path| !Path::new(path).exists()) {
        return false;
    }
    let tables = target.raw().await;
    let found = identity::store::entity::contact::Entity::find().limit(1).all(&tables).await;
    tables.close().await.expect("closed");
    found.is_ok_and(|found| !found.is_empty())
}

async fn a_target_with_a_row_in_any_table_is_refused(target: TestDatabase) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = file(folder.path(), "customers.csv", "email\na@x.de\n");
    target.store().await;
    let tables = target.raw().await;
    let bytes = |value: &str| match target.backend {
        Backend::Postgres => format!("'{value}'::bytea"),
        Backend::Sqlite | Backend::Mariadb | Backend::Mysql => format!("'{value}'"),
    };
    let (value, key) = (bytes("b@x.de"), bytes("0123456789abcdef"));
    let at = "'2026-01-01 00:00:00'";
    for (table, row) in [
        (
            "Contact",
            format!(
                r#"("email", "linkPrecedence", "createdAt", "updatedAt") VALUES ('b@x.de', 'primary', {at}, {at})"#
            ),
        ),
        ("Identifier", format!(r#"("kind", "value", "contactId") VALUES ('email', {value}, 1)"#)),
        ("ContactMerge", format!(r#"("survivorId", "absorbedId", "cause", "createdAt") VALUES (1, 2, '[]', {at})"#)),
        ("AdoptedContact", r#"("id", "reason") VALUES (1, 'blank')"#.to_owned()),
        (
            "Evidence",
            format!(
                r#"("setKey", "contactId", "origin", "identifiers", "createdAt")
                VALUES ({key}, 1, 'match', '[]', {at})"#
            ),
        ),
    ] {
        execute(&tables, &format!(r#"INSERT INTO "{table}" {row}"#)).await;
        for flags in [&[][..], &["--apply"]] {
            let (status, line) = refusal(&mut import(&target, &path, flags));
            // Contacts without identifiers are refused by an earlier check.
            let said = if table == "Contact" { "a database of its own" } else { "rows that were not adopted" };
            assert!(status == 3 && line.contains(said), "{table}: {status} {line}");
        }
        assert_eq!(execute(&tables, &format!(r#"DELETE FROM "{table}""#)).await, 1, "the row of {table} stays");
    }
    assert_eq!(run(&mut import(&target, &path, &["--apply"])).0, 0);
    tables.close().await.expect("closed");
}
