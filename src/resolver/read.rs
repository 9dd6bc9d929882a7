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
    pub(super) queue: Arc<Mutex<Queue>>,
    pub(super) writes: mpsc::UnboundedSender<Job>,
    pub(super) reachable: Reachable,
}

/// What waits to be read.
pub(super) struct Queue {
    arriving: mpsc::UnboundedReceiver<Job>,
    /// The first of the next statement: there was no room for it in the last one.
    held_over: Option<Job>,
}

impl Queue {
    pub(super) fn new(arriving: mpsc::UnboundedReceiver<Job>) -> Self {
        Self { arriving, held_over: None }
    }

    /// Whatever waits, as far as one statement goes. `None` when the resolver is gone.
    async fn next(&mut self) -> Option<Vec<Job>> {
        let first = match self.held_over.take() {
            Some(job) => job,
            None => self.arriving.recv().await?,
        };
        let mut room = MAX_FIND.saturating_sub(first.identifiers().len());
        let mut jobs = vec![first];
        while let Ok(job) = self.arriving.try_recv() {
            let Some(left) = room.checked_sub(job.identifiers().len()) else {
                self.held_over = Some(job);
                break;
            };
            room = left;
            jobs.push(job);
        }
        Some(jobs)
    }
}

/// How often a read is tried in all: the pool may still hold connections from before the database was
/// restarted.
const ATTEMPTS: usize = 3;

impl<S: Store> Lane<S> {
    pub(super) async fn run(self) {
        while let Some(jobs) = self.next().await {
            self.read(jobs, |_, _| true).await;
        }
    }

    async fn next(&self) -> Option<Vec<Job>> {
        self.queue.lock().await.next().await
    }

    /// Reads, in one statement, what these jobs are about. Those that are known altogether and that
    /// `may_answer` lets pass are answered; all others go to the write lane, in order.
    pub(super) async fn read(&self, jobs: Vec<Job>, mut may_answer: impl FnMut(&Job, &Snapshot) -> bool) {
        let jobs: Vec<Job> = jobs.into_iter().filter(Job::is_wanted).collect();
        if jobs.is_empty() {
            return;
        }
        match self.find(&jobs).await {
            Ok(snapshot) => {
                for job in jobs {
                    let may_answer = may_answer(&job, &snapshot);
                    self.answer(job, &snapshot, may_answer);
                }
            }
            Err(error) if error.is_unavailable() => job::fail(jobs, IdentifyError::Unavailable),
            Err(error) => {
                tracing::error!(error.message = %error, jobs = jobs.len(), "a read failed");
                job::fail(jobs, IdentifyError::Internal);
            }
        }
    }

    async fn find(&self, jobs: &[Job]) -> Result<Snapshot, StoreError> {
        let identifiers = job::identifiers(jobs, |_, _| true);
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.store.find(&identifiers).await {
                Ok(identities) => {
                    self.reachable.found();
                    return Ok(Snapshot::new(identities));
                }
                Err(StoreError::Rejected(cause)) => return Err(StoreError::Rejected(cause)),
                Err(error) if attempts == ATTEMPTS || !self.reachable.get() => {
                    if error.is_unavailable() {
                        self.reachable.lost(&error);
                    }
                    return Err(error);
                }
                Err(_) => {}
            }
        }
    }

    fn answer(&self, mut job: Job, snapshot: &Snapshot, may_answer: bool) {
        match snapshot.matched(&job.observation).filter(|_| may_answer) {
            Some(identity) => {
                let answer = Answer { outcome: Outcome::Matched, identity: Arc::clone(identity) };
                job.answer(Ok(answer));
            }
            None => {
                let identifiers = job.identifiers().iter();
                job.owned = identifiers.filter(|identifier| snapshot.owns(identifier)).cloned().collect();
                job.roots = snapshot.roots(&job.observation);
                if let Err(mpsc::error::SendError(job)) = self.writes.send(job) {
                    job.answer(Err(IdentifyError::Internal));
                }
            }
        }
    }
}
