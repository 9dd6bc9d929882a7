//! Connections that are replaced together, and what is known of how they do.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connector::Connected;
use super::error::{ConnectionState, StoreError};
use super::traits::Epoch;

/// The pool is replaced after so many statements without an answer or a connection. A single one may be chance.
const MAX_FAILURES: u32 = 3;

/// Failures are forgotten after so long without another: a healthy database has a statement that takes too long now
/// and then.
const FORGET_FAILURES_AFTER: Duration = Duration::from_secs(60);

/// Connections that answered a statement so recently are of use. There is a ping each second.
const LATELY: Duration = Duration::from_secs(3);

/// A generation of connections, all to one server.
#[derive(Debug)]
pub(super) struct PoolGeneration {
    pub(super) connected: Connected,
    /// Rises from one generation of a pool to the next.
    number: u64,
    health: GenerationHealth,
}

/// How the statements of a generation ended.
#[derive(Debug)]
struct GenerationHealth {
    failures: Lock<Failures>,
    made: Instant,
    /// When a statement had an answer last, in milliseconds since `made`. 0 if none had one.
    answered: AtomicU64,
}

/// Statements that had no answer or no connection.
#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
    /// When a statement lost its connection last, or got none.
    without_connection: Option<Instant>,
}

impl PoolGeneration {
    pub(super) fn new(connected: Connected) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self { connected, number: NEXT.fetch_add(1, Relaxed), health: GenerationHealth::new() })
    }

    /// The epoch of these connections.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch { generation: self.number, connections: self.connected.findings.connections_made() }
    }

    /// Whether these connections must be replaced after this error.
    pub(super) fn must_be_replaced(&self, error: &StoreError) -> bool {
        match error.connections() {
            ConnectionState::Healthy => false,
            ConnectionState::Suspect => self.health.count_failure(error) >= MAX_FAILURES,
            ConnectionState::Full => !self.has_answered_lately() && self.health.count_failure(error) >= MAX_FAILURES,
            ConnectionState::Refused => {
                self.health.count_failure(error);
                true
            }
            ConnectionState::Outdated => true,
            ConnectionState::Unusable => {
                self.connected.findings.set_unusable();
                true
            }
        }
    }

    /// Records that a statement had an answer.
    pub(super) fn set_answered(&self) {
        self.health.set_answered();
    }

    /// Whether a statement had an answer a moment ago.
    pub(super) fn has_answered_lately(&self) -> bool {
        self.health.has_answered_within(LATELY)
    }

    /// Whether a statement lost its connection or got none, not longer ago than this.
    pub(super) fn lacked_connections(&self, within: Duration) -> bool {
        self.health.lacked_connections(within)
    }
}

impl GenerationHealth {
    fn new() -> Self {
        let failures = Failures { count: 0, last: Instant::now(), without_connection: None };
        Self { failures: Lock::new(failures), made: Instant::now(), answered: AtomicU64::new(0) }
    }

    /// Counts a failure. Returns how many there are.
    fn count_failure(&self, error: &StoreError) -> u32 {
        let mut failures = self.failures();
        let before = if failures.last.elapsed() > FORGET_FAILURES_AFTER { 0 } else { failures.count };
        failures.count = before + 1;
        failures.last = Instant::now();
        if !matches!(error, StoreError::TimedOut(_)) {
            failures.without_connection = Some(failures.last);
        }
        failures.count
    }

    fn lacked_connections(&self, within: Duration) -> bool {
        self.failures().without_connection.is_some_and(|at| at.elapsed() < within)
    }

    fn set_answered(&self) {
        self.answered.store(self.elapsed(), Relaxed);
    }

    fn has_answered_within(&self, within: Duration) -> bool {
        let answered = self.answered.load(Relaxed);
        answered > 0 && Duration::from_millis(self.elapsed().saturating_sub(answered)) < within
    }

    /// At least 1.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A statement that only waits says nothing about connections: it may be slow because of its data.
    #[test]
    fn only_a_lost_or_missing_connection_casts_doubt_on_slow_statements() {
        let health = GenerationHealth::new();
        assert_eq!(health.count_failure(&StoreError::TimedOut(Duration::ZERO)), 1);
        assert!(!health.lacked_connections(Duration::MAX));
        assert_eq!(health.count_failure(&StoreError::no_connection("no connection")), 2);
        assert!(health.lacked_connections(Duration::MAX));
        assert!(!health.lacked_connections(Duration::ZERO));
    }

    #[test]
    fn connections_that_never_answered_are_of_no_proven_use() {
        let health = GenerationHealth::new();
        assert!(!health.has_answered_within(Duration::MAX));
        health.set_answered();
        assert!(health.has_answered_within(Duration::MAX) && !health.has_answered_within(Duration::ZERO));
    }
}
