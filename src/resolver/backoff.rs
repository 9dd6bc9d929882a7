//! The pauses between attempts.

use std::time::Duration;

/// The limit for the pause before the second attempt. The limit doubles with each further attempt.
const FIRST_LIMIT: Duration = Duration::from_millis(1);

/// The longest pause. A transaction takes a few milliseconds, so a longer pause gains nothing.
pub(super) const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Maximum attempts of a read or a transaction while the database cannot be reached.
///
/// More than one, because the pool may still hold connections from before a restart of the database.
pub(super) const MAX_UNAVAILABLE_ATTEMPTS: u32 = 3;

/// Returns the pause before the next attempt: a random time up to a limit that doubles (full jitter).
///
/// The random part keeps two transactions that met once from meeting again.
pub(super) fn jittered_pause(attempt: u32) -> Duration {
    let limit = FIRST_LIMIT.saturating_mul(1 << attempt.min(10)).min(MAX_PAUSE);
    limit.mul_f64(fastrand::f64())
}
