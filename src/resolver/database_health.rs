use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::store::StoreError;

/// Whether the database can be reached, by the latest statement or ping. Each change is one log line.
#[derive(Clone, Debug)]
pub(super) struct DatabaseHealth {
    is_reachable: Arc<watch::Sender<bool>>,
    changes: Arc<AtomicU64>,
}

impl DatabaseHealth {
    pub(super) fn new() -> Self {
        Self { is_reachable: Arc::new(watch::Sender::new(true)), changes: Arc::default() }
    }

    pub(super) fn is_reachable(&self) -> bool {
        *self.is_reachable.borrow()
    }

    /// Returns how often the state has changed so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Returns a receiver that follows the state.
    pub(super) fn subscribe(&self) -> watch::Receiver<bool> {
        self.is_reachable.subscribe()
    }

    /// Records that the database answered.
    pub(super) fn record_reachable(&self) {
        if !self.is_reachable() && !self.is_reachable.send_replace(true) {
            self.changes.fetch_add(1, Ordering::Relaxed);
            tracing::info!("the database can be reached again");
        }
    }

    /// Records that the database did not answer.
    pub(super) fn record_unreachable(&self, error: &StoreError) {
        if self.is_reachable() && self.is_reachable.send_replace(false) {
            self.changes.fetch_add(1, Ordering::Relaxed);
            tracing::error!(error.message = %error, "the database cannot be reached");
        }
    }
}
