use std::time::Duration;

/// The longest pause before the second attempt; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(1);

/// The longest pause ever: a transaction takes a few milliseconds, and its rivals are gone by then.
pub(super) const LONGEST: Duration = Duration::from_millis(100);

/// How often a read or a transaction is tried while the database cannot be reached: the pool may still hold
/// connections from before it was restarted.
pub(super) const UNAVAILABLE_ATTEMPTS: u32 = 3;

/// How long to pause before the next attempt: a random time up to a limit that doubles (full jitter), so
/// that rivals who met once do not meet again.
pub(super) fn pause(attempt: u32) -> Duration {
    let limit = FIRST.saturating_mul(1 << attempt.min(10)).min(LONGEST);
    limit.mul_f64(fastrand::f64())
}
