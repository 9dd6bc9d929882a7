//! Attempts of a repair: again after a lost race, and after a commit of which nobody knows whether it was carried out.

use std::fmt;
use std::time::{Duration, Instant};

use crate::store::{Cause, DatabaseTransaction, StoreError, Transaction};

/// Maximum attempts of a repair that loses races. After them it is reported as not repaired.
const MAX_ATTEMPTS: u32 = 20;

/// How long an identity is attempted, in all: a transaction of somebody else may keep a row locked.
const MAX_TIME: Duration = Duration::from_secs(10);

/// The longest pause between two attempts: longer than the transactions of the service.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Why an attempt failed.
pub(super) enum AttemptError {
    /// The answer to the commit did not come, or the database ended the commit. The next attempt reads under locks what
    /// came of it.
    CommitUnknown(StoreError),
    Store(StoreError),
}

impl From<StoreError> for AttemptError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Why a repair failed, in words for operators.
#[derive(Debug)]
pub(super) struct RepairError {
    pub(super) error: StoreError,
    /// Whether a commit may have been carried out all the same.
    pub(super) is_doubtful: bool,
}

impl From<StoreError> for RepairError {
    fn from(error: StoreError) -> Self {
        Self { error, is_doubtful: false }
    }
}

impl fmt::Display for RepairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        if self.is_doubtful { f.write_str("; it is unknown whether the repair was carried out") } else { Ok(()) }
    }
}

/// Commits, and tells a failure apart from a commit of which nobody knows whether it was carried out.
pub(super) async fn commit(transaction: DatabaseTransaction) -> Result<(), AttemptError> {
    transaction.commit().await.map_err(|error| {
        if error.leaves_commit_unknown() { AttemptError::CommitUnknown(error) } else { AttemptError::Store(error) }
    })
}

/// Attempts something until it is done. `None` asks for another attempt at once.
///
/// # Errors
/// Those of the store. [`StoreError::LostRace`] if other transactions kept the rows locked, or kept changing them.
pub(super) async fn until_done<T>(
    mut attempt: impl AsyncFnMut() -> Result<Option<T>, AttemptError>,
) -> Result<T, RepairError> {
    let begun = Instant::now();
    let mut lost = StoreError::LostRace(Cause::new("its contacts change all the time"));
    let mut is_doubtful = false;
    for _ in 0..MAX_ATTEMPTS {
        match attempt().await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            Err(AttemptError::CommitUnknown(error)) => {
                (lost, is_doubtful) = (error, true);
                pause().await;
            }
            Err(AttemptError::Store(error)) if is_passing(&error, is_doubtful) => {
                lost = error;
                pause().await;
            }
            Err(AttemptError::Store(error)) => return Err(RepairError { error, is_doubtful }),
        }
        if begun.elapsed() > MAX_TIME {
            break;
        }
    }
    Err(RepairError { error: lost, is_doubtful })
}

/// Whether another attempt may help. What is in doubt is worth waiting for the database.
fn is_passing(error: &StoreError, is_doubtful: bool) -> bool {
    matches!(error, StoreError::LostRace(_) | StoreError::DuplicateKey(_)) || (is_doubtful && error.is_unavailable())
}

async fn pause() {
    tokio::time::sleep(MAX_PAUSE.mul_f64(fastrand::f64())).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> StoreError {
        StoreError::Unavailable(Cause::new("gone"))
    }

    /// Makes these attempts, the last one first. Returns how many were left, and the outcome in words.
    async fn run(mut attempts: Vec<Result<Option<()>, AttemptError>>) -> (usize, String) {
        let done = until_done(async || attempts.pop().expect("another attempt")).await;
        let said = done.map_or_else(|error| error.to_string(), |()| "done".to_owned());
        (attempts.len(), said)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_doubt_is_attempted_until_the_database_answers() {
        let in_doubt = || Err(AttemptError::CommitUnknown(unavailable()));
        let lost = || Err(StoreError::LostRace(Cause::new("1213")).into());
        let refused = || Err(StoreError::Rejected(Cause::new("1")).into());
        let gone = || Err(unavailable().into());
        assert_eq!(run(vec![Ok(Some(())), gone(), gone(), in_doubt(), lost(), Ok(None)]).await, (0, "done".to_owned()));
        assert_eq!(run(vec![Ok(Some(())), gone()]).await, (1, "unavailable: gone".to_owned()));
        let (_, said) = run(vec![refused(), in_doubt()]).await;
        assert_eq!(said, "rejected: 1; it is unknown whether the repair was carried out");
        let (left, said) = run(std::iter::repeat_with(in_doubt).take(100).collect()).await;
        assert_eq!(said, "unavailable: gone; it is unknown whether the repair was carried out");
        assert_eq!(left, 100 - MAX_ATTEMPTS as usize);
        assert_eq!(run(vec![refused(), lost()]).await, (0, "rejected: 1".to_owned()));
    }
}
