//! The read lanes: answer what is known already.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::job::{self, Job};
use super::{IdentifyError, Reachable};
use crate::domain::{Answer, Outcome, Snapshot};
use crate::store::{MAX_FIND, Store, StoreError};

/// One of several lanes that share a queue. Each takes all that waits, in turn, so that at low load every
/// request has a statement of its own and at high load many share one.
pub(super) struct Lane<S> {
    pub(super) store: S,
    pub(super) queue: Arc<Mutex<mpsc::UnboundedReceiver<Job>>>,
    pub(super) writes: mpsc::UnboundedSender<Job>,
    pub(super) reachable: Reachable,
}

/// How often a read is tried in all: the pool may still hold connections from before the database was
/// restarted.
const ATTEMPTS: usize = 3;

impl<S: Store> Lane<S> {
    pub(super) async fn run(self) {
        // A held-over job had no room in the statement before it.
        let mut held_over = None;
        while let Some(jobs) = self.next(&mut held_over).await {
            self.read(jobs).await;
        }
    }

    /// Whatever waits, as far as one statement goes. `None` when the resolver is gone.
    async fn next(&self, held_over: &mut Option<Job>) -> Option<Vec<Job>> {
        let mut jobs: Vec<Job> = held_over.take().into_iter().collect();
        let mut size = jobs.iter().map(|job| job.observation.identifiers().len()).sum::<usize>();
        let mut queue = self.queue.lock().await;
        if jobs.is_empty() {
            let first = queue.recv().await?;
            size += first.observation.identifiers().len();
            jobs.push(first);
        }
        while let Ok(job) = queue.try_recv() {
            size += job.observation.identifiers().len();
            if size > MAX_FIND {
                *held_over = Some(job);
                break;
            }
            jobs.push(job);
        }
        Some(jobs)
    }

    async fn read(&self, jobs: Vec<Job>) {
        let jobs: Vec<Job> = jobs.into_iter().filter(Job::is_wanted).collect();
        if jobs.is_empty() {
            return;
        }
        match self.find(&jobs).await {
            Ok(snapshot) => jobs.into_iter().for_each(|job| self.answer(job, &snapshot)),
            Err(error) if error.is_unavailable() => job::fail(jobs, IdentifyError::Unavailable),
            Err(error) => {
                tracing::error!(error.message = %error, jobs = jobs.len(), "a read failed");
                job::fail(jobs, IdentifyError::Internal);
            }
        }
    }

    async fn find(&self, jobs: &[Job]) -> Result<Snapshot, StoreError> {
        let identifiers = job::identifiers(jobs);
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.store.find(&identifiers).await {
                Ok(identities) => {
                    self.reachable.set(true);
                    return Ok(Snapshot::new(identities));
                }
                Err(StoreError::Rejected(cause)) => return Err(StoreError::Rejected(cause)),
                Err(error) if attempts == ATTEMPTS || !self.reachable.get() => {
                    if error.is_unavailable() {
                        self.reachable.set(false);
                    }
                    return Err(error);
                }
                Err(_) => {}
            }
        }
    }

    fn answer(&self, mut job: Job, snapshot: &Snapshot) {
        match snapshot.matched(&job.observation) {
            Some(identity) => {
                let answer = Answer { outcome: Outcome::Matched, identity: Arc::clone(identity) };
                job.answer(Ok(answer));
            }
            None => {
                job.roots = snapshot.roots(&job.observation);
                if let Err(mpsc::error::SendError(job)) = self.writes.send(job) {
                    job.answer(Err(IdentifyError::Internal));
                }
            }
        }
    }
}
