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
    slice_ends: Instant,
}

impl Slices {
    /// Begins the first slice of work that must end by the deadline of its call.
    pub fn until(deadline: Instant) -> Self {
        Self { deadline, slice_ends: Instant::now() + SLICE }
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
            return Err(IdentifyError::DeadlineExceeded);
        }
        yield_now().await;
        self.slice_ends = Instant::now() + SLICE;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn others_get_their_turn_after_each_slice_and_the_deadline_ends_the_work() {
        let now = Instant::now();
        let long = now + Duration::from_secs(60);
        let mut slices = Slices { deadline: long, slice_ends: long };
        assert_eq!(slices.pause().now_or_never(), Some(Ok(())));
        slices.slice_ends = now;
        assert_eq!(slices.pause().now_or_never(), None, "it yields");
        slices.deadline = now;
        assert_eq!(slices.pause().now_or_never(), Some(Err(IdentifyError::DeadlineExceeded)));
    }
}
