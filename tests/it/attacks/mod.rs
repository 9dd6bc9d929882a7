//! Attacks: callers that make work large, that do not take their answers, or that come in masses.
//!
//! Each attack prints its figures. It asserts what must hold on any machine: everybody is answered, and the memory
//! stays bounded. It asserts no times. A plain test run does a short form. `scripts/attacks` does the long form
//! (`ATTACKS=long`) on the release binary, and prints a table. All traffic stays on loopback.

mod crowd;
mod elsewhere;
mod expensive;
mod figures;
mod innocent;
mod large_identity;
mod stalled;

use std::time::Duration;

use crate::harness::{Backend, Process, Suite, TestDatabase};

/// What the log has. The harness reads the addresses from it.
const LEVELS: &str = "warn,identity::commands=info";

/// The databases that the figures are of.
const BACKENDS: [Backend; 2] = [Backend::Sqlite, Backend::Mysql];

pub fn register(suite: &mut Suite) {
    expensive::register(suite);
    large_identity::register(suite);
    stalled::register(suite);
    crowd::register(suite);
}

fn is_long() -> bool {
    std::env::var("ATTACKS").is_ok_and(|form| form == "long")
}

/// How long an attack goes on.
fn duration() -> Duration {
    if is_long() { Duration::from_secs(10) } else { Duration::from_secs(2) }
}

/// The service, with room for the attacks to build up what they attack.
async fn start(database: &TestDatabase) -> Process {
    start_with_levels(database, LEVELS).await
}

/// The same, whose log also has these lines.
async fn start_with_log(database: &TestDatabase, lines: &str) -> Process {
    start_with_levels(database, &format!("{LEVELS},{lines}")).await
}

async fn start_with_levels(database: &TestDatabase, levels: &str) -> Process {
    // A debug build on a busy machine is slow. Nothing here asserts a time.
    let patience = ("REQUEST_TIMEOUT", "60s");
    let log = ("RUST_LOG", levels);
    Process::start(&[("DATABASE_URL", &database.url), log, patience, ("MAX_CONTACTS", "20000")]).await
}
