//! One writing transaction and its lock protocol.
//!
//! A transaction handles one job or hundreds:
//!
//! 1. **Lock** the root rows of the identities concerned, in id order. The read before the transaction found them.
//! 2. **Read again**, under the locks, each identity whose root row was written since that read. If this finds an
//!    identity that is not locked, the transaction starts over and locks its root too.
//! 3. **Plan** in memory: [`plan`] has the rules. A plan about thousands of contacts is made by a thread of its own
//!    ([`aside`](super::aside)): see below. If the plan would store sets of identifiers for requests that match,
//!    the transaction looks up, under the locks, which of them are stored, and plans again.
//! 4. **Write** the plan and commit.
//!
//! The transaction does not read again the identifiers that had no owner at the first read, or that were ignored. If
//! one without an owner has one by now, the insert of its row fails with a duplicate key. After that, and after each
//! other failure, everything is read again.
//!
//! # Why no change can be lost
//!
//! - Only the holder of the root's lock changes an identity. Each change writes the root row, with a later `updatedAt`.
//!   So an identity with the same `updatedAt` is unchanged. Database engines that check write sets instead of locks see
//!   the conflict too.
//! - An operator who deletes a contact by SQL need not write the root row. A deleted or linked root counts as changed.
//!   The identifiers of a deleted secondary are only taken from it under its root's lock, and that is a change. A
//!   transaction that starts from a copy of before such a deletion acts as if it came before it: the copy is no older
//!   than the cache allows.
//! - A version is compared only with a row on connections that were there when it was read
//!   ([`Store::epoch`]).
//! - The primary key protects an identifier without an owner. Two transactions that bring the same new identifier
//!   cannot both commit: one gets a duplicate key and starts over.
//! - A set of identifiers beside the contacts is written, and deleted, under the lock of the root of its identity, and
//!   the root is written too.
//! - All transactions lock in the same order: roots by id, then identifiers sorted, then sets by key. So they wait
//!   instead of deadlocking. If the database reports a deadlock all the same, one transaction starts over.
//!
//! # One of several primaries (MySQL Group Replication, MariaDB Galera)
//!
//! - This server may lack a commit that another server has shown already. So nobody gets an answer there without these
//!   locks or keys ([`LookupResult`](crate::store::LookupResult)): the missing commit still holds them.
//! - A transaction that writes must not lock a row that it does not write ([`Transaction::must_write_what_it_locks`]).
//!   If it would, it answers the jobs that need no write from what it read under its locks. The other jobs start over
//!   without those locks. If all jobs need a write, it writes all locked rows.
//!
//! # Long plans
//!
//! A plan takes some microseconds for each contact of the identities that it starts from. A group from one batch can be
//! about 256 identities of 10,000 contacts. In a lane's task this would stop all other tasks of its thread. A thread
//! beside them does it without a pause: the locks of the transaction are held, and slices that yield would hold them
//! for longer. If nobody waits for the group any more when the plan is made, nothing is written, and the locks are
//! released.
//!
//! # A read without a root
//!
//! A read that lacks the root of an identity proves nothing about that identity. It is read again with the root locked.
//! If the lock finds the root but the read does not, the transaction starts over. If neither finds it, the root is gone
//! and the oldest contact stands in for it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::aside::{Aside, run_aside};
use super::job::Job;
use crate::domain::{
    Answer, ContactId, Identifier, Identity, Observation, Refusal, Snapshot, Timestamp, may_be_full, plan,
};
use crate::store::{Cause, Epoch, ExpectedSize, Store, StoreError, Transaction};

/// What a transaction starts from.
pub(super) struct TransactionInput {
    /// The root rows to lock.
    pub(super) roots: BTreeSet<ContactId>,
    /// Identities from an earlier read, or copies from the cache. They are current if their root rows were not written
    /// since.
    pub(super) read_before: Vec<Arc<Identity>>,
    /// The epoch in which they were read. In another one, they are not used: a version proves nothing then.
    pub(super) epoch: Option<Epoch>,
    /// The identifiers whose owners must be known. Those without an owner in `read_before` are read under the locks.
    pub(super) identifiers: Vec<Identifier>,
    /// The identifiers that the earlier read found to be ignored. They are not read again, unless the answer of one
    /// server is no proof, or another server may answer now.
    pub(super) ignored: BTreeSet<Identifier>,
    /// Whether an identifier turned out to have a row although no identity seemed to own it.
    pub(super) is_after_duplicate: bool,
    /// Maximum contacts of an identity.
    pub(super) max_contacts: usize,
}

/// A committed transaction.
pub(super) struct Committed {
    /// One for each job, in order.
    pub(super) answers: Vec<Result<Answer, Refusal>>,
    pub(super) new_identifiers: HashSet<Identifier>,
    /// The roots of the identities that have the maximum of sets.
    pub(super) full: BTreeSet<ContactId>,
    /// The epoch before the transaction began.
    pub(super) epoch: Option<Epoch>,
    /// From before the transaction began.
    pub(super) begun: Instant,
}

/// An identity that a job does not change, and the identifiers of the job that are ignored.
pub(super) type UnchangedIdentity = (Arc<Identity>, Vec<Identifier>);

/// Why a transaction did not commit.
pub(super) enum TransactionError {
    /// It concerns identities that it had not locked. Holds all roots to lock.
    RootsChanged(BTreeSet<ContactId>),
    /// It would write only some of the rows that it locked, on a database that requires all of them to be written.
    PartlyUnchanged {
        /// For each job that needs no write: its identity, as read under the locks.
        unchanged: Vec<Option<UnchangedIdentity>>,
        /// The roots to lock for the other jobs.
        changing: BTreeSet<ContactId>,
    },
    /// No caller waits for a job any more. Nothing was written.
    NobodyWaits,
    /// The connection broke during the commit, or the database ended it, so nobody knows whether it happened. It must
    /// not start over: callers would get MATCHED for what their own request brought.
    CommitUnknown(StoreError),
    Store(StoreError),
}

impl From<StoreError> for TransactionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Runs one transaction, from begin to commit.
pub(super) async fn run_transaction<S: Store>(
    store: &S,
    jobs: &[Job],
    input: &TransactionInput,
) -> Result<Committed, TransactionError> {
    let (begun, epoch) = (Instant::now(), store.epoch());
    let mut transaction = store.begin().await?;
    // The connection of the transaction exists by now.
    let is_same_epoch = store.epoch() == input.epoch;
    let read_before = if is_same_epoch { &input.read_before[..] } else { &[] };
    let is_proof = is_same_epoch && input.epoch.is_some();
    let ignored = if is_proof { input.ignored.clone() } else { BTreeSet::new() };
    let is_any_large = jobs.iter().any(|job| job.large.is_some());
    let size = if is_any_large { ExpectedSize::Large } else { ExpectedSize::Usual };
    let LockedIdentities { known, newest } =
        lock_and_read(&mut transaction, input, (read_before, ignored), size).await?;
    if input.is_after_duplicate {
        // Perhaps there was no race: an operator who deletes a contact by SQL leaves the rows of its identifiers.
        let is_free = |identifier: &&Identifier| !known.owns(identifier) && !known.ignores(identifier);
        let free: Vec<_> = input.identifiers.iter().filter(is_free).cloned().collect();
        let at = transaction.now().after(newest);
        transaction.release_orphans(&free, at).await?;
    }
    let (now, max_contacts, rows) = (transaction.now(), input.max_contacts, rows_of(known.identities()));
    let observations: Vec<Observation> = jobs.iter().map(|job| job.observation.clone()).collect();
    let make_plan = move |observations: Vec<Observation>, known: Snapshot| {
        run_aside(Aside::Plan, rows, move || {
            let planned = plan(&observations, &known, now, max_contacts);
            (observations, known, planned)
        })
    };
    let (observations, known, planned) = make_plan(observations, known).await?;
    let (sets, roots) = planned.evidence_to_look_up(input.is_after_duplicate);
    let (observations, known, mut plan, full) = if sets.is_empty() {
        (observations, known, planned, BTreeSet::new())
    } else {
        let is_counted = |root: &ContactId| {
            let mut identities = known.identities().iter();
            identities.any(|identity| identity.root() == *root && may_be_full(identity.contacts().len()))
        };
        let counted = roots.iter().copied().filter(is_counted).collect();
        let stored = transaction.stored_evidence(&sets, &counted).await?;
        let full = stored.full();
        let (observations, known, plan) = make_plan(observations, known.with_evidence(stored)).await?;
        (observations, known, plan, full)
    };
    if !jobs.iter().any(Job::is_wanted) {
        return Err(TransactionError::NobodyWaits);
    }
    if !plan.is_empty() && transaction.must_write_what_it_locks() {
        let written = plan.written();
        // What is refused here can be carried out later, if another job of this plan then fails. So a job after it,
        // about the same identity, is not answered before it.
        let mut refused = BTreeSet::new();
        let mut unchanged = Vec::with_capacity(observations.len());
        for (position, observation) in observations.iter().enumerate() {
            if plan.is_refused(position) {
                refused.extend(known.owners_of(observation).iter().map(|owner| owner.root()));
            }
            let may_answer = |root: ContactId| !written.contains(&root) && !refused.contains(&root);
            let matched = known.matched(observation).filter(|identity| may_answer(identity.root()));
            unchanged.push(matched.map(|identity| (Arc::clone(identity), known.ignored_of(observation))));
        }
        if unchanged.iter().any(Option::is_some) {
            return Err(TransactionError::PartlyUnchanged { unchanged, changing: &input.roots & &written });
        }
        // For example the root of an identity that merged since the read, or that lost an orphaned identifier.
        plan.touch_also(&input.roots - &written, newest);
    }
    let ids = if plan.is_empty() { Vec::new() } else { transaction.apply(&plan).await? };
    transaction.commit().await.map_err(|error| match error {
        error if !plan.is_empty() && error.leaves_commit_unknown() => TransactionError::CommitUnknown(error),
        error => TransactionError::Store(error),
    })?;
    let (answers, new_identifiers) = run_aside(Aside::Plan, rows, move || {
        let answers = plan.answers(&ids);
        drop(known);
        (answers, plan.new_identifiers.into_iter().map(|(identifier, _)| identifier).collect())
    })
    .await?;
    Ok(Committed { answers, new_identifiers, full, epoch, begun })
}

/// Returns how many contacts these identities have.
fn rows_of(identities: &[Arc<Identity>]) -> usize {
    identities.iter().map(|identity| identity.contacts().len()).sum()
}

/// Returns the snapshot of these identities.
async fn snapshot_of(
    identities: &BTreeMap<ContactId, Arc<Identity>>,
    ignored: BTreeSet<Identifier>,
) -> Result<Snapshot, StoreError> {
    let identities: Vec<Arc<Identity>> = identities.values().cloned().collect();
    let rows = rows_of(&identities);
    run_aside(Aside::Plan, rows, move || Snapshot::from_shared(identities).with_ignored(ignored)).await
}

/// What a transaction knows under its locks.
struct LockedIdentities {
    /// Every identity that it may concern.
    known: Snapshot,
    /// The latest version of these, and of all rows that it has locked.
    newest: Option<Timestamp>,
}

/// Locks the roots and returns every identity that the transaction may concern. Reads only what may have changed.
/// `read_before` and `ignored` are what an earlier read found, if it still says something.
async fn lock_and_read(
    transaction: &mut impl Transaction,
    input: &TransactionInput,
    (read_before, mut ignored): (&[Arc<Identity>], BTreeSet<Identifier>),
    size: ExpectedSize,
) -> Result<LockedIdentities, TransactionError> {
    let mut updated_at = BTreeMap::new();
    if !input.roots.is_empty() {
        updated_at = transaction.lock_contacts(&input.roots).await?;
    }
    let mut identities = unchanged(read_before, &updated_at);
    let with_newest = |known: Snapshot, updated_at: &BTreeMap<ContactId, Option<Timestamp>>| {
        let versions = known.identities().iter().map(|identity| identity.version());
        LockedIdentities { newest: versions.chain(updated_at.values().copied().flatten()).max(), known }
    };
    let known = snapshot_of(&identities, ignored.clone()).await?;
    let is_missing = |identifier: &&Identifier| !known.owns(identifier) && !known.ignores(identifier);
    let asked = input.identifiers.iter().chain(input.ignored.iter().filter(|one| !input.identifiers.contains(one)));
    let missing: Vec<_> = asked.filter(is_missing).cloned().collect();
    if missing.is_empty() {
        return Ok(with_newest(known, &updated_at));
    }
    let found = transaction.find_identities(&missing, size).await?;
    ignored.extend(found.ignored);
    for identity in found.identities {
        identities.insert(identity.root(), Arc::new(identity));
    }
    let concerned = roots_to_lock(identities.values());
    if !transaction.is_exclusive() && !concerned.is_subset(&input.roots) {
        return Err(TransactionError::RootsChanged(concerned));
    }
    let mut missing_roots = identities.values().filter_map(|identity| identity.missing_root());
    if missing_roots.any(|root| updated_at.contains_key(&root)) {
        return Err(StoreError::LostRace(Cause::new("a row was not read")).into());
    }
    let known = snapshot_of(&identities, ignored).await?;
    Ok(with_newest(known, &updated_at))
}

/// Returns the rows to lock for these identities. This includes roots that the read did not find.
pub(super) fn roots_to_lock<'a>(identities: impl IntoIterator<Item = &'a Arc<Identity>>) -> BTreeSet<ContactId> {
    identities.into_iter().flat_map(|identity| [Some(identity.root()), identity.missing_root()]).flatten().collect()
}

/// Returns the identities whose root row was not written since they were read, each once.
fn unchanged(
    read_before: &[Arc<Identity>],
    updated_at: &BTreeMap<ContactId, Option<Timestamp>>,
) -> BTreeMap<ContactId, Arc<Identity>> {
    let is_unchanged = |identity: &&Arc<Identity>| {
        identity.missing_root().is_none() && updated_at.get(&identity.root()) == Some(&Some(identity.version()))
    };
    read_before.iter().filter(is_unchanged).map(|identity| (identity.root(), Arc::clone(identity))).collect()
}
