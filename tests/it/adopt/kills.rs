//! The command is killed at random moments, in first and further passes and while it undoes, and goes on.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::cutover::replace;
use super::{Old, Tables, run, undo};
use crate::harness::{Suite, TestDatabase, register};
use crate::old_tables::{MadeRow, OldKind, damaged_rows};
use crate::verify;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): an_adoption_that_is_killed_ends_as_one_that_is_not);
}

/// Rows of the old table: some transactions of each step.
const ROWS: usize = 13_000;

/// How long a run waits for a service to end, before it changes anything.
const PAUSE: Duration = Duration::from_secs(2);

/// The rows later: some are gone, new, or changed.
fn later(rows: &[MadeRow]) -> Vec<MadeRow> {
    let mut rows = rows.to_vec();
    for (number, row) in rows.iter_mut().enumerate() {
        match number % 11 {
            0 => row.email = Some(format!("later{number}@example.com")),
            1 => row.linked_id = None,
            2 => row.deleted_at = None,
            _ => {}
        }
    }
    rows.into_iter().enumerate().filter(|(number, _)| number % 17 != 16).map(|(_, row)| row).collect()
}

/// Starts a command and kills it after some time. `None`: it had ended before, well.
pub async fn killed_after(command: &mut Command, time: Duration) -> Option<()> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("a child") {
            let mut said = String::new();
            child.stderr.take().expect("it is read").read_to_string(&mut said).expect("text");
            assert_eq!(status.code(), Some(0), "{said}");
            return None;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    Some(())
}

async fn an_adoption_that_is_killed_ends_as_one_that_is_not(target: TestDatabase) {
    let kills = std::env::var("ADOPT_KILLS").map_or(6, |text| text.parse().expect("a number"));
    let first = damaged_rows(41, ROWS);
    let second = later(&first);
    let mut old = Old::make(target.backend, OldKind::Prisma, &first).await;
    // Holders come with --ignore.
    let ignore = old.file("ignore");
    let flags = ["--ignore", ignore.as_str(), "--max-join", "50", "--apply"];
    let other = TestDatabase::create(target.backend).await;
    let begun = Instant::now();
    let (status, _) = run(&mut old.adopt(&other, &flags));
    assert_eq!(status, 0);
    let takes = begun.elapsed();
    other.drop().await;
    let mut random = fastrand::Rng::with_seed(u64::from(std::process::id()));
    let (mut killed, mut finished, mut is_further) = (0, 0, false);
    while killed < kills {
        let after = takes.mul_f64(random.f64()) + if is_further { PAUSE } else { Duration::ZERO };
        if killed_after(&mut old.adopt(&target, &flags), after).await.is_some() {
            killed += 1;
            continue;
        }
        finished += 1;
        assert!(finished < 20 + 4 * kills, "it is not killed");
        is_further = finished % 3 != 0;
        if is_further {
            // The next run is a further pass over other rows.
            let rows = if finished % 3 == 1 { &second } else { &first };
            replace(&mut old, rows).await;
        } else {
            let moment = PAUSE + Duration::from_millis(random.u64(..200));
            killed += usize::from(killed_after(&mut undo(&target), moment).await.is_some());
            undo(&target).output().expect("the binary runs"); // It fails if nothing is left to undo.
            let (status, said) = super::refusal(&mut undo(&target));
            assert!(status == 3 && said.contains("nothing to undo"), "{said}");
        }
    }
    // The last run is a further pass if an earlier one had ended.
    replace(&mut old, &second).await;
    let (status, last) = run(&mut old.adopt(&target, &flags));
    assert_eq!((status, &last["end"]), (0, &json!("done")), "{last}");
    verify::clean(&target);
    let fresh = TestDatabase::create(target.backend).await;
    assert_eq!(run(&mut old.adopt(&fresh, &flags)).0, 0);
    let (adopted, expected) = (Tables::of(&target).await, Tables::of(&fresh).await);
    fresh.drop().await;
    let holders = |tables: &Tables| tables.contacts.iter().filter(|contact| contact.flags & 4 != 0).count();
    assert_eq!((holders(&adopted), holders(&expected)), (1, 1));
    let (adopted, expected) =
        (adopted.without_moments().without_holders(), expected.without_moments().without_holders());
    assert!(adopted.contacts == expected.contacts, "contacts");
    assert!(adopted.originals == expected.originals, "originals");
    assert!(adopted.identifiers == expected.identifiers, "identifiers");
    assert!(adopted.merges == expected.merges, "merges");
    old.drop().await;
}
