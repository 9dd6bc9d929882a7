//! Runs beside each other, beside the service, and after somebody else has written.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Old, Tables, refusal, run, undo};
use crate::harness::{Api, Service, Suite, TestDatabase, binary, execute, query, register};
use crate::old_tables::{OldKind, damaged_rows};
use crate::verify;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_run_that_another_has_taken_over_writes_nothing_more,
        undo_beside_apply_leaves_nothing_behind,
        a_service_beside_apply_ends,
        whatever_others_write_is_seen_and_kept,
        a_contact_of_another_process_is_never_deleted,
        one_connection_is_refused,
        a_missing_row_with_many_links_needs_a_decision,
    );
}

/// Rows of the old table: many transactions.
const ROWS: usize = 13_000;

async fn large(target: &TestDatabase) -> (Old, Vec<String>) {
    let old = Old::make(target.backend, OldKind::Prisma, &damaged_rows(61, ROWS)).await;
    let flags = ["--accept", &old.file("accept"), "--max-join", "50", "--apply"].map(str::to_owned).to_vec();
    (old, flags)
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

/// Waits until an adoption has written contacts.
async fn until_it_writes(target: &TestDatabase) {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not begin");
        if target_is_there(target) {
            let tables = target.raw().await;
            let sql = r#"SELECT 1 FROM "Adoption" WHERE "lastContactId" > 0"#;
            let sql = if target.backend.is_mysql() { sql.replace('"', "`") } else { sql.to_owned() };
            let writes = sea_orm::ConnectionTrait::query_all_raw(
                &tables,
                sea_orm::Statement::from_string(sea_orm::ConnectionTrait::get_database_backend(&tables), sql),
            );
            let writes = writes.await.is_ok_and(|rows| !rows.is_empty());
            tables.close().await.expect("closed");
            if writes {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether there is a database. On SQLite the command makes the file.
fn target_is_there(target: &TestDatabase) -> bool {
    let path = target.url.strip_prefix("sqlite://").map(|path| path.trim_end_matches("?mode=rwc"));
    path.is_none_or(|path| std::path::Path::new(path).exists())
}

fn ended(child: Child) -> (ExitStatus, String) {
    let output = child.wait_with_output().expect("it ends");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn check_like_a_fresh_one(old: &Old, target: &TestDatabase, flags: &[&str]) {
    let fresh = TestDatabase::create(target.backend).await;
    assert_eq!(run(&mut old.adopt(&fresh, flags)).0, 0);
    let (found, expected) = (Tables::of(target).await.without_moments(), Tables::of(&fresh).await.without_moments());
    assert!(found == expected, "the tables of a fresh adoption");
    verify::clean(target);
    fresh.drop().await;
}

async fn a_run_that_another_has_taken_over_writes_nothing_more(target: TestDatabase) {
    let (old, flags) = large(&target).await;
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let first = spawn(&mut old.adopt(&target, &flags));
    until_it_writes(&target).await;
    let (status, second) = run(&mut old.adopt(&target, &flags));
    assert_eq!((status, &second["end"]), (0, &json!("done")), "{second}");
    let (status, said) = ended(first);
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("another run") || said.contains("duplicate key"), "{said}");
    check_like_a_fresh_one(&old, &target, &flags).await;
    old.drop().await;
}

async fn undo_beside_apply_leaves_nothing_behind(target: TestDatabase) {
    let (old, flags) = large(&target).await;
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let first = spawn(&mut old.adopt(&target, &flags));
    until_it_writes(&target).await;
    let undone = undo(&target).output().expect("the binary runs");
    assert!(undone.status.success(), "{}", String::from_utf8_lossy(&undone.stderr));
    let (status, said) = ended(first);
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("another run"), "{said}");
    let tables = target.raw().await;
    for table in ["Contact", "AdoptedContact", "Identifier", "ContactMerge", "Adoption"] {
        assert_eq!(query(&tables, &format!(r#"SELECT 1 FROM "{table}""#)).await.len(), 0, "{table}");
    }
    tables.close().await.expect("closed");
    assert_eq!(run(&mut old.adopt(&target, &flags)).0, 0);
    check_like_a_fresh_one(&old, &target, &flags).await;
    old.drop().await;
}

async fn a_service_beside_apply_ends(target: TestDatabase) {
    let old = Old::make(target.backend, OldKind::Prisma, &damaged_rows(71, 5)).await;
    assert_eq!(run(&mut old.adopt(&target, &["--apply"])).0, 0);
    let mut serve = binary();
    serve.arg("serve").env("DATABASE_URL", &target.url).env("RUST_LOG", "info");
    serve.env("GRPC_ADDR", "127.0.0.1:0").env("HTTP_ADDR", "127.0.0.1:0");
    let mut service = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(service.try_wait().expect("a child"), None, "it serves while nobody adopts");
    let (status, again) = run(&mut old.adopt(&target, &["--apply"]));
    assert_eq!((status, &again["end"]), (0, &json!("done")), "{again}");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = service.try_wait().expect("a child") {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(10) {
            service.kill().expect("killed");
            panic!("the service goes on beside an adoption");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(status.code(), Some(3));
    old.drop().await;
}

/// Each of these changes no count of rows and no greatest id.
async fn whatever_others_write_is_seen_and_kept(target: TestDatabase) {
    let old = Old::make(target.backend, OldKind::Prisma, &damaged_rows(81, 60)).await;
    let apply = ["--ignore", &old.file("ignore"), "--apply"].map(str::to_owned);
    let apply: Vec<&str> = apply.iter().map(String::as_str).collect();
    for change in [
        "ignore remove",
        r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "id" = 1"#,
        r#"UPDATE "Contact" SET "flags" = 16 WHERE "id" = 1"#,
        r#"UPDATE "Identifier" SET "contactId" = "contactId" + 1 WHERE "kind" = 'email'"#,
        r#"DELETE FROM "AdoptedContact""#,
    ] {
        let own = TestDatabase::create(target.backend).await;
        assert_eq!(run(&mut old.adopt(&own, &apply)).0, 0, "{change}");
        if change == "ignore remove" {
            let mut remove = binary();
            remove.args(["ignore", "remove", "phone", "0000000000"]).env("DATABASE_URL", &own.url);
            assert!(remove.output().expect("the binary runs").status.success());
        } else {
            let tables = own.raw().await;
            execute(&tables, change).await;
            tables.close().await.expect("closed");
        }
        let before = Tables::of(&own).await;
        for mut command in [old.adopt(&own, &apply), undo(&own)] {
            let (status, line) = refusal(&mut command);
            assert!(status == 3 && line.contains("has written"), "{change}: {line}");
        }
        assert!(Tables::of(&own).await == before, "{change}: nothing is lost");
        Service::start(&own).await.stop().await; // It was done before, and is so after a refusal.
        own.drop().await;
    }
    old.drop().await;
}

/// A process that knows nothing of adoptions writes in the middle of one.
async fn a_contact_of_another_process_is_never_deleted(target: TestDatabase) {
    let old = Old::make(target.backend, OldKind::Prisma, &damaged_rows(91, 5)).await;
    assert_eq!(run(&mut old.adopt(&target, &["--apply"])).0, 0);
    let service = Service::start(&target).await;
    service.caller().identify(Api::Grpc, Some("first@example.org"), None).await.expect("an answer");
    service.stop().await;
    let tables = target.raw().await;
    for phase in ["contacts", "identifiers", "merges"] {
        execute(&tables, &format!(r#"UPDATE "Adoption" SET "phase" = '{phase}'"#)).await;
        for mut command in [old.adopt(&target, &["--apply"]), undo(&target)] {
            let (status, line) = refusal(&mut command);
            assert!(status == 3 && line.contains("during the adoption"), "{phase}: {line}");
        }
    }
    let theirs = query(&tables, r#"SELECT 1 FROM "Contact" WHERE "email" = 'first@example.org'"#).await;
    assert_eq!(theirs.len(), 1);
    let mut ignore = binary();
    ignore.args(["ignore", "add", "phone", "1"]).env("DATABASE_URL", &target.url);
    let mut repair = binary();
    repair.args(["verify", "--repair"]).env("DATABASE_URL", &target.url);
    for mut command in [ignore, repair] {
        let (status, line) = refusal(command.env("RUST_LOG", "off"));
        assert!(status == 3 && line.contains("identity adopt --apply"), "{line}");
    }
    tables.close().await.expect("closed");
    old.drop().await;
}

async fn one_connection_is_refused(target: TestDatabase) {
    let old = Old::make(target.backend, OldKind::Prisma, &damaged_rows(92, 5)).await;
    let (status, line) = refusal(old.adopt(&target, &["--apply"]).env("DATABASE_CONNECTIONS", "1"));
    assert!(status == 2 && line.contains("DATABASE_CONNECTIONS must be at least 2"), "{line}");
    let (status, done) = run(old.adopt(&target, &["--apply"]).env("DATABASE_CONNECTIONS", "2"));
    assert_eq!((status, &done["end"]), (0, &json!("done")));
    old.drop().await;
}

async fn a_missing_row_with_many_links_needs_a_decision(target: TestDatabase) {
    const MISSING: i64 = 999_999;
    let mut rows = damaged_rows(93, 5);
    for (number, row) in rows.iter_mut().enumerate() {
        row.email = Some(format!("sentinel{number}@example.com"));
        (row.phone_number, row.linked_id, row.is_secondary, row.deleted_at) = (None, Some(MISSING), true, None);
    }
    let old = Old::make(target.backend, OldKind::Prisma, &rows).await;
    let (status, undecided) = run(&mut old.adopt(&target, &["--apply"]));
    assert_eq!((status, &undecided["end"]), (1, &json!("decisions_needed")), "{undecided}");
    let expected = json!([{"kind": "link", "old_identities": 5, "contact": MISSING, "accepted": false}]);
    assert_eq!(undecided["report"]["over_max_join"], expected);
    if !target.url.starts_with("sqlite") {
        let tables = target.raw().await;
        assert!(
            query(&tables, "SELECT 1 FROM information_schema.tables WHERE table_name = 'Adoption'").await.is_empty()
                || target.backend.is_mysql()
        );
        tables.close().await.expect("closed");
    } else {
        assert!(!target_is_there(&target), "nothing was written");
    }
    let decided = old.file("links");
    std::fs::write(&decided, format!("# a sentinel\nlink {MISSING}\n")).expect("a file");
    for (flag, customers) in [("--accept", 1), ("--ignore", 5)] {
        let own = TestDatabase::create(target.backend).await;
        let (status, done) = run(&mut old.adopt(&own, &[flag, &decided, "--apply"]));
        assert_eq!((status, &done["end"]), (0, &json!("done")), "{flag}: {done}");
        let tables = Tables::of(&own).await;
        let primaries = tables.contacts.iter().filter(|contact| contact.linked_id.is_none()).count();
        assert_eq!(primaries, customers, "{flag}");
        verify::clean(&own);
        own.drop().await;
    }
    old.drop().await;
}
