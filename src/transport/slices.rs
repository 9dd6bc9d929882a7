//! Long work in slices, so that it holds up no other call.

use std::time::{Duration, Instant};

use tokio::task::yield_now;

use crate::resolver::IdentifyError;

/// The longest that work runs before other tasks get their turn.
const SLICE: Duration = Duration::from_micros(200);

/// The slices of one call's work. Work that is done within a slice never waits.
#[derive(Debug)]
pub struct Slices {
    deadline: Instant,
    /// What happens to the work at the deadline.
    at_deadline: AtDeadline,
    slice_ends: Instant,
}

#[derive(Clone, Copy, Debug)]
enum AtDeadline {
    Fail,
    GoOn,
}

impl Slices {
    /// Begins the first slice of work that must end by the deadline of its call.
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, at_deadline: AtDeadline::Fail, slice_ends: Instant::now() + SLICE }
    }

    /// Begins the first slice of encoding an answer. At the deadline it goes on without a pause, because a pause would
    /// end the call: results that are known by then reach the caller. The size of an answer bounds this work.
    pub fn of_answer(deadline: Instant) -> Self {
        Self { at_deadline: AtDeadline::GoOn, ..Self::until(deadline) }
    }

    /// Lets other tasks run if the slice is over.
    ///
    /// # Errors
    /// [`IdentifyError::DeadlineExceeded`] if the deadline has passed by the end of the slice.
    pub async fn pause(&mut self) -> Result<(), IdentifyError> {
        let now = Instant::now();
        if now < self.slice_ends {
            return Ok(());
        }
        if now >= self.deadline {
            return match self.at_deadline {
                AtDeadline::Fail => Err(IdentifyError::DeadlineExceeded),
                AtDeadline::GoOn => Ok(()),
            };
        }
        yield_now().await;
        self.slice_ends = Instant::now() + SLICE;
        Ok(())
    }
}

/// Does some work, and counts the turns that another task of the same thread has meanwhile.
#[cfg(test)]
pub(super) async fn turns_of_others<T>(work: impl Future<Output = T>) -> (T, usize) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
        }
    });
    let done = work.await;
    other.abort();
    (done, turns.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn others_get_their_turn_after_each_slice_and_the_deadline_ends_the_work() {
        let now = Instant::now();
        let long = now + Duration::from_secs(60);
        let mut slices = Slices { deadline: long, at_deadline: AtDeadline::Fail, slice_ends: long };
        assert_eq!(slices.pause().now_or_never(), Some(Ok(())));
        slices.slice_ends = now;
        assert_eq!(slices.pause().now_or_never(), None, "it yields");
        slices.deadline = now;
        assert_eq!(slices.pause().now_or_never(), Some(Err(IdentifyError::DeadlineExceeded)));
        slices.at_deadline = AtDeadline::GoOn;
        assert_eq!(slices.pause().now_or_never(), Some(Ok(())), "an answer goes on");
    }
}
