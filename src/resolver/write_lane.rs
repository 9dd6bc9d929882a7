//! The write lanes and their lock protocol.
//!
//! A transaction, for one job or hundreds:
//!
//! 1. lock the rows of the identities concerned, in the order of their ids, as far as the read before saw them;
//! 2. read again, under the locks, those whose row was written since. An identity that is not locked (it
//!    merged, or came to be, in between) means: start over, with that one's row too;
//! 3. plan, in memory;
//! 4. write, and commit.
//!
//! What nobody owned when the read looked is not read again at first: if somebody owns it by now, its
//! primary key says so. Then, and after any other setback, everything is read again.
//!
//! Why nothing can slip through: an identity is only changed by who holds its root's lock, and every change
//! writes that row, with a later `updatedAt`. So what says the same as before is unchanged, and engines that
//! check write sets instead of locks see the conflict as well. (Who deletes a contact by SQL need not write it:
//! a deleted root counts as changed, and what a deleted secondary leaves is only taken from it with its root's lock,
//! which is a change.) An
//! identifier that nobody owned is guarded by its primary key: of two first sightings one gets a duplicate
//! key, and starts over. All take locks in one order, roots by id and then identifiers sorted, so rivals
//! wait and do not deadlock; where they do all the same, one starts over.
//!
//! On one of several primaries, which may lack what others have shown already, nobody is answered without these locks or
//! keys ([`LookupResult`](crate::store::LookupResult)): what is missing there still holds them. And there a transaction that writes must not
//! lock what it does not write ([`Transaction::must_write_what_it_locks`]): if it did, it answers who is known from what it has
//! read under its locks (ahead of the rest of a list, as a read does), and the rest starts over without those; where nobody is
//! known it writes all that it has locked.
//!
//! A read that lacks the root of an identity tells nothing of it: it is read again, with that root locked too. If the lock
//! finds it and the read does not, that starts over; if neither does, it is gone, and the oldest contact stands in.
//!
//! A row that somebody else keeps locked holds up those who need it, and nobody else: they leave the lane, and sit it out
//! beside it, still ahead of what shares something with them.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore};
use tokio::time::sleep;

use super::Reachable;
use super::backoff::{UNAVAILABLE_ATTEMPTS, pause};
use super::job::{self, Job};
use super::panic_guard::{self, caught};
use super::write_queue::{Key, KeyReservation, WriteQueue, keys};
use crate::domain::{Answer, ContactId, Identifier, Identity, Observation, Snapshot, Timestamp, plan};
use crate::store::{Cause, Store, StoreError, Transaction};

/// So often a transaction starts over before the log says so: races end much sooner.
const MANY_SETBACKS: u32 = 20;

/// How often to look whether a row that somebody had locked is free.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// So many looks later the row is waited for in the database, after all: of a row that many want, locks pass from hand to
/// hand, and it is never seen free.
const WAIT_EVERY: u32 = 10;

/// How many wait like that at once, each on a connection.
pub(super) const LOCK_WAITERS: usize = 2;

/// One of a few lanes, each with a transaction of its own: while one waits for the disk, another works.
#[derive(Clone)]
pub(super) struct WriteLane<S> {
    pub(super) store: S,
    pub(super) write_queue: Arc<Mutex<WriteQueue>>,
    pub(super) reachable: Reachable,
    pub(super) recent: RecentIdentifiers,
    /// Of [`LOCK_WAITERS`] places.
    pub(super) lock_waiters: Arc<Semaphore>,
}

/// What a transaction starts from.
struct Attempt {
    /// The rows to lock.
    roots: BTreeSet<ContactId>,
    /// Identities as they were read before. They still are what the locked rows say that nobody wrote since.
    read: Vec<Arc<Identity>>,
    /// The identifiers whose owners have to be known. Those that have none among `read` are read under the locks.
    sought: Vec<Identifier>,
    /// Whether an identifier turned out to have a row though nobody seemed to own it.
    is_after_duplicate: bool,
}

/// Why a transaction came to nothing.
enum Setback {
    /// Other identities are concerned than were locked: these.
    Moved(BTreeSet<ContactId>),
    /// It would write, and not all that it has locked, where it must.
    Mixed {
        /// For each job, the identity that it is answered with if that does not change, as it was read under the locks.
        unchanged: Vec<Option<Arc<Identity>>>,
        /// The rows to lock for the others.
        changing: BTreeSet<ContactId>,
    },
    /// The database was lost while it committed, and nobody knows whether it did. To start over would tell the
    /// callers that what they brought was there already.
    Unknown(StoreError),
    Store(StoreError),
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<S: Store> panic_guard::Worker for WriteLane<S> {
    async fn run(&mut self) {
        loop {
            let next = self.write_queue.lock().await.next().await;
            let Some((jobs, mut claim)) = next else { return };
            let held_up = self.resolve(jobs).await;
            if !held_up.is_empty() {
                let part = claim.part(&held_up);
                tokio::spawn(self.clone().sit_out(held_up, part));
            }
            drop(claim);
        }
    }
}

impl<S: Store> WriteLane<S> {
    /// Answers every job, in as many attempts as it takes, but those that are held up by a row which somebody has
    /// locked: the lane has better to do than to wait with them.
    async fn resolve(&self, mut jobs: Vec<Job>) -> Vec<Job> {
        let read: Vec<_> = jobs.iter().flat_map(|job| job.owners.iter().cloned()).collect();
        let mut attempt =
            Attempt { roots: roots(&read), read, sought: self.recent.among(&jobs), is_after_duplicate: false };
        let (mut setbacks, mut unavailable) = (0, 0);
        loop {
            jobs.retain(Job::is_wanted);
            if jobs.is_empty() {
                return jobs;
            }
            match caught(self.attempt(&jobs, &attempt)).await {
                Ok(answers) => {
                    self.reachable.found();
                    jobs.into_iter().zip(answers).for_each(|(job, answer)| job.answer(Ok(answer)));
                    return Vec::new();
                }
                // Somebody else got on, and the first time there is no need to wait.
                Err(Setback::Moved(to)) => {
                    attempt.roots = to;
                    if setbacks > 0 {
                        sleep(pause(setbacks)).await;
                    }
                }
                Err(Setback::Mixed { unchanged, changing }) => {
                    self.reachable.found();
                    jobs = jobs.into_iter().zip(unchanged).filter_map(unless_matched).collect();
                    attempt.roots = changing;
                }
                Err(Setback::Unknown(error)) => return failed(jobs, &error),
                Err(Setback::Store(StoreError::LostRace(_))) => {
                    sleep(pause(setbacks)).await;
                    if setbacks > 0 {
                        let held_up = self.held_up(&mut jobs, &attempt.roots).await;
                        if !held_up.is_empty() {
                            // Of the rest, those that turn out to be held up too have to come first.
                            let mut all = Box::pin(self.resolve(jobs)).await;
                            all.extend(held_up);
                            return all;
                        }
                    }
                }
                Err(Setback::Store(StoreError::DuplicateKey(_))) => {
                    // The first one is no race, as a rule: what was not read again has an owner by now.
                    if std::mem::replace(&mut attempt.is_after_duplicate, true) {
                        sleep(pause(setbacks)).await;
                    }
                }
                Err(Setback::Store(error @ (StoreError::Rejected(_) | StoreError::IdTaken(_)))) => {
                    return self.split(jobs, &error).await;
                }
                Err(Setback::Store(error @ (StoreError::Unavailable(_) | StoreError::TimedOut(_)))) => {
                    unavailable += 1;
                    if unavailable == UNAVAILABLE_ATTEMPTS || !self.reachable.get() {
                        self.reachable.lost(&error);
                        return failed(jobs, &error);
                    }
                    sleep(pause(setbacks)).await;
                }
            }
            setbacks += 1;
            if setbacks == MANY_SETBACKS {
                tracing::warn!(setbacks, jobs = jobs.len(), "a transaction starts over again and again");
            }
            attempt.read.clear();
            attempt.sought = job::identifiers(&jobs, |_, _| true);
        }
    }

    /// A job that the database refuses must not take its neighbours down: halves until it is alone.
    async fn split(&self, mut jobs: Vec<Job>, error: &StoreError) -> Vec<Job> {
        if jobs.len() == 1 {
            tracing::error!(error.message = %error, "a transaction was refused");
            return failed(jobs, error);
        }
        let mut second = jobs.split_off(jobs.len() / 2);
        let mut held_up = Box::pin(self.resolve(jobs)).await;
        let behind = take_behind(held_up.iter().flat_map(keys).collect(), &mut second);
        held_up.extend(Box::pin(self.resolve(second)).await);
        held_up.extend(behind);
        held_up
    }

    /// Takes out those jobs that need a row which somebody has locked, perhaps for long, and what has to come after
    /// them.
    async fn held_up(&self, jobs: &mut Vec<Job>, roots: &BTreeSet<ContactId>) -> Vec<Job> {
        // Where it cannot be told, nobody is taken out.
        let locked = self.store.locked_by_others(roots).await.unwrap_or_default();
        let is_any_locked = !locked.is_empty();
        let taken = take_behind(locked.into_iter().map(Key::Root).collect(), jobs);
        // Where it is an identity that came to be in between, nobody knows who needs it.
        if taken.is_empty() && is_any_locked { std::mem::take(jobs) } else { taken }
    }

    /// Waits with jobs that are held up, and answers each when its row is free, in a lane of their own.
    async fn sit_out(self, mut jobs: Vec<Job>, mut claim: KeyReservation) {
        for look in 1_u32.. {
            jobs.retain(Job::is_wanted);
            if jobs.is_empty() {
                return;
            }
            claim = claim.part(&jobs); // What the others were about is anybody's.
            sleep(LOOK_EVERY).await;
            let roots = jobs.iter().flat_map(|job| job.owners.iter().map(|owner| owner.root())).collect();
            let mut held_up = self.held_up(&mut jobs, &roots).await;
            let place = if look % WAIT_EVERY == 0 { self.lock_waiters.try_acquire().ok() } else { None };
            if place.is_some() {
                jobs.append(&mut held_up);
            }
            jobs = self.resolve(jobs).await;
            jobs.extend(held_up);
        }
    }

    /// Locks, and reads as much as has to be read: every identity that the transaction may be about.
    async fn known(&self, transaction: &mut S::Transaction, attempt: &Attempt) -> Result<Snapshot, Setback> {
        let mut written = BTreeMap::new();
        if !attempt.roots.is_empty() {
            written = transaction.lock_contacts(&attempt.roots).await?;
        }
        let mut identities = unchanged(&attempt.read, &written);
        let known = Snapshot::of(identities.values().cloned().collect());
        let missing: Vec<_> = attempt.sought.iter().filter(|identifier| !known.owns(identifier)).cloned().collect();
        if missing.is_empty() {
            return Ok(known);
        }
        for identity in transaction.find_identities(&missing).await? {
            identities.insert(identity.root(), Arc::new(identity));
        }
        let concerned = roots(identities.values());
        if !transaction.is_exclusive() && !concerned.is_subset(&attempt.roots) {
            return Err(Setback::Moved(concerned));
        }
        let mut missing_roots = identities.values().filter_map(|identity| identity.missing_root());
        if missing_roots.any(|root| written.contains_key(&root)) {
            return Err(StoreError::LostRace(Cause::new("a row was not read")).into());
        }
        Ok(Snapshot::of(identities.into_values().collect()))
    }

    /// One transaction, from begin to commit.
    async fn attempt(&self, jobs: &[Job], attempt: &Attempt) -> Result<Vec<Answer>, Setback> {
        let mut transaction = self.store.begin().await?;
        let known = self.known(&mut transaction, attempt).await?;
        let newest = known.identities().iter().map(|identity| identity.version()).max();
        if attempt.is_after_duplicate {
            // Perhaps nobody raced: a row may be left from a contact that somebody deleted by hand.
            let free: Vec<_> = attempt.sought.iter().filter(|identifier| !known.owns(identifier)).cloned().collect();
            let at = transaction.now().await?.after(newest);
            transaction.release_orphans(&free, at).await?;
        }
        let now = transaction.now().await?;
        let observations: Vec<Observation> = jobs.iter().map(|job| job.observation.clone()).collect();
        let mut plan = plan(&observations, &known, now);
        if !plan.is_empty() && transaction.must_write_what_it_locks() {
            let written = plan.written();
            let is_unchanged = |identity: &&Arc<Identity>| !written.contains(&identity.root());
            let unchanged = |one| known.matched(one).filter(is_unchanged).cloned();
            let unchanged: Vec<_> = observations.iter().map(unchanged).collect();
            if unchanged.iter().any(Option::is_some) {
                return Err(Setback::Mixed { unchanged, changing: &attempt.roots & &written });
            }
            // Of an identity that merged in between, say, or that an orphan was taken from.
            plan.touch_also(&attempt.roots - &written, newest);
        }
        let ids = if plan.is_empty() { Vec::new() } else { transaction.apply(&plan).await? };
        transaction.commit().await.map_err(|error| match error {
            error if error.is_unavailable() && !plan.is_empty() => Setback::Unknown(error),
            error => Setback::Store(error),
        })?;
        let answers = plan.answers(&ids);
        self.recent.push(plan.new_identifiers.into_iter().map(|(identifier, _)| identifier));
        Ok(answers)
    }
}

/// The rows to lock for these identities: also those that were not read.
fn roots<'a>(identities: impl IntoIterator<Item = &'a Arc<Identity>>) -> BTreeSet<ContactId> {
    identities.into_iter().flat_map(|identity| [Some(identity.root()), identity.missing_root()]).flatten().collect()
}

/// Answers a job that brings nothing new to this identity; without one it is still to be done.
fn unless_matched((job, identity): (Job, Option<Arc<Identity>>)) -> Option<Job> {
    let Some(identity) = identity else { return Some(job) };
    job.matched(&identity);
    None
}

/// Answers all with the error, so that none is held up.
fn failed(jobs: Vec<Job>, error: &StoreError) -> Vec<Job> {
    job::fail(jobs, error);
    Vec::new()
}

/// Takes out the jobs that share something with these keys, or with one that was taken out before.
fn take_behind(mut keys_ahead: HashSet<Key>, jobs: &mut Vec<Job>) -> Vec<Job> {
    let taken = jobs.extract_if(.., |job| {
        let is_behind = keys(job).any(|key| keys_ahead.contains(&key));
        if is_behind {
            keys_ahead.extend(keys(job));
        }
        is_behind
    });
    taken.collect()
}

/// Those identities that are as they were read, each once: their rows were last written when the read saw it.
fn unchanged(
    read: &[Arc<Identity>],
    written: &BTreeMap<ContactId, Option<Timestamp>>,
) -> BTreeMap<ContactId, Arc<Identity>> {
    let is_unchanged = |identity: &&Arc<Identity>| {
        identity.missing_root().is_none() && written.get(&identity.root()) == Some(&Some(identity.version()))
    };
    read.iter().filter(is_unchanged).map(|identity| (identity.root(), Arc::clone(identity))).collect()
}

/// The identifiers that the last batches of all lanes brought. A job that waited meanwhile was read before
/// they were there, and would run into their primary key.
#[derive(Clone, Default)]
pub(super) struct RecentIdentifiers(Arc<Lock<VecDeque<HashSet<Identifier>>>>);

impl RecentIdentifiers {
    /// How many batches a job waits at most, unless the service is overloaded.
    const BATCHES: usize = 8;

    fn push(&self, identifiers: impl Iterator<Item = Identifier>) {
        let identifiers = identifiers.collect();
        let mut batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        batches.truncate(Self::BATCHES - 1);
        batches.push_front(identifiers);
    }

    /// Those identifiers of the jobs that somebody owns, as far as it is known.
    fn among(&self, jobs: &[Job]) -> Vec<Identifier> {
        let batches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        job::identifiers(jobs, |job, identifier| {
            job.owned.contains(identifier) || batches.iter().any(|batch| batch.contains(identifier))
        })
    }
}
