//! What changes in the old table after or during the first pass, undoing, and dry runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::kinds::check_tables;
use super::model::Model;
use super::{Old, Tables, run};
use crate::harness::{Backend, Dump, Suite, TestDatabase, dump, execute, query, register};
use crate::old_tables::{MadeRow, OldKind, damaged_rows};
use crate::verify;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_second_pass_takes_what_has_changed,
        writers_beside_the_first_pass_lose_nothing,
        an_undone_adoption_leaves_nothing_and_can_be_repeated,
        a_dry_run_writes_nothing,
    );
}

const KIND: OldKind = OldKind::Prisma;

/// What a fresh adoption of the old table makes.
async fn fresh(old: &Old, flags: &[&str]) -> Tables {
    let target = TestDatabase::create(old.database.backend).await;
    let (status, applied) = run(&mut old.adopt(&target, &[&["--apply"], flags].concat()));
    assert_eq!((status, &applied["end"]), (0, &json!("done")), "{applied}");
    let tables = Tables::of(&target).await;
    target.drop().await;
    tables.without_moments()
}

/// Puts other rows into the old table.
pub async fn replace(old: &mut Old, rows: &[MadeRow]) {
    let tables = old.database.raw().await;
    let rows = old.kind.stored(old.database.backend, rows);
    execute(&tables, &format!(r#"DELETE FROM "{}""#, old.kind.table())).await;
    old.kind.insert(old.database.backend, &tables, &rows).await;
    tables.close().await.expect("closed");
    old.rows = rows;
}

/// Rows before and after: new ones, changed ones, deleted ones, ones that are gone, and merges by links.
fn before_and_after() -> (Vec<MadeRow>, Vec<MadeRow>) {
    let after = damaged_rows(5, 260);
    let mut before = after[..200].to_vec();
    for (number, row) in before.iter_mut().enumerate() {
        match number % 13 {
            0 => row.email = Some(format!("before{number}@example.com")),
            1 => row.linked_id = None,
            2 => row.deleted_at = None,
            3 => row.is_secondary = !row.is_secondary,
            4 => row.phone_number = row.phone_number.take().map(|phone| format!(" {phone}")),
            _ => {}
        }
    }
    let after = after.into_iter().enumerate().filter(|(number, _)| number % 17 != 16).map(|(_, row)| row).collect();
    (before, after)
}

async fn a_second_pass_takes_what_has_changed(target: TestDatabase) {
    let (before, after) = before_and_after();
    let mut old = Old::make(target.backend, KIND, &before).await;
    let ignore = old.file("ignore");
    let flags = ["--ignore", ignore.as_str()];
    let apply = [&flags[..], &["--apply"]].concat();
    let (status, first) = run(&mut old.adopt(&target, &apply));
    assert_eq!((status, &first["end"]), (0, &json!("done")), "{first}");
    check_tables(KIND, &old.rows, &Tables::of(&target).await, true);
    let (status, again) = run(&mut old.adopt(&target, &apply));
    assert_eq!((status, &again["end"], &again["contacts_written"]), (0, &json!("done"), &json!(0)));
    replace(&mut old, &after).await;
    let (status, second) = run(&mut old.adopt(&target, &apply));
    assert_eq!((status, &second["end"]), (0, &json!("done")), "{second}");
    assert_ne!(second["contacts_written"], json!(0));
    let tables = Tables::of(&target).await;
    check_tables(KIND, &old.rows, &tables, true);
    verify::clean(&target);
    let fresh = fresh(&old, &flags).await;
    assert_eq!(tables.merges.len(), fresh.merges.len());
    let adopted = tables.without_moments();
    let contacts =
        |tables: &Tables| tables.contacts.iter().filter(|contact| contact.flags & 4 == 0).cloned().collect::<Vec<_>>();
    assert_eq!(contacts(&adopted), contacts(&fresh));
    assert_eq!((adopted.originals, adopted.merges), (fresh.originals, fresh.merges));
    old.drop().await;
}

async fn writers_beside_the_first_pass_lose_nothing(target: TestDatabase) {
    let old = Old::make(target.backend, KIND, &damaged_rows(11, 3_000)).await;
    let accept = old.file("accept");
    let apply = ["--accept", accept.as_str(), "--max-join", "50", "--apply"];
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (database, is_over) = (old.database.clone(), Arc::clone(&is_over));
        async move {
            let tables = database.raw().await;
            let mut random = fastrand::Rng::with_seed(3);
            let (mut id, mut written) = (1_000_000_u64, 0);
            while !is_over.load(Ordering::Relaxed) {
                let (one, other) = (random.u32(1..3_000), random.u32(1..3_000));
                id += 1;
                for sql in [
                    format!(r#"UPDATE "Contact" SET "linkedId" = {one} WHERE "id" = {other}"#),
                    format!(r#"UPDATE "Contact" SET "phoneNumber" = '55{one}' WHERE "id" = {one}"#),
                    format!(r#"DELETE FROM "Contact" WHERE "id" = {}"#, random.u32(1..3_000)),
                    format!(
                        r#"INSERT INTO "Contact" ("id", "email", "linkPrecedence", "createdAt", "updatedAt")
                        SELECT {id}, 'w{id}@example.com', "linkPrecedence", "createdAt", "updatedAt"
                        FROM "Contact" WHERE "id" = (SELECT m FROM (SELECT MIN("id") AS m FROM "Contact") x)"#
                    ),
                ] {
                    execute(&tables, &sql).await;
                    written += 1;
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            tables.close().await.expect("closed");
            written
        }
    });
    let mut command = old.adopt(&target, &apply);
    let (status, first) = tokio::task::spawn_blocking(move || run(&mut command)).await.expect("no panic");
    is_over.store(true, Ordering::Relaxed);
    let written = writer.await.expect("no panic");
    assert!(written > 4, "the writer wrote");
    assert_eq!((status, &first["end"]), (1, &json!("behind")), "{first}");
    let (status, second) = run(&mut old.adopt(&target, &apply));
    assert_eq!((status, &second["end"]), (0, &json!("done")), "{second}");
    verify::clean(&target);
    let fresh = fresh(&old, &apply[..4]).await;
    let adopted = Tables::of(&target).await.without_moments();
    assert!(adopted.contacts == fresh.contacts, "the contacts of a fresh adoption");
    assert!(adopted.originals == fresh.originals && adopted.identifiers == fresh.identifiers);
    assert_eq!(adopted.merges, fresh.merges);
    old.drop().await;
}

async fn an_undone_adoption_leaves_nothing_and_can_be_repeated(target: TestDatabase) {
    let old = Old::make(target.backend, KIND, &damaged_rows(21, 200)).await;
    let ignore = old.file("ignore");
    let apply = ["--ignore", ignore.as_str(), "--apply"];
    run(&mut old.adopt(&target, &apply));
    let first = Tables::of(&target).await.without_moments();
    let undo = || super::undo(&target).output().expect("the binary runs");
    assert_eq!(undo().status.code(), Some(0));
    let tables = target.raw().await;
    for table in ["Contact", "AdoptedContact", "Identifier", "ContactMerge", "Adoption"] {
        assert_eq!(query(&tables, &format!(r#"SELECT 1 FROM "{table}""#)).await.len(), 0, "{table}");
    }
    tables.close().await.expect("closed");
    let again = undo();
    assert_eq!(again.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing to undo"));
    let (status, _) = run(&mut old.adopt(&target, &apply));
    assert_eq!(status, 0);
    assert_eq!(Tables::of(&target).await.without_moments(), first, "ids of holders and merges are the same too");
    old.drop().await;
}

async fn a_dry_run_writes_nothing(target: TestDatabase) {
    let old = Old::make(target.backend, KIND, &damaged_rows(31, 200)).await;
    let (before, accept) = (old.content().await, old.file("accept"));
    let csv = old.file("changed.csv");
    let (status, dry) = run(&mut old.adopt(&target, &["--accept", &accept, "--changed-primaries", &csv]));
    assert_eq!((status, &dry["end"]), (0, &json!("dry_run")), "{dry}");
    let lines = std::fs::read_to_string(&csv).expect("a file");
    let changed = dry["report"]["primaries_changed"].as_u64().expect("a number");
    assert_eq!(lines.lines().next(), Some("old,new"));
    assert_eq!(lines.lines().count() as u64, changed + 1);
    assert!(changed > 0);
    let model = Model::new(&old.rows, false);
    for line in lines.lines().skip(1) {
        let (before, after) = line.split_once(',').expect("two ids");
        let [before, after] = [before, after].map(|id| id.parse::<i64>().expect("an id"));
        assert_ne!(before, after);
        // A missing row has no primary: those that link to it have one.
        let linking = || old.rows.iter().find(|row| row.linked_id == Some(before)).expect("a link").id;
        let of = if model.primary.contains_key(&before) { before } else { linking() };
        assert_eq!(model.primary[&of], after, "{line}");
    }
    if target.backend == Backend::Sqlite {
        let path = target.url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc");
        assert!(!std::path::Path::new(path).exists(), "a dry run creates no file");
    }
    assert_eq!(dump(&target).await, Dump::new(), "a dry run creates no table");
    assert!(old.content().await == before, "the old table changed");
    // Beside an adoption it writes nothing either.
    run(&mut old.adopt(&target, &["--accept", &accept, "--apply"]));
    let adopted = dump(&target).await;
    for table in ["Adoption", "AdoptedContact", "EvidenceState", "seaql_migrations"] {
        assert!(adopted.iter().any(|(name, rows)| name.contains(table) && rows.len() > 1), "{table} is compared");
    }
    let (status, again) = run(&mut old.adopt(&target, &["--accept", &accept]));
    assert_eq!((status, &again["report"]), (0, &dry["report"]));
    assert!(dump(&target).await == adopted, "a dry run writes nothing");
    // Nor does it after a run that was killed, and after one that was undone.
    let tables = target.raw().await;
    for phase in ["contacts", "identifiers", "behind", "checking"] {
        execute(&tables, &format!(r#"UPDATE "Adoption" SET "phase" = '{phase}'"#)).await;
        let before = dump(&target).await;
        assert_eq!(run(&mut old.adopt(&target, &["--accept", &accept])).0, 0, "{phase}");
        assert!(dump(&target).await == before, "{phase}: a dry run writes nothing");
    }
    tables.close().await.expect("closed");
    assert!(super::undo(&target).output().expect("the binary runs").status.success());
    let undone = dump(&target).await;
    assert_eq!(run(&mut old.adopt(&target, &["--accept", &accept])).0, 0);
    assert!(dump(&target).await == undone, "a dry run writes nothing");
    old.drop().await;
}
