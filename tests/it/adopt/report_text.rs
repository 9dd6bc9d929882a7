//! The report for people, of one small table that has something of everything.

use super::{Old, refusal};
use crate::harness::{Backend, Suite, TestDatabase, execute, register};
use crate::old_tables::{BEGINNING, FUTURE, MadeRow, OldKind};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Sqlite]): the_report_for_people_says_everything);
}

/// A live primary without any value, a minute younger than the one before.
fn row(id: i64) -> MadeRow {
    let at = Some(BEGINNING + id * 60_000_000);
    MadeRow {
        id,
        email: None,
        phone_number: None,
        linked_id: None,
        is_secondary: false,
        created_at: at,
        updated_at: at,
        deleted_at: None,
    }
}

fn carrying(id: i64, email: &str, phone: &str) -> MadeRow {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    MadeRow { email: text(email), phone_number: text(phone), ..row(id) }
}

fn linked(row: MadeRow, to: i64) -> MadeRow {
    MadeRow { linked_id: Some(to), is_secondary: true, ..row }
}

fn rows() -> Vec<MadeRow> {
    let mut rows = vec![
        carrying(1, "ann@example.com", "100"),
        linked(carrying(2, " Ann@Example.com", ""), 1),
        linked(carrying(3, "n/a", "(1)00"), 2),
        // Joined with 1 by a phone number.
        carrying(4, "bob@example.com", "100"),
        // A circle.
        linked(carrying(5, "cyd@example.com", "x"), 6),
        linked(carrying(6, "", "200"), 5),
        // Itself, and a missing row.
        linked(carrying(7, "dan@example.com", ""), 7),
        linked(carrying(8, "eve@example.com", ""), 99),
        // Two primaries that a link joins.
        carrying(9, "fay@example.com", "300"),
        MadeRow { is_secondary: false, ..linked(carrying(10, "gus@example.com", "400"), 9) },
        row(11),
        MadeRow { deleted_at: Some(BEGINNING), ..carrying(12, "old@example.com", "") },
        MadeRow { created_at: Some(FUTURE), updated_at: None, ..carrying(13, "", "500") },
        MadeRow { created_at: None, ..carrying(14, "hal@example.com", "") },
        MadeRow { is_secondary: true, ..carrying(15, "ida@example.com", "600") },
        carrying(16, "jim@example.com", "600"),
        carrying(17, "kim@example.com", "9"),
        carrying(18, "", "0"),
        carrying(19, "", "0"),
    ];
    rows.extend((20..25).map(|id| carrying(id, &format!("p{id}@example.com"), "00-00")));
    rows.push(carrying(25, &"x".repeat(15_001), "700"));
    rows.extend((30..34).map(|id| linked(carrying(id, &format!("q{id}@example.com"), ""), 77)));
    rows
}

const EXPECTED: &str = include_str!("report_text.txt");

async fn the_report_for_people_says_everything(target: TestDatabase) {
    let old = Old::make(target.backend, OldKind::Gorm, &rows()).await;
    let tables = old.database.raw().await;
    for sql in [
        "UPDATE contacts SET linked_id = 'x' WHERE id = 16",
        "UPDATE contacts SET updated_at = 'never', email = x'FF' WHERE id = 17",
    ] {
        execute(&tables, sql).await;
    }
    tables.close().await.expect("closed");
    let (ignore, accept) = (old.file("ignore"), old.file("accept"));
    std::fs::write(&ignore, "phone 0\n").expect("a file");
    std::fs::write(&accept, "link 77\n").expect("a file");
    let flags = ["--ignore", &ignore, "--accept", &accept, "--show-values", "--max-contacts", "4"];
    let mut command = old.adopt_as("text", &target, &flags);
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said == EXPECTED, "it says:\n{said}");
    assert_eq!(output.status.code(), Some(1), "a decision is needed");
    let (_, complaint) = refusal(&mut command);
    assert_eq!(complaint, "");
    old.drop().await;
}
