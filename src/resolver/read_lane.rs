//! The read lanes answer requests that bring nothing new.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep};

use super::admission::Admission;
use super::backoff::{MAX_UNAVAILABLE_ATTEMPTS, jittered_pause};
use super::database_health::DatabaseHealth;
use super::error::IdentifyError;
use super::job::{Job, queued, reply_error, sorted_identifiers};
use super::large_identities::{LargeIdentities, LargeRoot, is_large};
use super::panic_guard::{Worker, catch_panic};
use super::queue_delay::Queue;
use super::read_queue::{ReadQueue, ReadyLookup};
use crate::domain::{Identifier, Identity, Observation, Snapshot};
use crate::metrics::{LaneKind, RetryCause, WorkMetrics};
use crate::store::{LookupResult, Store, StoreError};

/// One of the lanes that share a read queue. It runs one look-up at a time.
pub(super) struct ReadLane<S> {
    pub(super) store: S,
    pub(super) queue: Arc<Mutex<ReadQueue>>,
    pub(super) to_write: mpsc::UnboundedSender<Job>,
    pub(super) database: DatabaseHealth,
    pub(super) admission: Admission,
    pub(super) large: LargeIdentities,
    /// Held for each look-up of a large identity: one at a time.
    pub(super) large_turn: Arc<Mutex<()>>,
    pub(super) kind: LaneKind,
    pub(super) work: WorkMetrics,
}

/// The result of a look-up for a group of jobs.
struct ReadResult {
    snapshot: Snapshot,
    /// See [`LookupResult`].
    is_latest: bool,
}

impl ReadResult {
    /// Returns the identity that answers the observation, if the answer needs no write and no further read.
    ///
    /// It skips an identity that was read without its root: such a read was seen on a MySQL cluster
    /// (docs/reliability.md).
    fn matched(&self, observation: &Observation) -> Matched<'_> {
        self.snapshot.matched(observation).filter(|identity| self.is_latest && identity.missing_root().is_none())
    }
}

/// The identity that would answer a job, if there is one.
pub(super) type Matched<'a> = Option<&'a Arc<Identity>>;

/// Returns whether all jobs are known to be about the same large identity.
fn are_about_one_large(jobs: &[Job]) -> bool {
    let first = jobs.first().and_then(|job| job.large);
    first.is_some() && jobs.iter().all(|job| job.large == first)
}

impl<S: Store> Worker for ReadLane<S> {
    async fn run(&mut self) {
        while let Some(lookup) = self.next().await {
            if lookup.group.large().is_none() {
                self.admission.record_waits(Queue::Read, queued(&lookup.group.jobs));
            }
            self.read(lookup.group.jobs, |_, _, _| true).await;
            drop(lookup.turn);
        }
    }
}

impl<S: Store> ReadLane<S> {
    async fn next(&self) -> Option<ReadyLookup> {
        self.queue.lock().await.next().await
    }

    /// Looks up all identifiers of these jobs in one statement, then answers each job or sends it to the write lanes.
    ///
    /// It answers a job if one identity owns all of its identifiers, the read has the latest state, and `may_answer`
    /// agrees. The other jobs go to the write lanes in order. When the database rejects the statement, the group is
    /// halved until the faulty job is alone, so that it does not fail its neighbours. When the statement is too slow,
    /// each job is looked up alone: halves would each be as slow. Jobs about one large identity are slow together.
    pub(super) async fn read(&self, jobs: Vec<Job>, mut may_answer: impl FnMut(&Job, &Snapshot, Matched<'_>) -> bool) {
        let mut groups = vec![jobs];
        let mut too_slow: Vec<(LargeRoot, StoreError)> = Vec::new();
        while let Some(mut jobs) = groups.pop() {
            let is_about = |root| jobs.iter().all(|job| self.large.find(job.identifiers()) == Some(root));
            if let Some((_, error)) = too_slow.iter().find(|(root, _)| is_about(*root)) {
                reply_error(jobs, error); // About an identity that was too slow a moment ago.
                continue;
            }
            match self.look_up(&mut jobs).await {
                Ok(result) => {
                    self.note_large(&jobs, &result.snapshot);
                    for job in jobs {
                        let matched = result.matched(&job.observation);
                        let may_answer = may_answer(&job, &result.snapshot, matched);
                        match matched.filter(|_| may_answer) {
                            Some(identity) => job.reply_matched(identity),
                            None => self.send_to_write(job, &result.snapshot),
                        }
                    }
                }
                Err(error) if error.is_unavailable() => reply_error(jobs, &error),
                Err(error @ (StoreError::TooSlow(_) | StoreError::CutShort(_)))
                    if jobs.len() == 1 || are_about_one_large(&jobs) =>
                {
                    tracing::warn!(error.message = %error, "a read took too long");
                    jobs.iter().for_each(|job| self.large.note_slow(job.identifiers()));
                    let root = jobs.first().and_then(|job| self.large.find(job.identifiers()));
                    reply_error(jobs, &error);
                    too_slow.extend(root.map(|root| (root, error)));
                }
                Err(StoreError::TooSlow(_) | StoreError::CutShort(_)) => {
                    self.work.count_retry(RetryCause::Split);
                    groups.extend(jobs.into_iter().rev().map(|job| vec![job]))
                }
                Err(_) if jobs.len() > 1 => {
                    self.work.count_retry(RetryCause::Split);
                    let second = jobs.split_off(jobs.len() / 2);
                    groups.extend([second, jobs]);
                }
                Err(error) => {
                    tracing::error!(error.message = %error, "a read failed");
                    reply_error(jobs, &error);
                }
            }
        }
    }

    /// Remembers which identities are large, and which of those that the jobs are about are large no more.
    fn note_large(&self, jobs: &[Job], snapshot: &Snapshot) {
        let identities = || snapshot.identities().iter().filter(|identity| is_large(identity));
        let mut forgotten: Vec<LargeRoot> = jobs.iter().filter_map(|job| job.large).collect();
        forgotten.sort_unstable();
        forgotten.dedup();
        forgotten.retain(|root| identities().all(|identity| identity.root() != *root));
        forgotten.into_iter().for_each(|root| self.large.forget(root));
        for identity in identities() {
            let is_owner = |owner: &Arc<Identity>| Arc::ptr_eq(owner, identity);
            let owns = |identifier: &&Identifier| snapshot.owner_of(identifier).is_some_and(is_owner);
            let requested: Vec<_> = jobs.iter().flat_map(Job::identifiers).filter(owns).cloned().collect();
            self.large.note(identity, &requested);
        }
    }

    /// Drops the jobs without a waiting caller and looks the others up. Repeats the statement after a lost race.
    async fn look_up(&self, jobs: &mut Vec<Job>) -> Result<ReadResult, StoreError> {
        let (mut lost_races, mut unavailable) = (0, 0);
        loop {
            jobs.retain(Job::is_wanted);
            if jobs.is_empty() {
                return Ok(ReadResult { snapshot: Snapshot::new(Vec::new()), is_latest: true });
            }
            let identifiers = sorted_identifiers(jobs, |_, _| true);
            let is_large = jobs.iter().any(|job| job.large.is_some());
            self.work.record_batch(self.kind, jobs.len());
            let _turn = if is_large { Some(self.large_turn.lock().await) } else { None };
            match catch_panic(self.store.find_identities(&identifiers)).await {
                Ok(LookupResult { identities, is_latest }) => {
                    self.database.record_reachable();
                    return Ok(ReadResult { snapshot: Snapshot::new(identities), is_latest });
                }
                Err(StoreError::LostRace(_)) => {
                    self.work.count_retry(RetryCause::LostRace);
                    sleep(jittered_pause(lost_races)).await;
                    lost_races += 1;
                }
                Err(error) if error.is_unavailable() => {
                    unavailable += 1;
                    if unavailable == MAX_UNAVAILABLE_ATTEMPTS || !self.database.is_reachable() {
                        self.database.record_unreachable(&error);
                        return Err(error);
                    }
                    self.work.count_retry(RetryCause::Unavailable);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a job to the write lanes, with the owners that the read found.
    fn send_to_write(&self, mut job: Job, snapshot: &Snapshot) {
        let identifiers = job.identifiers().iter();
        job.owned = identifiers.filter(|identifier| snapshot.owns(identifier)).cloned().collect();
        job.owners = snapshot.owners_of(&job.observation);
        job.large = job.owners.iter().filter(|owner| is_large(owner)).map(|owner| owner.root()).min();
        job.queued = Instant::now();
        if let Err(mpsc::error::SendError(job)) = self.to_write.send(job) {
            job.reply(Err(IdentifyError::Internal));
        }
    }
}
