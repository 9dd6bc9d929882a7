use std::time::{Duration, Instant};

use tokio::time;

/// Returns whether the deadline is over, by the clock of tokio's timers. (Tests can pause that clock.)
pub(super) fn has_passed(deadline: Instant) -> bool {
    time::Instant::now().into_std() >= deadline
}

/// Returns the moment that is `timeout` from now, by the same clock.
pub(super) fn deadline_after(timeout: Duration) -> Instant {
    (time::Instant::now() + timeout).into_std()
}
