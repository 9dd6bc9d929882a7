//! The read lanes: answer what is known already.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;

use super::backoff::pause;
use super::job::{self, Job};
use super::supervise::{self, caught};
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

/// How often a read is tried while the database cannot be reached: the pool may still hold connections from
/// before it was restarted.
const UNAVAILABLE_ATTEMPTS: usize = 3;

impl<S: Store> supervise::Lane for Lane<S> {
    async fn run(&mut self) {
        while let Some(jobs) = self.next().await {
            self.read(jobs, |_, _| true).await;
        }
    }
}

impl<S: Store> Lane<S> {
    async fn next(&self) -> Option<Vec<Job>> {
        self.queue.lock().await.next().await
    }

    /// Reads, in one statement, what these jobs are about. Those that are known altogether and that
    /// `may_answer` lets pass are answered; all others go to the write lanes, in order.
    ///
    /// A job that the database refuses must not take its neighbours down: halves until it is alone.
    pub(super) async fn read(&self, jobs: Vec<Job>, mut may_answer: impl FnMut(&Job, &Snapshot) -> bool) {
        let mut pieces = vec![jobs];
        while let Some(mut jobs) = pieces.pop() {
            match self.find(&mut jobs).await {
                Ok(snapshot) => {
                    for job in jobs {
                        let may_answer = may_answer(&job, &snapshot);
                        self.answer(job, &snapshot, may_answer);
                    }
                }
                Err(error) if error.is_unavailable() => job::fail(jobs, &error),
                Err(_) if jobs.len() > 1 => {
                    let second = jobs.split_off(jobs.len() / 2);
                    pieces.extend([second, jobs]);
                }
                Err(error) => {
                    tracing::error!(error.message = %error, "a read failed");
                    job::fail(jobs, &error);
                }
            }
        }
    }

    /// What is known of those jobs that are still wanted, in as many attempts as it takes.
    async fn find(&self, jobs: &mut Vec<Job>) -> Result<Snapshot, StoreError> {
        let (mut lost_races, mut unavailable) = (0, 0);
        loop {
            jobs.retain(Job::is_wanted);
            if jobs.is_empty() {
                return Ok(Snapshot::new(Vec::new()));
            }
            let identifiers = job::identifiers(jobs, |_, _| true);
            match caught(async { self.store.find(&identifiers).await.map(Snapshot::new) }).await {
                Ok(snapshot) => {
                    self.reachable.found();
                    return Ok(snapshot);
                }
                Err(StoreError::LostRace(_)) => {
                    sleep(pause(lost_races)).await;
                    lost_races += 1;
                }
                Err(error) if error.is_unavailable() => {
                    unavailable += 1;
                    if unavailable == UNAVAILABLE_ATTEMPTS || !self.reachable.get() {
                        self.reachable.lost(&error);
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
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
