//! The suite that every store must pass, on the simulated one: as a database with row locks, and as SQLite.

#[path = "../shared/store_conformance.rs"]
mod cases;

use std::time::Duration;

use identity::domain::Identifier;

use crate::conditions::Conditions;
use crate::connection::SimulatedStore;
use crate::database::Database;

/// Conditions under which nothing fails.
pub(crate) fn calm(is_exclusive: bool) -> Conditions {
    let drawn = Conditions::draw(&mut fastrand::Rng::with_seed(0));
    Conditions {
        latency: 2,
        faults: 0,
        lost_races: 0,
        is_exclusive,
        lock_timeout: Duration::from_secs(5),
        clock_jumps: false,
        id_block: 1,
        outages: 0,
        crashes: 0,
        shown_late: 0,
        torn_reads: 0,
        poison: None,
        ignored: Vec::new(),
        ..drawn
    }
}

fn calm_store(is_exclusive: bool) -> SimulatedStore {
    SimulatedStore::new(Database::new(calm(is_exclusive), None, 0, false))
}

impl cases::IgnoresIdentifiers for SimulatedStore {
    async fn ignore(&self, identifier: &Identifier) {
        SimulatedStore::ignore(self, identifier);
    }

    async fn stop_ignoring(&self, identifier: &Identifier) {
        SimulatedStore::stop_ignoring(self, identifier);
    }
}

macro_rules! on_the_simulation {
    ($($case:ident),+ $(,)?) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $case() {
                cases::$case(&calm_store(false)).await;
                cases::$case(&calm_store(true)).await;
            }
        )+
    };
}

cases::for_each_case!(on_the_simulation);
