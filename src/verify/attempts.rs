//! Attempts of a repair: again after a lost race, and after a commit whose answer did not come.

use std::fmt;
use std::time::{Duration, Instant};

use super::doubt::Doubt;
use super::repairs::Repair;
use crate::store::{Cause, DatabaseTransaction, StoreError, Transaction};

/// Maximum attempts of a repair that loses races. After them it is reported as not repaired.
const MAX_ATTEMPTS: u32 = 20;

/// Maximum time of all attempts for one identity: another transaction may keep a row locked.
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
    /// The changes that may have been made all the same.
    pub(super) doubt: Doubt,
}

impl From<StoreError> for RepairError {
    fn from(error: StoreError) -> Self {
        Self { error, doubt: Doubt::default() }
    }
}

impl fmt::Display for RepairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        if self.doubt.exists() { f.write_str("; it is unknown whether the repair was carried out") } else { Ok(()) }
    }
}

/// Commits these changes, and adds them to `doubt` unless the commit failed.
pub(super) async fn commit(
    transaction: DatabaseTransaction,
    doubt: &mut Doubt,
    repairs: Vec<Repair>,
) -> Result<(), AttemptError> {
    match transaction.commit().await {
        Ok(()) => {
            doubt.settle(&repairs);
            doubt.add(repairs);
            Ok(())
        }
        Err(error) if error.leaves_commit_unknown() => {
            doubt.add(repairs);
            Err(AttemptError::CommitUnknown(error))
        }
        Err(error) => Err(AttemptError::Store(error)),
    }
}

/// Attempts something until it is done. `None` asks for another attempt at once. Each attempt settles or adds doubt.
///
/// # Errors
/// Those of the store. [`StoreError::LostRace`] if other transactions kept the rows locked, or kept changing them.
pub(super) async fn until_done<T>(
    mut attempt: impl AsyncFnMut(&mut Doubt) -> Result<Option<T>, AttemptError>,
) -> Result<T, RepairError> {
    let begun = Instant::now();
    let mut lost = StoreError::LostRace(Cause::new("its contacts change all the time"));
    let mut doubt = Doubt::default();
    for _ in 0..MAX_ATTEMPTS {
        match attempt(&mut doubt).await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            Err(AttemptError::CommitUnknown(error)) => {
                lost = error;
                pause().await;
            }
            Err(AttemptError::Store(error)) if is_passing(&error, doubt.exists()) => {
                lost = error;
                pause().await;
            }
            Err(AttemptError::Store(error)) => return Err(RepairError { error, doubt }),
        }
        if begun.elapsed() > MAX_TIME {
            break;
        }
    }
    Err(RepairError { error: lost, doubt })
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
        let repair = Repair::Promoted { contact: 1 };
        let done = until_done(async |doubt| {
            let done = attempts.pop().expect("another attempt");
            match &done {
                Err(AttemptError::CommitUnknown(_)) => doubt.add(vec![repair.clone()]),
                // The change is still needed.
                Err(AttemptError::Store(StoreError::Rejected(_) | StoreError::DuplicateKey(_))) => {
                    doubt.settle(std::slice::from_ref(&repair));
                }
                Ok(_) | Err(AttemptError::Store(_)) => {}
            }
            done
        })
        .await;
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
        assert_eq!(run(vec![refused(), in_doubt()]).await, (0, "rejected: 1".to_owned()), "settled");
        let settled = || Err(StoreError::DuplicateKey(Cause::new("2")).into());
        assert_eq!(run(vec![gone(), settled(), in_doubt()]).await, (0, "unavailable: gone".to_owned()));
        let (left, said) = run(std::iter::repeat_with(in_doubt).take(100).collect()).await;
        assert_eq!(said, "unavailable: gone; it is unknown whether the repair was carried out");
        assert_eq!(left, 100 - MAX_ATTEMPTS as usize);
        assert_eq!(run(vec![refused(), lost()]).await, (0, "rejected: 1".to_owned()));
    }
}
