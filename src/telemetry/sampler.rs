//! Floods of one kind: the first lines of each second are written, the others are counted.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time for which lines of one kind are counted.
pub const SAMPLE_TIME: Duration = Duration::from_secs(1);

/// Decides which lines of a flood are written: of each kind, the first ones of each second.
#[derive(Debug)]
pub struct Sampler {
    lines_a_second: u32,
    kinds: Vec<Mutex<Window>>,
}

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampled {
    /// Write it.
    Written,
    /// Leave it out. If it is the first one since [`Sampler::take_left_out`], a report is due after [`SAMPLE_TIME`].
    LeftOut {
        /// Whether no other one waits to be reported.
        is_first: bool,
    },
}

#[derive(Debug, Default)]
struct Window {
    /// `None` before the first line.
    begun: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Sampler {
    /// A sampler of this many kinds, which are numbers from 0.
    pub fn new(kinds: usize, lines_a_second: u32) -> Self {
        Self { lines_a_second, kinds: (0..kinds).map(|_| Mutex::default()).collect() }
    }

    /// Decides about a line of this kind. An unknown kind is always written.
    pub fn sample(&self, kind: usize, now: Instant) -> Sampled {
        let Some(mut window) = self.window(kind) else { return Sampled::Written };
        let is_over = window.begun.is_none_or(|begun| now.saturating_duration_since(begun) >= SAMPLE_TIME);
        if is_over {
            (window.begun, window.written) = (Some(now), 0);
        }
        if window.written < self.lines_a_second {
            window.written += 1;
            return Sampled::Written;
        }
        window.left_out += 1;
        Sampled::LeftOut { is_first: window.left_out == 1 }
    }

    /// Returns how many lines of this kind were left out since the last call.
    pub fn take_left_out(&self, kind: usize) -> u64 {
        self.window(kind).map_or(0, |mut window| std::mem::take(&mut window.left_out))
    }

    fn window(&self, kind: usize) -> Option<MutexGuard<'_, Window>> {
        self.kinds.get(kind).map(|window| window.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_of_each_second_and_kind_are_written() {
        let sampler = Sampler::new(2, 2);
        let begin = Instant::now();
        let (first, later) = (Sampled::LeftOut { is_first: true }, Sampled::LeftOut { is_first: false });
        let sample = |kind, ms| sampler.sample(kind, begin + Duration::from_millis(ms));
        assert_eq!(
            [0, 10, 20, 999].map(|ms| sample(0, ms)),
            [Sampled::Written, Sampled::Written, first, later],
            "a second"
        );
        assert_eq!(sample(1, 20), Sampled::Written, "another kind");
        assert_eq!([1_000, 1_001, 1_002].map(|ms| sample(0, ms)), [Sampled::Written, Sampled::Written, later]);
        assert_eq!((sampler.take_left_out(0), sampler.take_left_out(0), sampler.take_left_out(1)), (3, 0, 0));
        assert_eq!(sample(0, 1_003), first, "after the report");
        assert_eq!([sample(7, 0); 3], [Sampled::Written; 3], "an unknown kind");
    }
}
