//! `identity export`: each row as it is, all from one moment, and files that are complete or not there.

mod disturbed;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use chrono::{NaiveDateTime, SecondsFormat};
use identity::store::entity::contact::LinkPrecedence;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use url::Url;

use crate::adopt::Tables;
use crate::harness::{Api, Backend, Caller, Event, Service, Suite, TestDatabase, binary, execute, register};
use crate::ignored::{TILL, ignore};

pub fn register(suite: &mut Suite) {
    disturbed::register(suite);
    register!(suite.on_all():
        each_row_is_exported_as_it_is,
        files_are_private_complete_and_not_replaced_by_mistake,
        an_export_beside_writers_is_of_one_moment,
        what_cannot_be_exported_is_one_line,
    );
    register!(suite.on(&Backend::SERVERS): select_is_enough);
}

pub fn export(database: &TestDatabase, flags: &[&str]) -> Command {
    export_from(&database.url, flags)
}

fn export_from(url: &str, flags: &[&str]) -> Command {
    let mut command = binary();
    command.arg("export").args(flags).env("DATABASE_URL", url).env("RUST_LOG", "off");
    command
}

/// What the command prints. It says nothing else.
pub fn printed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    assert_eq!((status.code(), String::from_utf8_lossy(&stderr).as_ref()), (Some(0), ""));
    String::from_utf8(stdout).expect("text")
}

/// The line of a command that fails, and its exit status.
fn refused(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    (status.code().expect("an exit"), String::from_utf8(stderr).expect("text"))
}

pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

async fn identify(caller: &Caller, email: &str, phone: Option<&str>) -> &'static str {
    caller.identify(Api::Grpc, Some(email), phone).await.expect("an answer").outcome
}

/// Customers of each form: merged, deleted, with an identifier that is ignored and shown, and values that CSV quotes.
pub async fn fill(database: &TestDatabase) {
    let service = Service::start(database).await;
    let caller = service.caller();
    assert_eq!(identify(&caller, "till@x.de", Some(TILL)).await, "created");
    for number in 0..30 {
        let (email, phone) = (format!("customer{number}@x.de"), format!("{}", 10 + number % 20));
        identify(&caller, &email, Some(&phone)).await;
    }
    assert_eq!(identify(&caller, "customer1@x.de", Some("12")).await, "merged");
    assert_eq!(identify(&caller, "customer5@x.de", Some("14")).await, "merged");
    assert_eq!(identify(&caller, "ünï@bücher.example", Some("7")).await, "created");
    // Sets that no contact carries: of a match, and of two merges above.
    assert_eq!(identify(&caller, "customer21@x.de", Some("12")).await, "matched");
    assert_eq!(identify(&caller, "customer25@x.de", Some("14")).await, "matched");
    ignore(database, &["add", "phone", TILL]);
    service.stop().await;
    let tables = database.raw().await;
    execute(&tables, r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "email" = 'customer27@x.de'"#).await;
    tables.close().await.expect("closed");
}

fn date(moment: NaiveDateTime) -> String {
    moment.and_utc().to_rfc3339_opts(SecondsFormat::Micros, true)
}

const TABLES: [&str; 4] = ["contacts", "identifiers", "merges", "evidence"];

/// The lines that the tables make, by the entities.
fn expected(tables: &Tables) -> Vec<Value> {
    let holders: Vec<i64> = tables.contacts.iter().filter(|one| one.flags & 4 != 0).map(|one| one.id).collect();
    let mut lines = vec![json!({"type": "export", "version": 1, "rules": 2, "tables": TABLES})];
    for row in &tables.contacts {
        let ignored: Vec<&str> = [(16, "email"), (32, "phone")]
            .iter()
            .filter(|(bit, _)| row.flags & bit != 0)
            .map(|(_, kind)| *kind)
            .collect();
        lines.push(json!({
            "type": "contact",
            "id": row.id,
            "email": row.email,
            "phoneNumber": row.phone_number,
            "linkedId": row.linked_id,
            "linkPrecedence": if row.link_precedence == LinkPrecedence::Primary { "primary" } else { "secondary" },
            "createdAt": date(row.created_at),
            "updatedAt": date(row.updated_at),
            "deletedAt": row.deleted_at.map(date),
            "ignored": ignored,
            "holder": row.flags & 4 != 0,
        }));
    }
    for row in &tables.identifiers {
        lines.push(json!({
            "type": "identifier",
            "kind": row.kind,
            "value": String::from_utf8(row.value.clone()).expect("UTF-8"),
            "contactId": row.contact_id,
            "ignored": holders.contains(&row.contact_id),
        }));
    }
    for row in &tables.merges {
        lines.push(json!({
            "type": "merge",
            "id": row.id,
            "survivorId": row.survivor_id,
            "absorbedId": row.absorbed_id,
            "cause": row.cause.0,
            "createdAt": date(row.created_at),
        }));
    }
    for row in &tables.evidence {
        lines.push(json!({
            "type": "evidence",
            "id": row.id,
            "contactId": row.contact_id,
            "origin": row.origin,
            "identifiers": row.identifiers.0,
            "createdAt": date(row.created_at),
        }));
    }
    lines.push(json!({"type": "end", "rows": lines.len() - 1}));
    lines
}

/// The rows of a CSV file, in the form of the lines.
fn rows_of_csv(kind: &str, text: &str) -> Vec<Value> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns: Vec<String> = reader.headers().expect("columns").iter().map(str::to_owned).collect();
    let rows = reader.records().map(|row| {
        let row = row.expect("a row");
        let mut object = json!({"type": kind});
        for (column, value) in columns.iter().zip(row.iter()) {
            let is_id = column.to_lowercase().ends_with("id");
            object[column] = match (column.as_str(), value) {
                ("ignored", kinds) if kind == "contact" => json!(kinds.split_whitespace().collect::<Vec<_>>()),
                ("ignored" | "holder", is_so) => json!(is_so == "true"),
                ("cause" | "identifiers", cause) => serde_json::from_str(cause).expect("JSON"),
                (_, "") => Value::Null,
                (_, id) if is_id => json!(id.parse::<i64>().expect("a number")),
                (_, text) => json!(text),
            };
        }
        object
    });
    rows.collect()
}

async fn each_row_is_exported_as_it_is(database: TestDatabase) {
    fill(&database).await;
    let tables = database.raw().await;
    // What nobody but SQL writes, and is to be seen in an export all the same.
    let odd = "UPDATE \"Contact\" SET \"email\" = 'a \"b\",\r\nc;=1+1' WHERE \"email\" = 'customer8@x.de'";
    execute(&tables, odd).await;
    tables.close().await.expect("closed");
    let before = Tables::of(&database).await;
    let expected = expected(&before);
    let kinds: Vec<_> = expected.iter().map(|line| line["type"].as_str().expect("text")).collect();
    assert!(["contact", "identifier", "merge", "evidence"].iter().all(|kind| kinds.contains(kind)));
    let origins = |origin: &str| expected.iter().filter(|line| line["origin"] == origin).count();
    assert_eq!((origins("merge"), origins("match")), (2, 2));
    assert!(expected.iter().any(|line| line["holder"] == json!(true)));
    assert!(expected.iter().any(|line| line["ignored"] == json!(["phone"])));
    assert!(expected.iter().any(|line| line["holder"] == json!(false) && line["deletedAt"].is_string()));
    let text = printed(&mut export(&database, &[]));
    assert_eq!(lines(&text), expected);
    assert_eq!(printed(&mut export(&database, &["--format", "ndjson", "--output", "-"])), text);
    for (only, kind) in
        [("contacts", "contact"), ("identifiers", "identifier"), ("merges", "merge"), ("evidence", "evidence")]
    {
        let of_kind: Vec<_> = expected.iter().filter(|line| line["type"] == kind).cloned().collect();
        let csv = printed(&mut export(&database, &["--format", "csv", "--only", only]));
        assert_eq!(rows_of_csv(kind, &csv), of_kind, "{only}");
        let some = lines(&printed(&mut export(&database, &["--only", only])));
        assert_eq!(some[0]["tables"], json!([only]));
        assert_eq!(some[1..some.len() - 1], of_kind, "{only}");
    }
    assert!(Tables::of(&database).await == before, "an export changes nothing");
    if database.backend == Backend::Sqlite {
        let file = database.url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc");
        let beside: Vec<_> = std::fs::read_dir(Path::new(file).parent().expect("a folder")).expect("it").collect();
        assert_eq!(beside.len(), 1, "no file stays beside that of the database: {beside:?}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

async fn files_are_private_complete_and_not_replaced_by_mistake(database: TestDatabase) {
    fill(&database).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let run = |output: &Path, flags: &[&str]| {
        let output = output.display().to_string();
        export(&database, &[&["--output", &output], flags].concat())
    };
    let mode = |path: PathBuf| path.metadata().expect("a file").mode() & 0o777;
    let all = printed(&mut export(&database, &[]));
    assert_eq!(printed(&mut run(&path("all.ndjson"), &[])), "");
    assert_eq!(std::fs::read_to_string(path("all.ndjson")).expect("text"), all);
    assert_eq!(mode(path("all.ndjson")), 0o600);
    let contacts = printed(&mut export(&database, &["--only", "contacts", "--format", "csv"]));
    printed(&mut run(&path("contacts.csv"), &["--only", "contacts"]));
    assert_eq!(std::fs::read_to_string(path("contacts.csv")).expect("text"), contacts);
    printed(&mut run(&path("tables"), &["--format", "csv"]));
    assert_eq!(names(&path("tables")), ["contacts.csv", "evidence.csv", "identifiers.csv", "merges.csv"]);
    assert_eq!((mode(path("tables")), mode(path("tables/merges.csv"))), (0o700, 0o600));
    assert_eq!(std::fs::read_to_string(path("tables/contacts.csv")).expect("text"), contacts);
    // Nothing is replaced without --force, and nothing else with it.
    std::fs::write(path("tables/note"), "mine").expect("written");
    std::fs::write(path("all.ndjson"), "older").expect("written");
    for (output, flags) in [("all.ndjson", &[][..]), ("tables", &["--format", "csv"])] {
        let (status, line) = refused(&mut run(&path(output), flags));
        assert!(status == 2 && line.contains("--output") && line.contains("--force"), "{line}");
        printed(&mut run(&path(output), &[flags, &["--force"]].concat()));
    }
    assert_eq!(std::fs::read_to_string(path("all.ndjson")).expect("text"), all);
    assert_eq!(names(&path("tables")), ["contacts.csv", "evidence.csv", "identifiers.csv", "merges.csv", "note"]);
    assert_eq!(names(folder.path()), ["all.ndjson", "contacts.csv", "tables"]);
}

/// Starts an export whose reader stands still after the first line: the contacts are read, the rest is not.
fn export_that_waits(url: &str) -> (Child, BufReader<ChildStdout>) {
    let mut export = export_from(url, &[]);
    let mut child = export.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut reader = BufReader::with_capacity(1, child.stdout.take().expect("piped"));
    let mut first = String::new();
    reader.read_line(&mut first).expect("a line");
    assert!(first.starts_with(r#"{"type":"export""#), "{first}");
    let mut second = String::new();
    reader.read_line(&mut second).expect("a line");
    (child, reader)
}

/// Contacts that do not fit into a pipe, and not into two pages.
async fn many(caller: &Caller) {
    for part in 0..25 {
        let event = |number: u32| Event {
            email: Some(format!("a.customer.with.a.long.address.{}@example.com", part * 100 + number)),
            phone: Some((1_000_000 + part * 100 + number).to_string()),
        };
        let events: Vec<Event> = (0..100).map(event).collect();
        assert!(caller.batch(Api::Grpc, &events).await.expect("answers").iter().all(Result::is_ok));
    }
}

async fn an_export_beside_writers_is_of_one_moment(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    many(&caller).await;
    let before = Tables::of(&database).await;
    let (mut child, mut reader) = export_that_waits(&database.url);
    // Writers do not wait for it.
    for number in 0..20 {
        let (email, phone) = (format!("later{number}@example.com"), (5_000_000 + number).to_string());
        assert_eq!(identify(&caller, &email, Some(&phone)).await, "created");
        let known = format!("a.customer.with.a.long.address.{number}@example.com");
        assert_eq!(identify(&caller, &known, Some(&(1_000_500 + number).to_string())).await, "merged");
    }
    let after = Tables::of(&database).await;
    assert_eq!(after.merges.len(), before.merges.len() + 20);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("text");
    assert!(child.wait().expect("it ends").success());
    let expected = expected(&before);
    assert!(lines(&rest) == expected[2..], "the rows are those of the moment of the first read");
    let contacts: Vec<_> = expected.iter().filter(|line| line["type"] == "contact").map(|line| &line["id"]).collect();
    for line in lines(&rest).iter().filter(|line| line["type"] == "identifier") {
        assert!(contacts.contains(&&line["contactId"]), "{line}");
    }
    a_reader_that_leaves_and_a_signal_end_it(&database);
    service.stop().await;
}

fn a_reader_that_leaves_and_a_signal_end_it(database: &TestDatabase) {
    let (child, reader) = export_that_waits(&database.url);
    drop(reader);
    let Output { status, stderr, .. } = child.wait_with_output().expect("it ends");
    assert_eq!((status.code(), String::from_utf8_lossy(&stderr).as_ref()), (Some(0), ""));
    let (mut child, reader) = export_that_waits(&database.url);
    let signal = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(signal.expect("kill runs").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
    drop(reader);
}

async fn what_cannot_be_exported_is_one_line(database: TestDatabase) {
    let is_sqlite = database.backend == Backend::Sqlite;
    let file = database.url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc");
    let (status, line) = refused(&mut export(&database, &[]));
    let reason = if is_sqlite { "file" } else { "identity migrate up" };
    assert!(status == 3 && line.contains(reason) && line.lines().count() == 1, "{line}");
    assert!(!is_sqlite || !Path::new(file).exists(), "no file is made");
    database.store().await;
    assert_eq!(lines(&printed(&mut export(&database, &[]))).len(), 2, "empty tables");
    let (status, line) = refused(&mut export(&database, &["--format", "csv"]));
    assert!(status == 2 && line.contains("--only"), "{line}");
    let (status, line) = refused(&mut export(&database, &["--output", "all.csv"]));
    assert!(status == 2 && line.contains("--only"), "{line}");
    let (status, line) = refused(&mut export(&database, &["--output", "/no/such/folder/all.ndjson"]));
    assert!(status == 2 && line.contains("--output"), "{line}");
    let tables = database.raw().await;
    let owner = r#"INSERT INTO "Identifier" VALUES ('email', 'x@y.de', 77)"#;
    let owner = if database.backend == Backend::Postgres {
        owner.replace("'x@y.de'", "'x@y.de'::bytea")
    } else {
        owner.to_owned()
    };
    execute(&tables, &owner).await;
    let exported = lines(&printed(&mut export(&database, &["--only", "identifiers"])));
    assert_eq!(exported[1]["contactId"], json!(77), "what is broken is exported as it is");
    let adoption = r#"INSERT INTO "Adoption" ("id", "options", "phase", "progress", "contacts", "lastContactId",
        "lastMergeId", "content", "run", "startedAt")
        VALUES (1, '{}', 'merges', 0, 0, 0, 0, '', '', '2026-01-01 00:00:00.000000')"#;
    execute(&tables, adoption).await;
    let (status, line) = refused(&mut export(&database, &[]));
    assert!(status == 3 && line.contains("identity adopt --apply") && line.lines().count() == 1, "{line}");
    tables.close().await.expect("closed");
}

async fn select_is_enough(database: TestDatabase) {
    fill(&database).await;
    let tables = database.raw().await;
    let name = database.url.rsplit('/').next().expect("a name");
    let user = format!("{name}_r");
    let statements = if database.backend == Backend::Postgres {
        [
            format!("CREATE USER {user} PASSWORD 'change me'"),
            format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}"),
        ]
    } else {
        [
            format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'change me'"),
            format!("GRANT SELECT ON {name}.* TO '{user}'@'%'"),
        ]
    };
    for statement in statements {
        tables.execute_unprepared(&statement).await.expect("a statement");
    }
    let mut url = Url::parse(&database.url).expect("a URL");
    url.set_username(&user).expect("a user");
    url.set_password(Some("change me")).expect("a password");
    let as_reader = printed(export(&database, &[]).env("DATABASE_URL", url.as_str()));
    assert_eq!(as_reader, printed(&mut export(&database, &[])));
    let drop = if database.backend == Backend::Postgres {
        format!("DROP OWNED BY {user}; DROP USER {user}")
    } else {
        format!("DROP USER '{user}'@'%'")
    };
    tables.execute_unprepared(&drop).await.expect("a statement");
    tables.close().await.expect("closed");
}
