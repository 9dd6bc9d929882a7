//! The read lanes: answer what is known already.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::backoff::{UNAVAILABLE_ATTEMPTS, pause};
use super::job::{self, Job, Statement};
use super::panic_guard::{self, caught};
use super::{IdentifyError, Reachable};
use crate::domain::{Identity, Observation, Snapshot};
use crate::store::{LookupResult, Store, StoreError};

/// One of several lanes that share a queue. Each takes all that waits, in turn: while a statement is under
/// way, requests wait for its end or until they fill another one beside it.
pub(super) struct ReadLane<S> {
    pub(super) store: S,
    pub(super) queue: Arc<Mutex<ReadQueue>>,
    pub(super) writes: mpsc::UnboundedSender<Job>,
    pub(super) reachable: Reachable,
}

/// What waits to be read.
pub(super) struct ReadQueue {
    arriving: mpsc::UnboundedReceiver<Job>,
    /// The first of the next statement: there was no room for it in the last one.
    held_over: Option<Job>,
    /// Taken while a statement is under way.
    turn: Arc<Semaphore>,
}

/// A statement that goes out now.
struct Batch {
    statement: Statement,
    /// Unless others are under way beside it.
    turn: Option<OwnedSemaphorePermit>,
}

/// What a read says of the jobs that it was for.
struct Known {
    snapshot: Snapshot,
    /// See [`LookupResult`].
    is_latest: bool,
}

impl Known {
    /// The identity that the job is answered with, if nothing has to be written and nothing more to be read. One that
    /// came without its root is read again: that was seen on a MySQL cluster (docs/reliability.md).
    fn matched(&self, observation: &Observation) -> Option<&Arc<Identity>> {
        self.snapshot.matched(observation).filter(|identity| self.is_latest && identity.missing_root().is_none())
    }
}

/// How long jobs wait at most while a statement is under way and they are too few to fill another: one that
/// hangs must not hold up the rest.
const PATIENCE: Duration = Duration::from_millis(5);

impl ReadQueue {
    pub(super) fn new(arriving: mpsc::UnboundedReceiver<Job>) -> Self {
        Self { arriving, held_over: None, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Whatever waits, as far as one statement goes. `None` when the resolver is gone.
    ///
    /// At once, if no statement is under way; otherwise when it ends, or as soon as another is full. Databases
    /// plan each statement anew: on MySQL a look-up takes 195 us for one request, 44 us a request for 8 and
    /// 19 us for 64, so a few jobs had better not have one to themselves (docs/benchmarks.md).
    async fn next(&mut self) -> Option<Batch> {
        let first = match self.held_over.take() {
            Some(job) => job,
            None => self.arriving.recv().await?,
        };
        let turn = Arc::clone(&self.turn).try_acquire_owned().ok();
        let mut batch = Batch { statement: Statement::new(first), turn };
        self.fill(&mut batch);
        if batch.turn.is_none() {
            let _ = timeout(PATIENCE, self.gather(&mut batch)).await;
        }
        Some(batch)
    }

    /// Takes what arrives until the statement under way ends or this one is full.
    async fn gather(&mut self, batch: &mut Batch) {
        let turn = Arc::clone(&self.turn).acquire_owned();
        let mut turn = pin!(turn);
        while !batch.statement.is_full() && self.held_over.is_none() {
            tokio::select! {
                biased;
                turn = &mut turn => {
                    batch.turn = turn.ok(); // Closed never.
                    return self.fill(batch);
                }
                Some(job) = self.arriving.recv() => {
                    self.put(job, batch);
                    self.fill(batch);
                }
            }
        }
    }

    /// Takes all that has arrived and fits.
    fn fill(&mut self, batch: &mut Batch) {
        while self.held_over.is_none()
            && let Ok(job) = self.arriving.try_recv()
        {
            self.put(job, batch);
        }
    }

    fn put(&mut self, job: Job, batch: &mut Batch) {
        if batch.statement.has_room_for(&job) {
            batch.statement.push(job);
        } else {
            self.held_over = Some(job);
        }
    }
}

impl<S: Store> panic_guard::Worker for ReadLane<S> {
    async fn run(&mut self) {
        while let Some(batch) = self.next().await {
            self.read(batch.statement.jobs, |_, _| true).await;
            drop(batch.turn);
        }
    }
}

impl<S: Store> ReadLane<S> {
    async fn next(&self) -> Option<Batch> {
        self.queue.lock().await.next().await
    }

    /// Reads, in one statement, what these jobs are about. Those that are known altogether, by a read that has the
    /// latest, and that `may_answer` lets pass with their identity, are answered; all others go to the write lanes,
    /// in order.
    ///
    /// A job that the database refuses must not take its neighbours down: halves until it is alone.
    pub(super) async fn read(&self, jobs: Vec<Job>, mut may_answer: impl FnMut(&Job, Option<&Identity>) -> bool) {
        let mut pieces = vec![jobs];
        while let Some(mut jobs) = pieces.pop() {
            match self.find(&mut jobs).await {
                Ok(known) => {
                    for job in jobs {
                        let matched = known.matched(&job.observation);
                        let may_answer = may_answer(&job, matched.map(Arc::as_ref));
                        match matched.filter(|_| may_answer) {
                            Some(identity) => job.matched(identity),
                            None => self.pass_on(job, &known.snapshot),
                        }
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
    async fn find(&self, jobs: &mut Vec<Job>) -> Result<Known, StoreError> {
        let (mut lost_races, mut unavailable) = (0, 0);
        loop {
            jobs.retain(Job::is_wanted);
            if jobs.is_empty() {
                return Ok(Known { snapshot: Snapshot::new(Vec::new()), is_latest: true });
            }
            let identifiers = job::identifiers(jobs, |_, _| true);
            match caught(self.store.find_identities(&identifiers)).await {
                Ok(LookupResult { identities, is_latest }) => {
                    self.reachable.found();
                    return Ok(Known { snapshot: Snapshot::new(identities), is_latest });
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

    /// Gives a job to the write lanes, with what is known.
    fn pass_on(&self, mut job: Job, snapshot: &Snapshot) {
        let identifiers = job.identifiers().iter();
        job.owned = identifiers.filter(|identifier| snapshot.owns(identifier)).cloned().collect();
        job.owners = snapshot.owners_of(&job.observation);
        if let Err(mpsc::error::SendError(job)) = self.writes.send(job) {
            job.answer(Err(IdentifyError::Internal));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::domain::{Identifier, IdentifierKind};
    use crate::store::MAX_LOOKUP;

    fn job(phone: usize) -> Job {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let phone = Identifier::from_stored(IdentifierKind::Phone, phone.to_string());
        let deadline = Instant::now() + Duration::from_secs(1);
        Job::new(Observation::new([phone]).unwrap(), deadline.into_std(), permit).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_is_alone_or_full_or_has_waited() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut queue = ReadQueue::new(arriving);
        let begun = Instant::now();
        send.send(job(0)).unwrap();
        let first = queue.next().await.unwrap();
        assert_eq!((first.statement.jobs.len(), begun.elapsed()), (1, Duration::ZERO), "nothing is under way");

        (1..=MAX_LOOKUP + 1).for_each(|phone| send.send(job(phone)).unwrap());
        let full = queue.next().await.unwrap();
        assert_eq!((full.statement.jobs.len(), begun.elapsed()), (MAX_LOOKUP, Duration::ZERO));

        let patient = queue.next().await.unwrap();
        assert_eq!((patient.statement.jobs.len(), patient.turn.is_none()), (1, true));
        assert!(begun.elapsed() >= PATIENCE, "the first one hangs");

        send.send(job(1)).unwrap();
        let begun = Instant::now();
        let gathered = tokio::join!(queue.next(), async {
            sleep(PATIENCE / 4).await;
            send.send(job(2)).unwrap();
            sleep(PATIENCE / 4).await;
            drop(first);
        });
        let gathered = gathered.0.unwrap();
        assert_eq!((gathered.statement.jobs.len(), gathered.turn.is_some()), (2, true));
        assert!(begun.elapsed() < PATIENCE);
    }
}
