//! The queue of the read lanes.
//!
//! It gathers waiting jobs into groups, one group for each look-up statement. An idle service looks a job up at once,
//! and a busy service shares a statement among many jobs.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::job::Job;
use super::large_identities::LargeRoot;
use crate::store::MAX_LOOKUP;

/// Maximum time that a small group waits while another statement runs. A statement that hangs must not block the rest.
const MAX_GATHER_TIME: Duration = Duration::from_millis(5);

/// The jobs of one look-up statement, which takes at most [`MAX_LOOKUP`] identifiers.
#[derive(Debug)]
pub(super) struct LookupGroup {
    pub(super) jobs: Vec<Job>,
    /// The number of identifiers that still fit.
    free: usize,
}

impl LookupGroup {
    /// Returns a group of this job, however many identifiers it has.
    pub(super) fn new(first: Job) -> Self {
        let free = MAX_LOOKUP.saturating_sub(first.identifiers().len());
        Self { jobs: vec![first], free }
    }

    pub(super) fn is_full(&self) -> bool {
        self.free == 0
    }

    /// Returns whether a job fits. Jobs about a large identity share a statement with nobody else, but for jobs of the
    /// same batch: otherwise a batch that is about large and small ones in turn would read a large one for each item.
    pub(super) fn has_room_for(&self, job: &Job) -> bool {
        let is_of_same_batch =
            || job.batch.is_some() && self.jobs.first().is_some_and(|first| first.batch == job.batch);
        job.identifiers().len() <= self.free && (job.large == self.large() || is_of_same_batch())
    }

    /// Returns the large identity that its first job is about.
    pub(super) fn large(&self) -> Option<LargeRoot> {
        self.jobs.first().and_then(|first| first.large)
    }

    pub(super) fn push(&mut self, job: Job) {
        self.free = self.free.saturating_sub(job.identifiers().len());
        self.jobs.push(job);
    }
}

/// A look-up that a lane may start now.
pub(super) struct ReadyLookup {
    pub(super) group: LookupGroup,
    /// Held until the statement ends. `None` when another statement runs beside it.
    pub(super) turn: Option<OwnedSemaphorePermit>,
}

/// Jobs that wait for a look-up. All read lanes share it.
pub(super) struct ReadQueue {
    arriving: mpsc::UnboundedReceiver<Job>,
    /// Jobs that did not fit into an earlier group, in order. The first one begins the next group.
    left: VecDeque<Job>,
    /// One permit, which the running statement holds.
    turn: Arc<Semaphore>,
}

impl ReadQueue {
    pub(super) fn new(arriving: mpsc::UnboundedReceiver<Job>) -> Self {
        Self { arriving, left: VecDeque::new(), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Returns the waiting jobs that fit into one statement. Returns `None` when the resolver is gone.
    ///
    /// It returns at once if no statement runs. Otherwise it returns when that statement ends or when the group is
    /// full. Databases plan each statement anew, so small groups are expensive: on MySQL a look-up takes 195 us for one
    /// request, 44 us for each of 8 and 19 us for each of 64 (docs/benchmarks.md).
    pub(super) async fn next(&mut self) -> Option<ReadyLookup> {
        let first = match self.left.pop_front() {
            Some(job) => job,
            None => self.arriving.recv().await?,
        };
        let turn = Arc::clone(&self.turn).try_acquire_owned().ok();
        let mut lookup = ReadyLookup { group: LookupGroup::new(first), turn };
        for job in std::mem::take(&mut self.left) {
            self.add(job, &mut lookup);
        }
        self.take_arrived(&mut lookup);
        if lookup.turn.is_none() {
            let _ = timeout(MAX_GATHER_TIME, self.gather(&mut lookup)).await;
        }
        Some(lookup)
    }

    /// Adds arriving jobs until the running statement ends or the group is full.
    async fn gather(&mut self, lookup: &mut ReadyLookup) {
        let turn = Arc::clone(&self.turn).acquire_owned();
        let mut turn = pin!(turn);
        while !lookup.group.is_full() {
            tokio::select! {
                biased;
                turn = &mut turn => {
                    lookup.turn = turn.ok(); // Nothing closes the semaphore.
                    return self.take_arrived(lookup);
                }
                Some(job) = self.arriving.recv() => {
                    self.add(job, lookup);
                    self.take_arrived(lookup);
                }
            }
        }
    }

    /// Adds the jobs that have arrived and fit.
    fn take_arrived(&mut self, lookup: &mut ReadyLookup) {
        while !lookup.group.is_full()
            && let Ok(job) = self.arriving.try_recv()
        {
            self.add(job, lookup);
        }
    }

    /// Adds a job, or leaves it for a later group. A job with too many identifiers also ends the group, so that no
    /// later one overtakes it. A job about another large identity does not: callers of two in turn share statements.
    fn add(&mut self, job: Job, lookup: &mut ReadyLookup) {
        if lookup.group.has_room_for(&job) {
            return lookup.group.push(job);
        }
        if lookup.group.free < job.identifiers().len() {
            lookup.group.free = 0;
        }
        self.left.push_back(job);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::domain::{ContactId, Identifier, IdentifierKind, Observation};
    use crate::resolver::admission::Permit;

    fn job(phone: usize) -> Job {
        let phone = Identifier::from_stored(IdentifierKind::Phone, phone.to_string());
        let deadline = Instant::now() + Duration::from_secs(1);
        Job::new(Observation::new([phone]).unwrap().into(), deadline.into_std(), Permit::for_test()).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_is_alone_or_full_or_has_waited() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut queue = ReadQueue::new(arriving);
        let begun = Instant::now();
        send.send(job(0)).unwrap();
        let first = queue.next().await.unwrap();
        assert_eq!((first.group.jobs.len(), begun.elapsed()), (1, Duration::ZERO), "nothing is under way");

        (1..=MAX_LOOKUP + 1).for_each(|phone| send.send(job(phone)).unwrap());
        let full = queue.next().await.unwrap();
        assert_eq!((full.group.jobs.len(), begun.elapsed()), (MAX_LOOKUP, Duration::ZERO));

        let patient = queue.next().await.unwrap();
        assert_eq!((patient.group.jobs.len(), patient.turn.is_none()), (1, true));
        assert!(begun.elapsed() >= MAX_GATHER_TIME, "the first one hangs");

        send.send(job(1)).unwrap();
        let begun = Instant::now();
        let gathered = tokio::join!(queue.next(), async {
            sleep(MAX_GATHER_TIME / 4).await;
            send.send(job(2)).unwrap();
            sleep(MAX_GATHER_TIME / 4).await;
            drop(first);
        });
        let gathered = gathered.0.unwrap();
        assert_eq!((gathered.group.jobs.len(), gathered.turn.is_some()), (2, true));
        assert!(begun.elapsed() < MAX_GATHER_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_about_a_large_identity_share_a_statement_with_each_other_only() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut queue = ReadQueue::new(arriving);
        for (phone, root) in [(1, 7), (2, 8), (3, 7), (4, 9), (5, 8), (6, 7)] {
            let mut job = job(phone);
            job.large = Some(ContactId(root));
            send.send(job).unwrap();
        }
        let mut groups = Vec::new();
        for _ in 0..3 {
            let jobs = queue.next().await.unwrap().group.jobs;
            groups.push(jobs.iter().map(|job| job.identifiers()[0].value().to_owned()).collect::<Vec<_>>());
        }
        assert_eq!(groups, [vec!["1", "3", "6"], vec!["2", "5"], vec!["4"]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_with_two_identifiers_is_not_overtaken() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut queue = ReadQueue::new(arriving);
        (1..MAX_LOOKUP).for_each(|phone| send.send(job(phone)).unwrap());
        let two = ["a", "b"].map(|value| Identifier::from_stored(IdentifierKind::Email, value));
        let deadline = (Instant::now() + Duration::from_secs(1)).into_std();
        send.send(Job::new(Observation::new(two).unwrap().into(), deadline, Permit::for_test()).0).unwrap();
        send.send(job(MAX_LOOKUP)).unwrap();
        let first = queue.next().await.unwrap();
        assert_eq!(first.group.jobs.len(), MAX_LOOKUP - 1);
        let second = queue.next().await.unwrap();
        let sizes: Vec<_> = second.group.jobs.iter().map(|job| job.identifiers().len()).collect();
        assert_eq!(sizes, [2, 1]);
    }
}
