//! The read lanes answer requests that bring nothing new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, mpsc};

use super::admission::Admission;
use super::attempts::Attempts;
use super::batch_span::begin_batch;
use super::database_health::DatabaseHealth;
use super::error::IdentifyError;
use super::graph::{GraphJob, GraphQueue, GraphRead};
use super::identity_reader::{Found, IdentityReader, Moments, ReadResult};
use super::job::{Job, queued, reply_error, sorted_identifiers};
use super::large_identities::{LargeIdentities, LargeRoot, is_large};
use super::panic_guard::{Worker, catch_panic};
use super::queue_delay::Queue;
use super::read_queue::{ReadQueue, ReadyLookup};
use super::refused_alone::RefusedAlone;
use crate::domain::{Identifier, Identity, Snapshot, preview};
use crate::metrics::{LaneKind, RetryCause, WorkMetrics};
use crate::store::{ExpectedSize, IfNothing, Store, StoreError};

/// From so many known requests on, a statement for them alone is cheaper than to read them with the others.
const WORTH_A_STATEMENT: usize = 4;

/// Maximum look-ups beside the one of their lane, over all lanes. Each is on a connection of its own.
pub(super) const MAX_SECOND_LOOKUPS: usize = 2;

/// One of the lanes that share a read queue. It runs one look-up at a time, or two: what the cache knows, and the rest.
pub(super) struct ReadLane<S> {
    pub(super) reader: IdentityReader<S>,
    pub(super) queue: Arc<Mutex<ReadQueue>>,
    pub(super) to_write: mpsc::UnboundedSender<Job>,
    /// For jobs with `validate_only` where a read proves nothing.
    pub(super) to_graph: GraphQueue,
    /// The lane that takes over single requests about a large identity. `None` in that lane, and for batches, whose
    /// order would be lost.
    pub(super) to_large: Option<mpsc::UnboundedSender<Job>>,
    pub(super) database: DatabaseHealth,
    pub(super) admission: Admission,
    pub(super) large: LargeIdentities,
    /// Held while the contacts of a large identity are read: one at a time.
    pub(super) large_turn: Arc<Mutex<()>>,
    /// Maximum contacts of an identity.
    pub(super) max_contacts: usize,
    pub(super) kind: LaneKind,
    pub(super) work: WorkMetrics,
    /// Has [`MAX_SECOND_LOOKUPS`] permits.
    pub(super) second_lookups: Arc<Semaphore>,
}

/// What becomes of a job that was looked up, by the jobs ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is answered by what was found, if that is enough.
    Answer,
    /// It goes on to a write lane, or to a read under locks.
    GoOn,
    /// It waits until the jobs ahead of it are done, and is looked up again.
    Wait,
}

/// Jobs that share a look-up.
struct LookupPart {
    jobs: Vec<Job>,
    /// Whether copies from the cache may answer. If not, one of them was changed a moment ago.
    may_validate: bool,
}

/// Returns whether all jobs are known to be about the same large identity.
fn are_about_one_large(jobs: &[Job]) -> bool {
    let first = jobs.first().and_then(|job| job.large);
    first.is_some() && jobs.iter().all(|job| job.large == first)
}

/// Replies with the answer that the job would get.
fn reply_preview(job: Job, known: &Snapshot, max_contacts: usize) {
    let answer = preview(&job.observation, known, max_contacts);
    job.reply(answer.map_err(Into::into));
}

impl<S: Store> Worker for ReadLane<S> {
    async fn run(&mut self) {
        while let Some(lookup) = self.next().await {
            if lookup.group.large().is_none() {
                self.admission.record_waits(Queue::Read, queued(&lookup.group.jobs));
            }
            // What the cache knows does not wait for what it does not know: these are requests without an order.
            let is_known = |job: &Job| self.reader.has_all(job.identifiers());
            let (known, mut others): (Vec<Job>, Vec<Job>) = lookup.group.jobs.into_iter().partition(is_known);
            if known.len() < WORTH_A_STATEMENT && !others.is_empty() {
                others.extend(known);
                self.read(others, Moments::Any, |_, _, _| Turn::Answer).await;
            } else {
                let has_both = !known.is_empty() && !others.is_empty();
                let permit = if has_both { self.second_lookups.try_acquire().ok() } else { None };
                let [known, others] = [known, others].map(|jobs| self.read(jobs, Moments::Any, |_, _, _| Turn::Answer));
                if permit.is_some() {
                    tokio::join!(known, others);
                } else {
                    known.await;
                    others.await;
                }
            }
            drop(lookup.turn);
        }
    }
}

impl<S: Store> ReadLane<S> {
    async fn next(&self) -> Option<ReadyLookup> {
        self.queue.lock().await.next().await
    }

    /// Looks up all identifiers of these jobs together, then answers each job or sends it to the write lanes.
    ///
    /// It answers every look-up. It answers another job if one identity owns all of its identifiers, if all are
    /// ignored, or if it has `validate_only`; if the read has the latest state; and if it is its `turn`. The other jobs
    /// go to the write lanes in order, but for those whose turn is to wait: they are returned, in order. With
    /// [`Moments::One`] all answers are from one moment. Otherwise a job whose copy in memory is right does not wait
    /// for one whose copy was changed.
    ///
    /// When the database rejects the statement, the group is halved until the faulty job is alone, so that it does not
    /// fail its neighbours. [`RefusedAlone`] says how far that goes.
    ///
    /// A group of single requests with one about a large identity is halved too. That job goes to the lane for large
    /// ones: its neighbours do not wait until thousands of contacts are read. When the statement is too slow, each job
    /// is looked up alone: halves would each be as slow. Jobs about one large identity are slow together.
    pub(super) async fn read(
        &self,
        jobs: Vec<Job>,
        moments: Moments,
        mut turn: impl FnMut(&Job, Found<'_>, &ReadResult) -> Turn,
    ) -> Vec<Job> {
        let mut waiting = Vec::new();
        let mut parts = if jobs.is_empty() { Vec::new() } else { vec![LookupPart { jobs, may_validate: true }] };
        let mut too_slow: Vec<(LargeRoot, StoreError)> = Vec::new();
        let (mut is_one_large, mut refused) = (false, RefusedAlone::default());
        while let Some(LookupPart { mut jobs, may_validate }) = parts.pop() {
            if is_one_large {
                jobs = self.without_large(jobs);
            }
            if let Some(error) = refused.fault() {
                reply_error(jobs, error);
                continue;
            }
            let part = |jobs| LookupPart { jobs, may_validate };
            let is_about = |root| jobs.iter().all(|job| self.large.find(job.identifiers()) == Some(root));
            if let Some((_, error)) = too_slow.iter().find(|(root, _)| is_about(*root)) {
                reply_error(jobs, error); // About an identity that was too slow a moment ago.
                continue;
            }
            match self.look_up(&mut jobs, may_validate.then_some(moments)).await {
                Ok(result) => {
                    refused.note_success();
                    let changed: Vec<Job> = jobs.extract_if(.., |job| !result.covers(&job.observation)).collect();
                    if !changed.is_empty() {
                        parts.push(LookupPart { jobs: changed, may_validate: false });
                    }
                    self.note_large(&jobs, &result.snapshot);
                    waiting.extend(self.answer(jobs, &result, moments, &mut turn).await);
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
                    parts.extend(jobs.into_iter().rev().map(|job| part(vec![job])))
                }
                Err(StoreError::OneIsLarge(root)) if jobs.len() == 1 => {
                    jobs.iter().for_each(|job| self.large.note_root(root, job.identifiers()));
                    is_one_large = true;
                    parts.push(part(jobs));
                }
                Err(_) if jobs.len() > 1 => {
                    self.work.count_retry(RetryCause::Split);
                    let second = jobs.split_off(jobs.len() / 2);
                    parts.extend([second, jobs].map(part));
                }
                Err(error) => {
                    if matches!(error, StoreError::Faulty(_)) {
                        self.database.record_fault(&error);
                    } else {
                        tracing::error!(error.message = %error, "a read failed");
                    }
                    reply_error(jobs, &error);
                    refused.note(error);
                }
            }
        }
        waiting
    }

    /// Answers each job by what was read, or sends it to the write lanes. Returns those that wait.
    ///
    /// A job whose set of identifiers no contact carries is answered if the set is stored, which may take a further
    /// look-up. With [`Moments::Any`] the other jobs do not wait for that.
    async fn answer(
        &self,
        jobs: Vec<Job>,
        result: &ReadResult,
        moments: Moments,
        turn: &mut impl FnMut(&Job, Found<'_>, &ReadResult) -> Turn,
    ) -> Vec<Job> {
        let (mut behind, mut sets, mut waiting) = (Vec::new(), BTreeMap::new(), Vec::new());
        for job in jobs {
            if job.is_look_up() {
                let owner = result.owner(&job.observation);
                job.reply_owner(owner);
                continue;
            }
            let found = result.found_for(&job);
            let set = match found {
                Found::Matched(identity) => {
                    let set = self.reader.set_to_look_up(result, &job.observation, identity);
                    sets.extend(set.map(|set| (set, Arc::clone(identity))));
                    set
                }
                Found::OnlyIgnored | Found::Owners | Found::Nothing => None,
            };
            if set.is_none() && moments == Moments::Any {
                waiting.extend(self.answer_one(job, found, result, turn));
            } else {
                behind.push((job, found, set));
            }
        }
        let stored = if sets.is_empty() { BTreeSet::new() } else { self.reader.stored_sets(result, &sets).await };
        for (job, found, set) in behind {
            let has_new_set = set.is_some_and(|set| !stored.contains(&set));
            waiting.extend(self.answer_one(job, if has_new_set { Found::Nothing } else { found }, result, turn));
        }
        waiting
    }

    /// Returns the job if it waits.
    fn answer_one(
        &self,
        job: Job,
        found: Found<'_>,
        result: &ReadResult,
        turn: &mut impl FnMut(&Job, Found<'_>, &ReadResult) -> Turn,
    ) -> Option<Job> {
        match (turn(&job, found, result), found) {
            (Turn::Wait, _) => return Some(job),
            (Turn::Answer, Found::Matched(identity)) => {
                let ignored = result.snapshot.ignored_of(&job.observation);
                job.reply_matched(identity, ignored);
            }
            (Turn::Answer, Found::OnlyIgnored) => job.reply(Err(IdentifyError::OnlyIgnored)),
            (Turn::Answer, Found::Owners) => reply_preview(job, &result.snapshot, self.max_contacts),
            (Turn::Answer, Found::Nothing) | (Turn::GoOn, _) if job.validate_only => self.read_locked(job),
            (Turn::Answer, Found::Nothing) | (Turn::GoOn, _) => self.send_to_write(job, result),
        }
        None
    }

    /// Reads under locks who owns the identifiers of a job with `validate_only`, and replies.
    fn read_locked(&self, job: Job) {
        let (read, known) = GraphJob::new(job.identifiers().to_vec(), job.deadline, None, job.trace.clone());
        if self.to_graph.send(GraphRead::Known(read)).is_err() {
            return job.reply(Err(IdentifyError::Internal));
        }
        let max_contacts = self.max_contacts;
        tokio::spawn(async move {
            match known.await {
                Ok(Ok(known)) => reply_preview(job, &known, max_contacts),
                Ok(Err(error)) => job.reply(Err(error)),
                Err(_) => {} // The lane panicked, or the deadline has passed.
            }
        });
    }

    /// Sends the jobs that are known to be about a large identity to its lane, and returns the others.
    fn without_large(&self, mut jobs: Vec<Job>) -> Vec<Job> {
        let Some(to_large) = &self.to_large else { return jobs };
        jobs.iter_mut().for_each(|job| job.large = self.large.find(job.identifiers()));
        for job in jobs.extract_if(.., |job| job.large.is_some()) {
            if let Err(mpsc::error::SendError(job)) = to_large.send(job) {
                job.reply(Err(IdentifyError::Internal));
            }
        }
        jobs
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
    /// `moments` is for the copies in the cache, and `None` if they may not answer.
    async fn look_up(&self, jobs: &mut Vec<Job>, moments: Option<Moments>) -> Result<ReadResult, StoreError> {
        let mut attempts = Attempts::default();
        loop {
            jobs.retain(Job::is_wanted);
            if jobs.is_empty() {
                return Ok(ReadResult::empty());
            }
            let identifiers = sorted_identifiers(jobs, |_, _| true);
            let is_large = jobs.iter().any(|job| job.large.is_some());
            self.work.record_batch(self.kind, jobs.len());
            let size = match &self.to_large {
                _ if is_large => ExpectedSize::Large,
                Some(_) => ExpectedSize::NotLarge,
                None => ExpectedSize::Usual,
            };
            // Any other job goes on to a transaction that writes.
            let is_read_only = |job: &Job| job.validate_only || job.is_look_up();
            let if_nothing = if jobs.iter().any(is_read_only) { IfNothing::CheckServer } else { IfNothing::Return };
            let span = begin_batch(self.kind, jobs);
            let read = span.scope(self.read_identities(&identifiers, size, if_nothing, moments)).await;
            span.end(read.as_ref().err().map(StoreError::kind));
            match read {
                Ok(result) => {
                    self.database.record_reachable();
                    return Ok(result);
                }
                Err(error) => attempts.next(error, &self.database, &self.work).await?,
            }
        }
    }

    async fn read_identities(
        &self,
        identifiers: &[Identifier],
        size: ExpectedSize,
        if_nothing: IfNothing,
        moments: Option<Moments>,
    ) -> Result<ReadResult, StoreError> {
        if let Some(moments) = moments
            && let Some(result) = catch_panic(self.reader.validate(identifiers, moments)).await?
        {
            return Ok(result);
        }
        let _turn = if size == ExpectedSize::Large { Some(self.large_turn.lock().await) } else { None };
        catch_panic(self.reader.read(identifiers, size, if_nothing)).await
    }

    /// Sends a job to the write lanes, with the owners that the read found.
    fn send_to_write(&self, mut job: Job, read: &ReadResult) {
        let snapshot = &read.snapshot;
        let identifiers = job.identifiers().iter();
        job.owned = identifiers.filter(|identifier| snapshot.owns(identifier)).cloned().collect();
        job.owners = snapshot.owners_of(&job.observation);
        job.ignored = snapshot.ignored_of(&job.observation);
        job.large = job.owners.iter().filter(|owner| is_large(owner)).map(|owner| owner.root()).min();
        job.epoch = read.epoch;
        job.read_at = job.owners.iter().map(|owner| read.time_of(owner)).min();
        job.set_queued();
        if let Err(mpsc::error::SendError(job)) = self.to_write.send(job) {
            job.reply(Err(IdentifyError::Internal));
        }
    }
}
