//! How many bytes of answers wait to be sent, on all connections together.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The bytes of answers that wait to be sent.
///
/// Peers that take nothing are given up after `SEND_TIMEOUT`. When answers take too much memory, they are given up
/// after a second, and calls are refused before more answers are made.
#[derive(Debug)]
pub(super) struct UnsentMemory {
    bytes: AtomicUsize,
    limit: usize,
    high: Notify,
}

impl UnsentMemory {
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), limit, high: Notify::new() }
    }

    pub(super) fn add(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes, Ordering::SeqCst) + bytes > self.limit {
            self.high.notify_waiters();
        }
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
    }

    /// Whether answers take more memory than they should.
    pub(super) fn is_high(&self) -> bool {
        self.bytes.load(Ordering::SeqCst) > self.limit
    }

    /// Resolves when it is high.
    pub(super) async fn high(&self) {
        loop {
            let high = self.high.notified();
            if self.is_high() {
                return;
            }
            high.await;
        }
    }

    /// Whether a connection on which so many bytes wait may begin another call. When it is high, connections that hold
    /// much themselves are the first that may not.
    pub(super) fn has_room_for_call(&self, waiting: usize) -> bool {
        let bytes = self.bytes.load(Ordering::Relaxed);
        bytes <= self.limit || (bytes <= 2 * self.limit && waiting <= self.limit / 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_hold_much_are_refused_first() {
        let memory = UnsentMemory::new(1_600);
        memory.add(1_600);
        assert!(memory.has_room_for_call(1_600) && !memory.is_high());
        memory.add(1);
        assert!(memory.is_high() && memory.has_room_for_call(100) && !memory.has_room_for_call(101));
        memory.add(1_600);
        assert!(!memory.has_room_for_call(0));
        memory.remove(3_201);
        assert!(!memory.is_high());
    }
}
