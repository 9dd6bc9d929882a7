use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;

use super::fault_log::FaultLog;
use crate::store::{Outage, StoreError};

/// Whether the database can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseState {
    /// Its tables can be read and written.
    Usable,
    /// It cannot be reached, or its tables cannot be read and written.
    Unusable(Outage),
}

impl DatabaseState {
    /// Returns whether the tables can be read and written.
    pub fn is_usable(self) -> bool {
        self == Self::Usable
    }
}

/// Whether the database can be used, by the latest statement or ping. Each change is one log line.
#[derive(Clone, Debug)]
pub(super) struct DatabaseHealth {
    state: Arc<watch::Sender<DatabaseState>>,
    changes: Arc<AtomicU64>,
    /// Whether a statement failed since the last ping.
    has_failed: Arc<AtomicBool>,
    faults: FaultLog,
}

impl DatabaseHealth {
    pub(super) fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(DatabaseState::Usable)),
            changes: Arc::default(),
            has_failed: Arc::default(),
            faults: FaultLog::default(),
        }
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.state().is_usable()
    }

    fn state(&self) -> DatabaseState {
        *self.state.borrow()
    }

    /// Returns how often the state has changed so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Returns a receiver that follows the state.
    pub(super) fn subscribe(&self) -> watch::Receiver<DatabaseState> {
        self.state.subscribe()
    }

    /// Records that the database carried a statement out. That does not show that it carries out every other one.
    pub(super) fn record_reachable(&self) {
        match self.state() {
            DatabaseState::Unusable(outage) if outage.ends_with_an_answer() => self.record_usable(),
            DatabaseState::Usable | DatabaseState::Unusable(_) => {}
        }
    }

    /// Records what a ping found.
    ///
    /// A ping writes no row, so it succeeds on a full disk. What fails so is over when no statement failed from one
    /// ping to the next: not earlier, so that state and log do not flap, and not later, because nobody may send a
    /// write to a service that is not ready.
    pub(super) fn record_ping(&self, ping: Result<(), StoreError>) {
        let has_failed = self.has_failed.swap(false, Ordering::Relaxed);
        match ping {
            Ok(()) if has_failed && self.state() == DatabaseState::Unusable(Outage::Failing) => {}
            Ok(()) => self.record_usable(),
            // A lock hides the tables: the database answers, and no more is known.
            Err(StoreError::LostRace(_) | StoreError::TooSlow(_)) => self.record_reachable(),
            Err(error) => self.record_outage(&error),
        }
    }

    fn record_usable(&self) {
        if !self.is_reachable() && self.set(DatabaseState::Usable) {
            tracing::info!("the database can be used again");
        }
    }

    /// Records that a statement failed because the database cannot be used.
    pub(super) fn record_unreachable(&self, error: &StoreError) {
        self.has_failed.store(true, Ordering::Relaxed);
        self.record_outage(error);
    }

    /// Records that a statement met a fault of the database ([`StoreError::Faulty`]).
    pub(super) fn record_fault(&self, error: &StoreError) {
        self.faults.record(error);
    }

    fn record_outage(&self, error: &StoreError) {
        let outage = error.outage();
        if self.set(DatabaseState::Unusable(outage)) {
            tracing::error!(error.message = %error, reason = %outage, "the database cannot be used");
        }
    }

    /// Returns whether this is a change.
    fn set(&self, state: DatabaseState) -> bool {
        let is_change = self.state.send_if_modified(|before| std::mem::replace(before, state) != state);
        if is_change {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        is_change
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::Cause;

    /// A user who may read and not write has answers all the time.
    #[test]
    fn only_a_ping_ends_what_an_answer_does_not_disprove() {
        let health = DatabaseHealth::new();
        health.record_unreachable(&StoreError::Unavailable(Cause::new("1142").because_of(Outage::Rights)));
        health.record_reachable();
        assert_eq!(*health.subscribe().borrow(), DatabaseState::Unusable(Outage::Rights));
        health.record_ping(Ok(()));
        assert!(health.is_reachable());
        health.record_unreachable(&StoreError::TimedOut(Duration::ZERO));
        health.record_reachable();
        assert!(health.is_reachable());
        assert_eq!(health.changes(), 4);
    }

    /// Pings and reads succeed on a full disk.
    #[test]
    fn a_failure_is_over_when_nothing_fails_between_two_pings() {
        let health = DatabaseHealth::new();
        for _ in 0..3 {
            health.record_unreachable(&StoreError::Unavailable(Cause::new("1114")));
            health.record_reachable();
            health.record_ping(Ok(()));
        }
        assert_eq!((health.is_reachable(), health.changes()), (false, 1));
        health.record_ping(Ok(()));
        assert_eq!((health.is_reachable(), health.changes()), (true, 2));
    }

    #[test]
    fn a_ping_that_waits_for_a_lock_ends_no_lasting_outage() {
        let health = DatabaseHealth::new();
        let locked = || [StoreError::LostRace(Cause::new("1205")), StoreError::TooSlow(Duration::ZERO)];
        for outage in [Outage::Rights, Outage::Schema, Outage::ReadOnly] {
            health.record_ping(Err(StoreError::Unavailable(Cause::new("lasting").because_of(outage))));
            locked().into_iter().for_each(|error| health.record_ping(Err(error)));
            assert_eq!(*health.subscribe().borrow(), DatabaseState::Unusable(outage));
        }
        health.record_ping(Err(StoreError::TimedOut(Duration::ZERO)));
        locked().into_iter().for_each(|error| health.record_ping(Err(error)));
        assert!(health.is_reachable(), "it answers");
    }
}
