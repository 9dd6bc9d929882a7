use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

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
}

impl DatabaseHealth {
    pub(super) fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(DatabaseState::Usable)), changes: Arc::default() }
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

    /// Records that a ping found nothing wrong.
    pub(super) fn record_usable(&self) {
        if !self.is_reachable() && self.set(DatabaseState::Usable) {
            tracing::info!("the database can be used again");
        }
    }

    /// Records that the database cannot be used.
    pub(super) fn record_unreachable(&self, error: &StoreError) {
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
    use super::*;
    use crate::store::Cause;

    /// A user who may read and not write has answers all the time.
    #[test]
    fn only_a_ping_ends_what_an_answer_does_not_disprove() {
        let health = DatabaseHealth::new();
        health.record_unreachable(&StoreError::Unavailable(Cause::new("1142").because_of(Outage::Rights)));
        health.record_reachable();
        assert_eq!(*health.subscribe().borrow(), DatabaseState::Unusable(Outage::Rights));
        health.record_usable();
        assert!(health.is_reachable());
        health.record_unreachable(&StoreError::Unavailable(Cause::new("gone")));
        health.record_reachable();
        assert!(health.is_reachable());
        assert_eq!(health.changes(), 4);
    }
}
