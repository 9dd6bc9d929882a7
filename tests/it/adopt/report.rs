//! The numbers of the report, compared with a brute force that reads the old table alone, and the report for people.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use serde_json::{Value, json};

use super::report_model::{Decisions, ReportModel};
use super::{Old, Tables, run};
use crate::harness::{Backend, Suite, TestDatabase, execute, register};
use crate::old_tables::{BEGINNING, FUTURE, MadeRow, OldKind, damaged_rows};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        the_report_of_each_kind_is_that_of_the_brute_force,
        the_report_of_random_tables_is_that_of_the_brute_force,
        what_cannot_be_read_or_kept_is_reported,
    );
}

/// Rows of each table.
const ROWS: usize = 120;

/// A row to which several rows link, and that is missing.
const MISSING: i64 = 900_000_000;

/// Damaged rows with more damage, of each kind that the report counts.
fn rows(random: &mut fastrand::Rng, count: usize) -> Vec<MadeRow> {
    let mut rows = damaged_rows(random.u64(..), count);
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let any = |random: &mut fastrand::Rng| ids[random.usize(..ids.len())];
    for row in &mut rows {
        match random.u8(..100) {
            0..3 => row.linked_id = Some(row.id),
            3..5 => row.linked_id = Some(0),
            5..9 => row.linked_id = Some(MISSING + random.i64(0..2)),
            9..14 => row.linked_id = Some(any(random)),
            14..17 => row.is_secondary = !row.is_secondary,
            17..19 => row.email = Some("  ".to_owned()),
            19..21 => row.phone_number = Some(" \t".to_owned()),
            21..24 => row.deleted_at = Some(row.created_at.unwrap_or(BEGINNING)),
            24..26 => row.updated_at = Some(FUTURE),
            _ => {}
        }
    }
    for _ in 0..count / 20 {
        // Two rows that link to each other, and one that links to them.
        let [one, other, third] = [(); 3].map(|()| random.usize(..count));
        (rows[one].linked_id, rows[other].linked_id) = (Some(ids[other]), Some(ids[one]));
        rows[third].linked_id = Some(ids[one]);
    }
    rows
}

/// What an operator may decide about the rows.
fn decisions(random: &mut fastrand::Rng, rows: &[MadeRow], max_join: usize) -> Decisions {
    let mut decisions = Decisions { max_join, ..Decisions::default() };
    let till = ("phone", "0000000000".to_owned());
    match random.u8(..3) {
        0 => drop(decisions.ignored.insert(till)),
        1 => drop(decisions.accepted.insert(till)),
        _ => {}
    }
    match random.u8(..3) {
        0 => drop(decisions.ignored_links.insert(MISSING)),
        1 => drop(decisions.accepted_links.insert(MISSING)),
        _ => {}
    }
    let plain = |row: &MadeRow| row.email.clone().filter(|email| email.is_ascii() && email.contains('@'));
    let email = plain(&rows[random.usize(..rows.len())]).map(|email| email.trim().to_lowercase());
    let list = if random.bool() { &mut decisions.ignored } else { &mut decisions.accepted };
    list.extend(email.map(|email| ("email", email)));
    decisions
}

/// The flags that say so.
fn flags(old: &Old, decisions: &Decisions) -> Vec<String> {
    let mut flags = vec!["--max-join".to_owned(), decisions.max_join.to_string()];
    for (flag, identifiers, links) in [
        ("--ignore", &decisions.ignored, &decisions.ignored_links),
        ("--accept", &decisions.accepted, &decisions.accepted_links),
    ] {
        let mut text: String = identifiers.iter().map(|(kind, value)| format!("{kind} {value}\n")).collect();
        text.extend(links.iter().map(|id| format!("link {id}\n")));
        let file = old.file(&format!("decided{flag}"));
        std::fs::write(&file, text).expect("a file");
        flags.extend([flag.to_owned(), file]);
    }
    flags
}

/// What the command reports, without the lines about the table.
fn reported(old: &Old, target: &TestDatabase, flags: &[String], more: &[&str]) -> (i32, Value) {
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    let (status, mut said) = run(&mut old.adopt(target, &flags));
    said["report"].as_object_mut().expect("an object").remove("table").expect("its lines");
    (status, said)
}

fn check(old: &Old, target: &TestDatabase, decisions: &Decisions, more: &[&str], context: &str) -> Value {
    let model = ReportModel::new(&old.rows, decisions);
    let expected = model.report(Utc::now().timestamp_micros());
    let (status, said) = reported(old, target, &flags(old, decisions), more);
    for (name, expected) in expected.as_object().expect("an object") {
        assert_eq!(&said["report"][name], expected, "{context}: {name}");
    }
    assert_eq!(said["report"], expected, "{context}");
    let over_max_join = expected["over_max_join"].as_array().expect("a list");
    let needs_decision = over_max_join.iter().any(|hub| hub["accepted"] == json!(false));
    assert_eq!(status, i32::from(needs_decision), "{context}");
    said
}

async fn the_report_of_each_kind_is_that_of_the_brute_force(target: TestDatabase) {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for kind in OldKind::on(target.backend) {
        let old = Old::make(target.backend, kind, &rows(&mut random, ROWS)).await;
        let own = TestDatabase::create(target.backend).await;
        let decisions = decisions(&mut random, &old.rows, ROWS);
        let context = format!("{kind:?}, seed {seed}");
        let csv = old.file("changed.csv");
        let dry = check(&old, &own, &decisions, &["--changed-primaries", &csv], &context);
        let applied = check(&old, &own, &decisions, &["--apply"], &context);
        assert_eq!((&dry["end"], &applied["end"]), (&json!("dry_run"), &json!("done")), "{context}");
        check_originals(&old.rows, &decisions, &Tables::of(&own).await, &context);
        let model = ReportModel::new(&old.rows, &decisions);
        let lines: Vec<String> = model.changed().iter().map(|(old, new)| format!("{old},{new}\n")).collect();
        let written = std::fs::read_to_string(&csv).expect("a file");
        assert_eq!(written, format!("old,new\n{}", lines.concat()), "{context}");
        old.drop().await;
        own.drop().await;
    }
}

/// `AdoptedContact` has each row that was changed, as it was, and says what was changed.
pub fn check_originals(rows: &[MadeRow], decisions: &Decisions, tables: &Tables, context: &str) {
    let model = ReportModel::new(rows, decisions);
    let mut expected = BTreeMap::new();
    for row in rows {
        let precedence = if row.is_secondary { "secondary" } else { "primary" };
        let beginning = |text: &Option<String>| text.as_ref().map(|text| text.chars().take(15_000).collect::<String>());
        let (email, phone) = (beginning(&row.email), beginning(&row.phone_number));
        let kept = (email, phone, row.linked_id, Some(precedence.to_owned()));
        expected.extend(model.reason(row.id).map(|reason| (row.id, (kept, reason))));
    }
    for original in &tables.originals {
        let kept = (original.email.clone(), original.phone_number.clone(), original.linked_id);
        let (email, phone, link) = kept;
        let found = ((email, phone, link, original.link_precedence.clone()), original.reason.clone());
        let wanted = expected.remove(&original.id);
        assert!(
            wanted == Some(found),
            "{context}: {}: {:?}",
            original.id,
            (wanted.map(|(_, why)| why), &original.reason)
        );
    }
    assert!(expected.is_empty(), "{context}: AdoptedContact lacks {:?}", expected.keys());
}

async fn the_report_of_random_tables_is_that_of_the_brute_force(target: TestDatabase) {
    let tables = std::env::var("ADOPT_REPORTS").map_or(8, |text| text.parse().expect("a number"));
    let kind = OldKind::Gorm; // It can hold any damage.
    let mut old = Old::make(target.backend, kind, &damaged_rows(1, 1)).await;
    for _ in 0..tables {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let count = random.usize(20..ROWS);
        super::cutover::replace(&mut old, &rows(&mut random, count)).await;
        let max_join = random.usize(1..6);
        let decisions = decisions(&mut random, &old.rows, max_join);
        check(&old, &target, &decisions, &[], &format!("seed {seed}"));
    }
    old.drop().await;
}

/// What each database can hold in a column and nobody can read, by the field.
fn unreadable_values(backend: Backend) -> &'static [(&'static str, &'static str, &'static str)] {
    match backend {
        Backend::Sqlite => &[
            ("email", "email", "x'FF'"),
            ("phone", "phone_number", "x'FE'"),
            ("link", "linked_id", "'nobody'"),
            ("createdAt", "created_at", "'never'"),
            ("updatedAt", "updated_at", "'0000-13-01'"),
        ],
        Backend::Postgres => {
            &[("createdAt", "created_at", "'infinity'"), ("updatedAt", "updated_at", "'0500-01-01 00:00:00+00'")]
        }
        Backend::Mariadb | Backend::Mysql => &[
            ("link", "linked_id", "18446744073709551615"),
            ("createdAt", "created_at", "'0500-01-01 00:00:00'"),
            ("updatedAt", "updated_at", "'0001-01-01 00:00:00'"),
        ],
    }
}

async fn what_cannot_be_read_or_kept_is_reported(target: TestDatabase) {
    let kind = OldKind::Gorm;
    let mut rows = damaged_rows(111, ROWS);
    // The longest that is kept whole, and longer ones.
    (rows[3].email, rows[4].email) = (Some("x".repeat(15_001)), Some(format!("a@b.co{}", " ".repeat(15_000))));
    (rows[5].phone_number, rows[6].phone_number) = (Some("é".repeat(15_000)), Some("é".repeat(15_001)));
    let mut old = Old::make(target.backend, kind, &rows).await;
    let mut decisions = Decisions { max_join: ROWS, ..Decisions::default() };
    let tables = old.database.raw().await;
    for (number, row) in old.rows.iter_mut().enumerate() {
        for (place, (field, column, value)) in unreadable_values(target.backend).iter().enumerate() {
            if number % (place + 5) != 0 {
                continue;
            }
            execute(&tables, &format!(r#"UPDATE "contacts" SET "{column}" = {value} WHERE "id" = {}"#, row.id)).await;
            decisions.unreadable.insert((row.id, field));
            match *field {
                "email" => row.email = None,
                "phone" => row.phone_number = None,
                "link" => row.linked_id = None,
                "createdAt" => row.created_at = None,
                _ => row.updated_at = None,
            }
        }
    }
    tables.close().await.expect("closed");
    let before = old.content().await;
    let context = format!("{:?}", target.backend);
    let said = check(&old, &target, &decisions, &["--apply"], &context);
    assert_eq!(said["end"], json!("done"), "{said}");
    let fields: BTreeSet<&str> = decisions.unreadable.iter().map(|(_, field)| *field).collect();
    assert_eq!(fields.len(), unreadable_values(target.backend).len());
    check_originals(&old.rows, &decisions, &Tables::of(&target).await, &context);
    crate::verify::clean(&target);
    assert!(old.content().await == before, "the old table changed");
    old.drop().await;
}
