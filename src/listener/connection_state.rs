//! What the parts of one connection share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::unsent_memory::UnsentMemory;
use crate::transport::connection::ConnectionStreams;

/// Periods that parts of answers are remembered for; see [`UnsentParts`].
const PERIODS: usize = 4;

/// While answers take too much memory: how long a peer may take nothing before it is given up.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// What the parts of one connection share: its calls, and the parts of answers that wait to be sent.
#[derive(Debug)]
pub(super) struct ConnectionState {
    /// The connection is beyond the limits: only health is answered.
    pub(super) is_reserve: bool,
    pub(super) streams: ConnectionStreams,
    pub(super) unsent: UnsentParts,
    pub(super) memory: Arc<UnsentMemory>,
    /// The names in the client's certificate, if it has one.
    certificate_names: OnceLock<Vec<String>>,
    /// Calls under way, until their answers are sent.
    calls: AtomicUsize,
    /// Whether there has been a call.
    has_called: AtomicBool,
    /// Whether it has spoken HTTP/2.
    is_http2: AtomicBool,
    /// The connection has reached its maximum age.
    is_old: AtomicBool,
    /// The first call began, or the last one ended.
    changed: Notify,
}

impl ConnectionState {
    /// `probe_streams`: how many health and reflection streams it may have open.
    pub(super) fn new(is_reserve: bool, probe_streams: usize, memory: Arc<UnsentMemory>) -> Self {
        let probes = Arc::new(Semaphore::new(probe_streams));
        Self {
            is_reserve,
            streams: ConnectionStreams { end: CancellationToken::new(), probes },
            unsent: UnsentParts::default(),
            memory,
            certificate_names: OnceLock::new(),
            calls: AtomicUsize::new(0),
            has_called: AtomicBool::new(false),
            is_http2: AtomicBool::new(false),
            is_old: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// The client has shown a certificate with these names.
    pub(super) fn set_certificate_names(&self, names: Vec<String>) {
        // There is one handshake.
        let _ = self.certificate_names.set(names);
    }

    /// The names in the client's certificate; none without a certificate.
    pub(super) fn certificate_names(&self) -> &[String] {
        self.certificate_names.get().map_or(&[], Vec::as_slice)
    }

    /// A call begins.
    pub(super) fn begin_call(&self, is_http2: bool) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if !self.has_called.load(Ordering::Relaxed) {
            self.is_http2.store(is_http2, Ordering::Relaxed);
            self.has_called.store(true, Ordering::SeqCst);
            self.changed.notify_one();
        }
    }

    /// A call ends: its answer is sent or given up.
    pub(super) fn end_call(&self) {
        if self.calls.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.changed.notify_one();
        }
    }

    /// Whether a call is under way: its answer is not sent yet.
    pub(super) fn has_calls(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > 0
    }

    pub(super) fn has_called(&self) -> bool {
        self.has_called.load(Ordering::SeqCst)
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }

    /// The connection has reached its maximum age.
    pub(super) fn is_old(&self) -> bool {
        self.is_old.load(Ordering::Relaxed)
    }

    pub(super) fn set_old(&self) {
        self.is_old.store(true, Ordering::Relaxed);
    }

    /// Resolves after the first call has begun.
    pub(super) async fn called(&self) {
        while !self.has_called() {
            self.changed.notified().await;
        }
    }

    /// Resolves when no call has been under way for so long.
    pub(super) async fn idle_for(&self, time: Duration) {
        loop {
            while self.has_calls() {
                self.changed.notified().await;
            }
            let is_unchanged = timeout(time, self.changed.notified()).await.is_err();
            if is_unchanged && !self.has_calls() {
                return;
            }
        }
    }

    /// Whether there is memory for the answer of another call.
    pub(super) fn has_room_for_call(&self) -> bool {
        self.memory.has_room_for_call(self.unsent.bytes.load(Ordering::Relaxed))
    }

    /// So many bytes of an answer wait to be sent.
    pub(super) fn add_waiting(&self, bytes: usize) {
        self.unsent.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.memory.add(bytes);
    }

    /// So many bytes are written or given up.
    pub(super) fn remove_waiting(&self, bytes: usize) {
        self.unsent.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.memory.remove(bytes);
    }

    /// Resolves when a part of an answer has not been taken for longer than `limit`, at most twice as long. If answers
    /// take too much memory: when nothing was taken for [`QUIET`].
    pub(super) async fn stalled(&self, limit: Duration) {
        let mut period = interval(limit / 2);
        loop {
            tokio::select! {
                _ = period.tick() => if self.unsent.next_period() {
                    return;
                },
                () = self.memory.high() => {
                    let written = self.unsent.written.load(Ordering::SeqCst);
                    let is_waiting = || self.unsent.bytes.load(Ordering::SeqCst) > 0;
                    let was_waiting = is_waiting();
                    sleep(QUIET).await;
                    let is_quiet = self.unsent.written.load(Ordering::SeqCst) == written;
                    if was_waiting && is_waiting() && is_quiet && self.memory.is_high() {
                        return;
                    }
                }
            }
        }
    }
}

/// The parts of answers that were handed to HTTP and are not written to the socket yet, by the period in which they
/// were handed out.
///
/// A timer for each would cost every call; here each costs a few additions.
#[derive(Debug, Default)]
pub(super) struct UnsentParts {
    period: AtomicUsize,
    parts: [AtomicUsize; PERIODS],
    /// How many parts are written.
    written: AtomicUsize,
    /// Bytes that wait, with those that are not handed out yet.
    bytes: AtomicUsize,
}

impl UnsentParts {
    /// Counts a part. Returns the period that it belongs to.
    pub(super) fn add(&self) -> usize {
        let period = self.period.load(Ordering::SeqCst) % PERIODS;
        self.parts[period].fetch_add(1, Ordering::SeqCst);
        period
    }

    /// A part of this period is written or given up.
    pub(super) fn remove(&self, period: usize) {
        self.parts[period].fetch_sub(1, Ordering::SeqCst);
        self.written.fetch_add(1, Ordering::SeqCst);
    }

    /// Begins the next period. Returns whether a part is left that has outlived three periods.
    fn next_period(&self) -> bool {
        let next = self.period.load(Ordering::SeqCst).wrapping_add(1) % PERIODS;
        let is_left = self.parts[next].load(Ordering::SeqCst) > 0;
        self.period.store(next, Ordering::SeqCst);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_that_outlive_three_periods_are_left() {
        let parts = UnsentParts::default();
        let first = parts.add();
        assert!(!parts.next_period());
        let second = parts.add();
        assert!(!parts.next_period() && !parts.next_period());
        parts.remove(first);
        assert!(!parts.next_period());
        assert!(parts.next_period(), "the second is left");
        parts.remove(second);
        assert!(!parts.next_period());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_its_calls_have_ended() {
        let state = ConnectionState::new(false, 1, Arc::new(UnsentMemory::new(1)));
        state.begin_call(true);
        let idle = || state.idle_for(Duration::from_secs(1));
        assert!(timeout(Duration::from_secs(60), idle()).await.is_err());
        state.end_call();
        timeout(Duration::from_secs(3), idle()).await.unwrap();
        assert!(state.has_called());
    }
}
