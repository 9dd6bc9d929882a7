//! The write lane and its lock protocol.
//!
//! A transaction, for one job or hundreds:
//!
//! 1. lock the rows of the identities concerned, in the order of their ids, as far as the read before saw them;
//! 2. read again, under the locks. An identity that is not locked (it merged, or came to be, in between)
//!    means: start over, with that one's row too;
//! 3. plan, in memory;
//! 4. write, and commit.
//!
//! Why nothing can slip through: an identity is only changed by who holds its root's lock, and every change
//! writes that row, so engines that check write sets instead of locks see the conflict as well. An
//! identifier that nobody owned is guarded by its primary key: of two first sightings one gets a duplicate
//! key, and starts over. All take locks in one order, roots by id and then identifiers sorted, so rivals
//! wait and do not deadlock; where they do all the same, one starts over.

use std::collections::BTreeSet;

use tokio::sync::mpsc;

use super::backoff::pause;
use super::job::{self, Job};
use super::{IdentifyError, Reachable};
use crate::domain::{Answer, ContactId, Identity, Observation, Snapshot, plan};
use crate::store::{Store, StoreError, Transaction};

/// The most jobs in one transaction. Larger ones gain little and make their first wait.
const MAX_BATCH: usize = 256;

/// How often a batch is tried while the database cannot be reached: the pool may still hold connections
/// from before it was restarted.
const UNAVAILABLE_ATTEMPTS: u32 = 3;

pub(super) struct Lane<S> {
    pub(super) store: S,
    pub(super) queue: mpsc::UnboundedReceiver<Job>,
    pub(super) reachable: Reachable,
}

/// Why a transaction came to nothing.
enum Setback {
    /// Other identities are concerned than were locked: these.
    Moved(BTreeSet<ContactId>),
    Store(StoreError),
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<S: Store> Lane<S> {
    pub(super) async fn run(mut self) {
        let mut jobs = Vec::with_capacity(MAX_BATCH);
        while self.queue.recv_many(&mut jobs, MAX_BATCH).await > 0 {
            self.resolve(std::mem::take(&mut jobs)).await;
        }
    }

    /// Answers every job, in as many attempts as it takes.
    async fn resolve(&self, mut jobs: Vec<Job>) {
        let mut roots: BTreeSet<ContactId> = jobs.iter().flat_map(|job| job.roots.iter().copied()).collect();
        let (mut attempt, mut unavailable, mut duplicate) = (0, 0, false);
        loop {
            jobs.retain(Job::is_wanted);
            if jobs.is_empty() {
                return;
            }
            match self.attempt(&jobs, &roots, duplicate).await {
                Ok(answers) => {
                    self.reachable.set(true);
                    return jobs.into_iter().zip(answers).for_each(|(job, answer)| job.answer(Ok(answer)));
                }
                Err(Setback::Moved(to)) => {
                    roots = to;
                    continue; // Somebody else got on; no need to wait.
                }
                Err(Setback::Store(StoreError::LostRace(_))) => {}
                Err(Setback::Store(StoreError::DuplicateKey(_))) => duplicate = true,
                Err(Setback::Store(StoreError::Rejected(cause))) => {
                    tracing::error!(error.message = %cause, jobs = jobs.len(), "a transaction was rejected");
                    return self.split(jobs).await;
                }
                Err(Setback::Store(error)) => {
                    unavailable += 1;
                    if unavailable == UNAVAILABLE_ATTEMPTS || !self.reachable.get() {
                        tracing::debug!(error.message = %error, "a transaction failed");
                        self.reachable.set(false);
                        return job::fail(jobs, IdentifyError::Unavailable);
                    }
                }
            }
            tokio::time::sleep(pause(attempt)).await;
            attempt += 1;
        }
    }

    /// A job that the database refuses must not take its neighbours down: halves until it is alone.
    async fn split(&self, mut jobs: Vec<Job>) {
        if jobs.len() == 1 {
            return job::fail(jobs, IdentifyError::Internal);
        }
        let second = jobs.split_off(jobs.len() / 2);
        Box::pin(self.resolve(jobs)).await;
        Box::pin(self.resolve(second)).await;
    }

    /// One transaction, from begin to commit.
    async fn attempt(
        &self,
        jobs: &[Job],
        roots: &BTreeSet<ContactId>,
        after_duplicate: bool,
    ) -> Result<Vec<Answer>, Setback> {
        let identifiers = job::identifiers(jobs);
        let mut transaction = self.store.begin().await?;
        if !roots.is_empty() {
            transaction.lock(roots).await?;
        }
        let identities = transaction.find(&identifiers).await?;
        let concerned: BTreeSet<ContactId> = identities.iter().map(Identity::root).collect();
        if !transaction.is_exclusive() && !concerned.is_subset(roots) {
            return Err(Setback::Moved(concerned));
        }
        let known = Snapshot::new(identities);
        if after_duplicate {
            // Perhaps nobody raced: a row may be left from a contact that somebody deleted by hand.
            let free: Vec<_> = identifiers.into_iter().filter(|identifier| !known.owns(identifier)).collect();
            transaction.release_orphans(&free).await?;
        }
        let now = transaction.now().await?;
        let observations: Vec<Observation> = jobs.iter().map(|job| job.observation.clone()).collect();
        let plan = plan(&observations, &known, now);
        let ids = if plan.is_empty() { Vec::new() } else { transaction.apply(&plan).await? };
        transaction.commit().await?;
        Ok(plan.answers(&ids))
    }
}
