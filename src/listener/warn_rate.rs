//! Log lines for events that a peer can repeat as often as it likes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The shortest time between two lines about one kind of event.
const PERIOD: Duration = Duration::from_secs(10);

/// Counts events of one kind, so that the log gets few lines about many events.
#[derive(Debug)]
pub(super) struct WarnRate {
    start: Instant,
    /// Events since the last line.
    events: AtomicU64,
    /// When the next line is due, in milliseconds after `start`.
    due: AtomicU64,
}

impl WarnRate {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), events: AtomicU64::new(0), due: AtomicU64::new(0) }
    }

    /// Counts an event. Returns the number of events since the last line, if a line is due.
    pub(super) fn count(&self) -> Option<u64> {
        self.events.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = self.due.load(Ordering::Relaxed);
        let next = now.saturating_add(u64::try_from(PERIOD.as_millis()).unwrap_or(u64::MAX));
        if now < due || self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return None;
        }
        Some(self.events.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_gets_a_line_and_the_next_ones_do_not() {
        let rate = WarnRate::new();
        assert_eq!(rate.count(), Some(1));
        assert_eq!(rate.count(), None);
        rate.due.store(0, Ordering::Relaxed);
        assert_eq!(rate.count(), Some(2));
    }
}
