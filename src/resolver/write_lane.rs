//! The write lanes: each runs transactions, one after another, and retries them.
//!
//! [`write_transaction`](super::write_transaction) has one transaction and the lock protocol. This file decides what
//! happens after a transaction that did not commit: start over, split the group, reply with an error, or wait for a
//! lock.
//!
//! A batch may have jobs about a large identity beside others. If their transaction is too slow, the large identity is
//! why: its jobs fail, and the others start over without them.
//!
//! A row that somebody else keeps locked delays only the jobs that need it. Those jobs leave the lane and wait beside
//! it. They keep their reservation, so no later job overtakes them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep};

use super::admission::Admission;
use super::backoff::{MAX_UNAVAILABLE_ATTEMPTS, jittered_pause};
use super::batch_span::{begin_batch, reason};
use super::cache::IdentityCache;
use super::database_health::DatabaseHealth;
use super::job::{Job, queued, reply_error, sorted_identifiers};
use super::key_reservation::{Key, KeyReservation, keys_of};
use super::large_identities::LargeRoot;
use super::panic_guard::{Worker, catch_panic};
use super::queue_delay::Queue;
use super::recent_identifiers::RecentIdentifiers;
use super::refused_alone::RefusedAlone;
use super::write_queue::WriteQueue;
use super::write_transaction::{
    Committed, TransactionError, TransactionInput, UnchangedIdentity, roots_to_lock, run_transaction,
};
use super::written_copies::keep_copies;
use crate::domain::ContactId;
use crate::metrics::{LaneKind, RetryCause, TransactionEnd, WorkMetrics};
use crate::store::{Store, StoreError};

/// How often a transaction starts over before the log says so. Races end much sooner.
const FAILURES_BEFORE_WARNING: u32 = 20;

/// How often the lane checks whether a locked row is free.
const LOCK_CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// After so many checks, the lane waits for the lock in the database. A row that many transactions want is never seen
/// free: its lock passes from one to the next.
const CHECKS_BEFORE_LOCK_WAIT: u32 = 10;

/// Maximum transactions that wait for a lock in the database like that. Each holds a connection.
pub(super) const MAX_LOCK_WAITS: usize = 2;

/// One of a few lanes, each with its own transaction. While one waits for the disk, another works.
#[derive(Clone)]
pub(super) struct WriteLane<S> {
    pub(super) store: S,
    pub(super) queue: Arc<Mutex<WriteQueue>>,
    pub(super) database: DatabaseHealth,
    pub(super) admission: Admission,
    pub(super) recent: RecentIdentifiers,
    pub(super) cache: IdentityCache,
    /// Has [`MAX_LOCK_WAITS`] permits.
    pub(super) lock_waits: Arc<Semaphore>,
    /// Maximum contacts of an identity.
    pub(super) max_contacts: usize,
    pub(super) work: WorkMetrics,
}

impl<S: Store> Worker for WriteLane<S> {
    async fn run(&mut self) {
        loop {
            let next = self.queue.lock().await.next().await;
            let Some((jobs, mut reservation)) = next else { return };
            if !reservation.is_large() {
                self.admission.record_waits(Queue::Write, queued(&jobs));
            }
            let blocked = self.group().resolve(jobs).await;
            if !blocked.is_empty() {
                let of_blocked = reservation.split_off(&blocked);
                tokio::spawn(self.clone().resolve_when_unlocked(blocked, of_blocked));
            }
            drop(reservation);
        }
    }
}

/// What is known of a group of jobs while its parts are resolved.
struct Group<'a, S> {
    lane: &'a WriteLane<S>,
    /// The large identities whose transactions were too slow, and how.
    too_slow: HashMap<LargeRoot, StoreError>,
    refused: RefusedAlone,
}

/// What is to be done with jobs of a group.
enum Step {
    /// Resolve them together.
    Resolve(Vec<Job>),
    /// A locked row blocks them, or a job that comes before them.
    Block(Vec<Job>),
}

impl<S: Store> Group<'_, S> {
    /// Replies to every job, with as many transactions as it takes. Returns the jobs that a locked row blocks: the lane
    /// does not wait with them.
    async fn resolve(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        // A list and not a recursion: a group can fall apart into single jobs, and a stack has an end.
        let (mut steps, mut blocked) = (vec![Step::Resolve(jobs)], Vec::new());
        while let Some(step) = steps.pop() {
            match step {
                Step::Block(jobs) => blocked.extend(jobs),
                Step::Resolve(mut jobs) => {
                    let behind = take_behind(blocked.iter().flat_map(keys_of).collect(), &mut jobs);
                    steps.push(Step::Block(behind));
                    steps.extend(self.resolve_together(jobs).await.into_iter().rev());
                }
            }
        }
        blocked
    }

    /// Replies to the jobs, with transactions for all of them. Returns what is left to do if that does not work, in
    /// order.
    async fn resolve_together(&mut self, mut jobs: Vec<Job>) -> Vec<Step> {
        let lane = self.lane;
        if let Some(error) = self.refused.fault() {
            return fail(jobs, error);
        }
        if self.refused.are_many() && jobs.len() > 1 {
            let rest = jobs.split_off(1);
            return vec![Step::Resolve(jobs), Step::Resolve(rest)];
        }
        if let Some(error) = self.slow_before(&jobs) {
            return fail(jobs, error);
        }
        let epoch = lane.store.epoch();
        let mut read_at = oldest_reads(&jobs);
        // What another server said to be ignored is no proof here.
        jobs.iter_mut().filter(|job| job.epoch != epoch).for_each(Job::forget_ignored);
        let of_epoch = jobs.iter().filter(|job| job.epoch == epoch);
        let mut input = TransactionInput {
            roots: roots_to_lock(jobs.iter().flat_map(|job| &job.owners)),
            read_before: of_epoch.flat_map(|job| job.owners.iter().cloned()).collect(),
            epoch,
            identifiers: lane.recent.owned_identifiers(&jobs),
            ignored: jobs.iter().flat_map(|job| job.ignored.iter().cloned()).collect(),
            is_after_duplicate: false,
            max_contacts: lane.max_contacts,
        };
        let (mut failures, mut unavailable, mut is_schema_read) = (0, 0, false);
        loop {
            jobs.retain(Job::is_wanted);
            if jobs.is_empty() {
                return Vec::new();
            }
            lane.work.record_batch(LaneKind::Write, jobs.len());
            let span = begin_batch(LaneKind::Write, &mut jobs);
            let transaction = span.scope(catch_panic(run_transaction(&lane.store, &jobs, &input))).await;
            span.end(reason(&transaction));
            if transaction.is_err() {
                jobs.iter_mut().for_each(Job::forget_ignored);
            }
            match transaction {
                Ok(committed) => {
                    self.refused.note_success();
                    lane.work.count_transaction(TransactionEnd::Committed);
                    lane.database.record_reachable();
                    keep_copies(&lane.cache, &jobs, &committed, &read_at).await;
                    let Committed { answers, new_identifiers, .. } = committed;
                    lane.recent.push(new_identifiers);
                    let answers = answers.into_iter().map(|answer| answer.map_err(Into::into));
                    jobs.into_iter().zip(answers).for_each(|(job, answer)| job.reply(answer));
                    return Vec::new();
                }
                // Another transaction made progress, so the first time needs no pause.
                Err(TransactionError::RootsChanged(roots)) => {
                    self.count_retry(RetryCause::RootsChanged);
                    input.roots = roots;
                    if failures > 0 {
                        sleep(jittered_pause(failures)).await;
                    }
                }
                Err(TransactionError::PartlyUnchanged { unchanged, changing }) => {
                    self.count_retry(RetryCause::PartlyUnchanged);
                    lane.database.record_reachable();
                    jobs = jobs.into_iter().zip(unchanged).filter_map(reply_if_matched).collect();
                    input.roots = changing;
                }
                Err(TransactionError::NobodyWaits) => lane.work.count_transaction(TransactionEnd::RolledBack),
                Err(TransactionError::CommitUnknown(error)) => {
                    self.lane.work.count_transaction(TransactionEnd::Unknown);
                    return fail(jobs, &error);
                }
                Err(TransactionError::Store(StoreError::LostRace(_))) => {
                    self.count_retry(RetryCause::LostRace);
                    sleep(jittered_pause(failures)).await;
                    if failures > 0 {
                        let blocked = lane.take_blocked(&mut jobs, &input.roots).await;
                        if !blocked.is_empty() {
                            // Jobs of the rest that turn out to be blocked come first, in case they share a key.
                            return vec![Step::Resolve(jobs), Step::Block(blocked)];
                        }
                    }
                }
                Err(TransactionError::Store(StoreError::DuplicateKey(_))) => {
                    self.count_retry(RetryCause::DuplicateKey);
                    // The first one is usually not a race: an identifier that was not read again has an owner by now.
                    if std::mem::replace(&mut input.is_after_duplicate, true) {
                        sleep(jittered_pause(failures)).await;
                    }
                }
                // The next attempt begins with a read, and so knows the tables as they are.
                Err(TransactionError::Store(error)) if error.may_be_outdated() && !is_schema_read => {
                    is_schema_read = true;
                    self.count_retry(RetryCause::LostRace);
                }
                Err(TransactionError::Store(
                    error @ (StoreError::Faulty(_)
                    | StoreError::Rejected(_)
                    | StoreError::IdTaken(_)
                    | StoreError::OneIsLarge(_)
                    | StoreError::HistoryTooLarge),
                )) => {
                    return self.halves(jobs, error);
                }
                Err(TransactionError::Store(error @ (StoreError::TooSlow(_) | StoreError::CutShort(_)))) => {
                    return self.without_slow(jobs, error);
                }
                Err(TransactionError::Store(error @ (StoreError::Unavailable(_) | StoreError::TimedOut(_)))) => {
                    unavailable += 1;
                    if unavailable == MAX_UNAVAILABLE_ATTEMPTS || !lane.database.is_reachable() {
                        lane.database.record_unreachable(&error);
                        lane.work.count_transaction(TransactionEnd::Failed);
                        return fail(jobs, &error);
                    }
                    self.count_retry(RetryCause::Unavailable);
                    sleep(jittered_pause(failures)).await;
                }
            }
            failures += 1;
            if failures == FAILURES_BEFORE_WARNING {
                tracing::warn!(failures, jobs = jobs.len(), "a transaction starts over again and again");
            }
            input.read_before.clear();
            input.ignored.clear();
            read_at.clear();
            input.identifiers = sorted_identifiers(&jobs, |_, _| true);
        }
    }

    /// A transaction was rolled back, and its jobs start over.
    fn count_retry(&self, cause: RetryCause) {
        self.lane.work.count_transaction(TransactionEnd::RolledBack);
        self.lane.work.count_retry(cause);
    }

    /// Returns the halves, until the job that the database rejects is alone, and fails. So it does not fail its
    /// neighbours. [`RefusedAlone`] says how far that goes.
    fn halves(&mut self, mut jobs: Vec<Job>, error: StoreError) -> Vec<Step> {
        if jobs.len() == 1 {
            if matches!(error, StoreError::Faulty(_)) {
                self.lane.database.record_fault(&error);
            } else {
                tracing::error!(error.message = %error, "the database rejected a transaction");
            }
            self.lane.work.count_transaction(TransactionEnd::Failed);
            reply_error(jobs, &error);
            self.refused.note(error);
            return Vec::new();
        }
        self.count_retry(RetryCause::Split);
        let second = jobs.split_off(jobs.len() / 2);
        vec![Step::Resolve(jobs), Step::Resolve(second)]
    }

    /// Fails the jobs that made a transaction too slow, and returns the others.
    ///
    /// The jobs about one large identity are slow together, and had their time: they fail. Of several large
    /// identities, any can be the slow one, so each is resolved by itself. Without a large one, so is each job: halves
    /// would each be as slow.
    fn without_slow(&mut self, mut jobs: Vec<Job>, error: StoreError) -> Vec<Step> {
        let large: BTreeSet<LargeRoot> = jobs.iter().filter_map(|job| job.large).collect();
        if large.len() > 1 || (large.is_empty() && jobs.len() > 1) {
            self.count_retry(RetryCause::Split);
            return parts(jobs);
        }
        self.lane.work.count_transaction(TransactionEnd::Failed);
        tracing::warn!(error.message = %error, "a transaction took too long");
        let slow = jobs.extract_if(.., |job| job.large == large.first().copied()).collect();
        reply_error(slow, &error);
        self.too_slow.extend(large.into_iter().next().map(|root| (root, error)));
        vec![Step::Resolve(jobs)]
    }

    /// Returns how the transaction was too slow that was about the same large identity as all of these jobs.
    fn slow_before(&self, jobs: &[Job]) -> Option<&StoreError> {
        let large = jobs.first()?.large?;
        self.too_slow.get(&large).filter(|_| jobs.iter().all(|job| job.large == Some(large)))
    }
}

/// Returns the jobs in parts, in order: neighbours about the same large identity together, and any other job by itself
/// unless there is a large one among the jobs.
fn parts(jobs: Vec<Job>) -> Vec<Step> {
    let is_any_large = jobs.iter().any(|job| job.large.is_some());
    let (mut parts, mut rest) = (Vec::new(), jobs.into_iter().peekable());
    while let Some(first) = rest.next() {
        let large = first.large;
        let mut part = vec![first];
        while let Some(job) = rest.next_if(|job| is_any_large && job.large == large) {
            part.push(job);
        }
        parts.push(Step::Resolve(part));
    }
    parts
}

impl<S: Store> WriteLane<S> {
    /// Begins a group of jobs.
    fn group(&self) -> Group<'_, S> {
        Group { lane: self, too_slow: HashMap::new(), refused: RefusedAlone::default() }
    }

    /// Takes out the jobs that need a row which somebody has locked, and the jobs that must come after those.
    async fn take_blocked(&self, jobs: &mut Vec<Job>, roots: &BTreeSet<ContactId>) -> Vec<Job> {
        // If the database cannot say, no job counts as blocked.
        let locked = self.store.locked_by_others(roots).await.unwrap_or_default();
        let is_any_locked = !locked.is_empty();
        let blocked = take_behind(locked.into_iter().map(Key::Root).collect(), jobs);
        // The locked identity may be newer than the read of the jobs. Then it is unknown which jobs need it.
        if blocked.is_empty() && is_any_locked { std::mem::take(jobs) } else { blocked }
    }

    /// Waits beside the lane with blocked jobs, and resolves each when its row is free.
    async fn resolve_when_unlocked(self, mut jobs: Vec<Job>, mut reservation: KeyReservation) {
        for check in 1_u32.. {
            jobs.retain(Job::is_wanted);
            if jobs.is_empty() {
                return;
            }
            reservation = reservation.split_off(&jobs); // Releases the keys of the jobs that are done.
            sleep(LOCK_CHECK_INTERVAL).await;
            let roots = jobs.iter().flat_map(|job| job.owners.iter().map(|owner| owner.root())).collect();
            let mut blocked = self.take_blocked(&mut jobs, &roots).await;
            let may_wait = check % CHECKS_BEFORE_LOCK_WAIT == 0;
            let permit = if may_wait { self.lock_waits.try_acquire().ok() } else { None };
            if permit.is_some() {
                jobs.append(&mut blocked);
            }
            jobs = self.group().resolve(jobs).await;
            jobs.extend(blocked);
        }
    }
}

/// Returns when the identities that the jobs start from were read, by root: the earliest time of each.
fn oldest_reads(jobs: &[Job]) -> HashMap<ContactId, Instant> {
    let mut oldest: HashMap<ContactId, Instant> = HashMap::new();
    for job in jobs {
        let Some(time) = job.read_at else { continue };
        for owner in &job.owners {
            oldest.entry(owner.root()).and_modify(|known| *known = time.min(*known)).or_insert(time);
        }
    }
    oldest
}

/// Replies to a job that brings nothing new to this identity. Without an identity, returns the job.
fn reply_if_matched((job, matched): (Job, Option<UnchangedIdentity>)) -> Option<Job> {
    let Some((identity, ignored)) = matched else { return Some(job) };
    job.reply_matched(&identity, ignored);
    None
}

/// Sends the error to all jobs. Then nothing is left to do.
fn fail(jobs: Vec<Job>, error: &StoreError) -> Vec<Step> {
    reply_error(jobs, error);
    Vec::new()
}

/// Takes out the jobs that share a key with these keys, or with a job that was taken out before them.
fn take_behind(mut keys_ahead: HashSet<Key>, jobs: &mut Vec<Job>) -> Vec<Job> {
    let taken = jobs.extract_if(.., |job| {
        let is_behind = keys_of(job).any(|key| keys_ahead.contains(&key));
        if is_behind {
            keys_ahead.extend(keys_of(job));
        }
        is_behind
    });
    taken.collect()
}
