//! Floods of one kind of event: the first ones of each period get a line, the others are counted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Decides which events of a kind get a line: the first ones of each period.
#[derive(Debug)]
pub struct Sampler {
    lines: u32,
    period: Duration,
    window: Mutex<Window>,
}

/// What to do about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// Write its line.
    Written,
    /// Leave its line out.
    LeftOut {
        /// Whether it is the first one since [`Sampler::take_left_out`].
        is_first: bool,
    },
}

#[derive(Debug, Default)]
struct Window {
    /// `None` before the first event.
    begun: Option<Instant>,
    written: u32,
    left_out: u64,
}

/// The period of [`Sampler::of_warnings`].
const WARN_EVERY: Duration = Duration::from_secs(10);

impl Sampler {
    /// A sampler of warnings that a peer can cause as often as it likes: one line in ten seconds. See
    /// [`Sampler::count`].
    pub fn of_warnings() -> Self {
        Self::new(1, WARN_EVERY)
    }

    /// A sampler with this many lines in each period.
    pub fn new(lines: u32, period: Duration) -> Self {
        Self { lines, period, window: Mutex::default() }
    }

    /// Decides about an event.
    pub fn sample(&self, now: Instant) -> Sampled {
        let mut window = self.window();
        let is_over = window.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= self.period);
        if is_over {
            (window.begun, window.written) = (Some(now), 0);
        }
        if window.written < self.lines {
            window.written += 1;
            return Sampled::Written;
        }
        window.left_out += 1;
        Sampled::LeftOut { is_first: window.left_out == 1 }
    }

    /// Returns how many events were left out since the last call.
    pub fn take_left_out(&self) -> u64 {
        std::mem::take(&mut self.window().left_out)
    }

    /// For a line that stands for all events since the last one: decides about an event, and returns their number if
    /// the line is due.
    pub fn count(&self) -> Option<u64> {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> Option<u64> {
        (self.sample(now) == Sampled::Written).then(|| self.take_left_out() + 1)
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_of_each_period_are_written() {
        let sampler = Sampler::new(2, Duration::from_secs(1));
        let begin = Instant::now();
        let (first, later) = (Sampled::LeftOut { is_first: true }, Sampled::LeftOut { is_first: false });
        let sample = |ms| sampler.sample(begin + Duration::from_millis(ms));
        assert_eq!([0, 10, 20, 999].map(sample), [Sampled::Written, Sampled::Written, first, later], "a period");
        assert_eq!([1_000, 1_001, 1_002].map(sample), [Sampled::Written, Sampled::Written, later]);
        assert_eq!((sampler.take_left_out(), sampler.take_left_out()), (3, 0));
        assert_eq!(sample(1_003), first, "after the report");
    }

    #[test]
    fn a_line_can_stand_for_all_events_since_the_last_one() {
        let sampler = Sampler::of_warnings();
        let begin = Instant::now();
        let counted = [0, 1, 9, 10, 11, 30].map(|seconds| sampler.count_at(begin + Duration::from_secs(seconds)));
        assert_eq!(counted, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
