//! A database in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use identity::domain::{Contact, ContactId, Identifier, Link, Timestamp};
use identity::store::{Cause, StoreError};
use tokio::time::Instant;

use crate::conditions::{Bug, Conditions, POISON, Poison};
use crate::tables::{Change, Tables};

mod behind;
mod locks;
mod reads;

use behind::{Behind, Late, locks_of};
pub(crate) use locks::{Lock, Taking};

/// The database's clock at the start, in microseconds.
const START: i64 = 1_000_000_000_000;

/// The statement that touches nothing, and so has no rival.
pub(crate) const PING: &str = "ping";

/// A database in memory, which all replicas share.
#[derive(Clone)]
pub(crate) struct Database(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransactionId(u64);

pub(crate) struct State {
    random: Rng,
    conditions: Conditions,
    bug: Option<Bug>,
    committed: Tables,
    /// By replica, what it sees of that while commits are to be shown to it.
    behind: BTreeMap<usize, Behind>,
    /// For [`Bug::StaleVersions`]: what was committed before the last commits, the oldest first.
    past: VecDeque<Tables>,
    /// How often all connections were lost.
    outages: u64,
    open: BTreeMap<TransactionId, Open>,
    holders: BTreeMap<Lock, TransactionId>,
    last_transaction: u64,
    last_id: i64,
    /// By replica, the ids it has left.
    ids: BTreeMap<usize, std::ops::Range<i64>>,
    crashed: BTreeSet<usize>,
    started: Instant,
    out_of_reach_until: Instant,
    /// How far the clock is off, in microseconds.
    skew: i64,
    faults: usize,
    /// Whether a commit has had locks on what it did not write, where that can stop a server without end.
    keeps_locks: bool,
    trace: Option<Vec<String>>,
    /// How many statements are under way, pings aside, and the most that ever were.
    under_way: usize,
    most_under_way: usize,
}

/// A transaction under way.
struct Open {
    replica: usize,
    changes: Vec<Change>,
    waits_for: Option<Lock>,
    /// The victim of a deadlock.
    is_doomed: bool,
    /// For [`Bug::StaleFind`].
    before: Option<Tables>,
}

impl Database {
    pub(crate) fn new(conditions: Conditions, bug: Option<Bug>, seed: u64, is_traced: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Rng::with_seed(seed),
            committed: Tables { ignored: conditions.ignored(), ..Tables::default() },
            conditions,
            bug,
            behind: BTreeMap::new(),
            past: VecDeque::new(),
            outages: 0,
            open: BTreeMap::new(),
            holders: BTreeMap::new(),
            last_transaction: 0,
            last_id: 0,
            ids: BTreeMap::new(),
            crashed: BTreeSet::new(),
            started: Instant::now(),
            out_of_reach_until: Instant::now(),
            skew: 0,
            faults: 0,
            keeps_locks: false,
            trace: is_traced.then(Vec::new),
            under_way: 0,
            most_under_way: 0,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// What is drawn, and what is answered.
impl State {
    pub(crate) fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// How long one way takes. Whole milliseconds: tokio's clock has no others.
    pub(crate) fn latency(&mut self) -> Duration {
        Duration::from_millis(self.random.u64(0..=self.conditions.latency))
    }

    pub(crate) fn dawdles(&mut self) -> bool {
        self.random.u32(0..4) == 0
    }

    fn has_fault(&mut self, in_a_thousand: u32) -> bool {
        let has_fault = self.random.u32(0..1_000) < in_a_thousand;
        self.faults += usize::from(has_fault);
        has_fault
    }

    /// Whether the statement gets there, and is not refused.
    pub(crate) fn arrive(&mut self, name: &str, transaction: Option<TransactionId>) -> Result<(), StoreError> {
        if Instant::now() < self.out_of_reach_until || self.has_fault(self.conditions.faults) {
            return Err(unavailable());
        }
        if name != PING && self.random.u32(0..1_000) < self.conditions.lost_races {
            return Err(StoreError::LostRace(Cause::new("drawn")));
        }
        transaction.map_or(Ok(()), |transaction| self.of(transaction).map(drop))
    }

    /// Whether the answer gets back.
    pub(crate) fn is_heard(&mut self) -> Result<(), StoreError> {
        let is_lost = self.has_fault(self.conditions.faults);
        if is_lost { Err(unavailable()) } else { Ok(()) }
    }

    /// Whether a commit takes longer than anybody waits for it.
    pub(crate) fn is_late(&mut self) -> bool {
        self.has_fault(self.conditions.faults)
    }

    /// From now on all goes well.
    pub(crate) fn clear_up(&mut self) {
        self.out_of_reach_until = Instant::now();
        self.conditions = Conditions { faults: 0, lost_races: 0, ..self.conditions.clone() };
    }

    pub(crate) fn keeps_locks(&self) -> bool {
        self.keeps_locks
    }

    /// How many faults there were that leave open whether something was committed.
    pub(crate) fn faults(&self) -> usize {
        self.faults
    }

    pub(crate) fn now(&mut self) -> Timestamp {
        if self.conditions.clock_jumps && self.random.u32(0..10) == 0 {
            self.skew = self.random.i64(-50_000..50_000);
        }
        let elapsed = self.started.elapsed().as_micros();
        let now = START + self.skew + i64::try_from(elapsed).unwrap();
        Timestamp(now / self.conditions.clock_step * self.conditions.clock_step)
    }

    pub(crate) fn new_ids(&mut self, replica: usize, count: usize) -> Vec<ContactId> {
        let left = self.ids.entry(replica).or_insert(0..0);
        let ids = (0..count).map(|_| {
            if left.is_empty() {
                *left = self.last_id + 1..self.last_id + 1 + self.conditions.id_block;
                self.last_id += self.conditions.id_block;
            }
            left.next().map(ContactId).unwrap()
        });
        ids.collect()
    }

    /// A statement is sent, unless it is a ping.
    pub(crate) fn begin_statement(&mut self, name: &str) {
        self.under_way += usize::from(name != PING);
        self.most_under_way = self.most_under_way.max(self.under_way);
    }

    /// The statement is over: it has its answer, or nobody waits for that.
    pub(crate) fn end_statement(&mut self, name: &str) {
        self.under_way -= usize::from(name != PING);
    }

    /// The most statements that were under way at once, since the last time.
    pub(crate) fn take_most_under_way(&mut self) -> usize {
        std::mem::replace(&mut self.most_under_way, self.under_way)
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>6} ms: {}", self.started.elapsed().as_millis(), line()));
        }
    }

    /// What was noted since the last time.
    pub(crate) fn restart_trace(&mut self) -> Vec<String> {
        self.trace.replace(Vec::new()).unwrap_or_default()
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }
}

/// Crashes and outages.
impl State {
    /// The transactions that are left over.
    pub(crate) fn crash(&mut self, replica: usize) -> Vec<TransactionId> {
        self.note(|| format!("replica {replica} crashes"));
        self.faults += 1;
        self.crashed.insert(replica);
        self.open.iter().filter(|(_, open)| open.replica == replica).map(|(id, _)| *id).collect()
    }

    pub(crate) fn has_crashed(&self, replica: usize) -> bool {
        self.crashed.contains(&replica)
    }

    pub(crate) fn fail_until(&mut self, end: Instant) {
        self.note(|| "the database fails".to_owned());
        self.faults += 1;
        self.outages += 1;
        self.out_of_reach_until = end;
        self.open.clear();
        self.holders.clear();
        self.behind.clear();
    }
}

/// Transactions.
impl State {
    pub(crate) fn begin(&mut self, replica: usize) -> TransactionId {
        self.last_transaction += 1;
        let id = TransactionId(self.last_transaction);
        let before = (self.bug == Some(Bug::StaleFind)).then(|| self.committed.clone());
        self.open.insert(id, Open { replica, changes: Vec::new(), waits_for: None, is_doomed: false, before });
        id
    }

    /// The transaction, unless the database has given it up.
    fn of(&mut self, transaction: TransactionId) -> Result<&mut Open, StoreError> {
        self.open.get_mut(&transaction).ok_or_else(unavailable)
    }

    /// Whether a replica's server has yet to show what was committed at another one. Who reads there waits for that,
    /// and not for what was committed at that server itself.
    pub(crate) fn lacks_what_others_did(&self, replica: usize) -> bool {
        self.behind.get(&replica).is_some_and(|behind| behind.to_be_shown.iter().any(|late| !late.is_own))
    }

    pub(crate) fn change(&mut self, transaction: TransactionId, change: Change) -> Result<(), StoreError> {
        self.of(transaction)?.changes.push(change);
        Ok(())
    }

    /// Whether the identifier has a committed row.
    pub(crate) fn has_key(&self, identifier: &Identifier) -> bool {
        let is_ignored = self.committed.ignored.contains(identifier);
        is_ignored || self.bug != Some(Bug::IgnoresKeys) && self.committed.identifiers.contains_key(identifier)
    }

    /// Whether the database refuses a statement about these.
    pub(crate) fn refuse(&self, kind: Poison, identifiers: &[Identifier]) -> Result<(), StoreError> {
        let is_refused = |one: &Identifier| one.value() == POISON.to_string();
        if self.conditions.poison == Some(kind) && identifiers.iter().any(is_refused) {
            return Err(StoreError::Rejected(Cause::new("poison")));
        }
        Ok(())
    }

    /// What is committed by now. (The service reads nothing after it has written.)
    pub(crate) fn read_in(
        &mut self,
        transaction: TransactionId,
        identifiers: &[Identifier],
    ) -> Result<Vec<Contact>, StoreError> {
        self.refuse(Poison::Read, identifiers)?;
        let open = self.of(transaction)?;
        assert!(open.changes.is_empty(), "a transaction that reads what it wrote is not simulated");
        let (replica, stale) = (open.replica, open.before.as_ref().map(|tables| tables.rows(identifiers)));
        let rows = stale.unwrap_or_else(|| self.seen_by(replica).rows(identifiers));
        Ok(self.torn(rows))
    }

    /// When these rows were last written, if they exist. `None` for a row that is linked to another one.
    pub(crate) fn written_in(
        &mut self,
        transaction: TransactionId,
        contacts: &BTreeSet<ContactId>,
    ) -> Result<BTreeMap<ContactId, Option<Timestamp>>, StoreError> {
        let open = self.of(transaction)?;
        let (replica, before) = (open.replica, open.before.clone());
        let tables = before.as_ref().unwrap_or_else(|| self.seen_by(replica));
        let version = |row: &Contact| (row.link == Link::Primary).then_some(row.updated_at);
        Ok(contacts.iter().filter_map(|id| Some((*id, version(tables.contacts.get(id)?)))).collect())
    }

    /// The committed rows that are linked to this one. (The lock of the root keeps others from adding any.)
    pub(crate) fn linked_to(&self, root: ContactId) -> Vec<ContactId> {
        let is_linked = |row: &&Contact| row.link == Link::SecondaryOf(root);
        self.committed.contacts.values().filter(is_linked).map(|row| row.id).collect()
    }

    /// Commits it; how long until it is to be ended. Another server shows it at once, or after what it needs there.
    pub(crate) fn commit(&mut self, transaction: TransactionId) -> Result<Duration, StoreError> {
        let open = self.of(transaction)?;
        let (replica, mut changes) = (open.replica, std::mem::take(&mut open.changes));
        let locks = locks_of(&changes);
        if self.conditions.shown_late > 0 && !changes.is_empty() {
            let its_own = self.holders.iter().filter(|(_, holder)| **holder == transaction);
            let kept: Vec<Lock> = its_own.map(|(lock, _)| lock).filter(|lock| !locks.contains(lock)).cloned().collect();
            if !kept.is_empty() {
                self.note(|| format!("transaction {transaction:?} keeps {kept:?}"));
                self.keeps_locks = true;
            }
        }
        match self.bug {
            Some(Bug::LosesCommits) if self.random.u32(0..20) == 0 => changes.clear(),
            Some(Bug::TearsCommits) if self.random.u32(0..20) == 0 => changes.truncate(changes.len() / 2),
            Some(Bug::VersionStays) if self.random.u32(0..4) == 0 => self.keep_versions(&mut changes),
            Some(Bug::StaleVersions) => self.keep_past(),
            _ => {}
        }
        self.note(|| format!("transaction {transaction:?} is committed"));
        let shown_late = if changes.is_empty() { 0 } else { self.conditions.shown_late };
        let late = Duration::from_millis(self.random.u64(0..=shown_late));
        if !late.is_zero() {
            let behind = || Behind { tables: self.committed.clone(), to_be_shown: Vec::new() };
            self.behind.entry(replica).or_insert_with(behind);
        }
        self.committed.carry_out(&changes);
        for (server, behind) in &mut self.behind {
            let is_own = *server == replica;
            let is_late = if is_own { !late.is_zero() } else { behind.needs_any(&locks) };
            if is_late {
                let (changes, locks) = (changes.clone(), locks.clone());
                behind.to_be_shown.push(Late { transaction, is_own, changes, locks });
            } else {
                behind.tables.carry_out(&changes);
            }
        }
        self.release(transaction);
        Ok(late)
    }

    /// What it has changed is forgotten if it is not committed, and shown to all if it is; what it had locked is free.
    pub(crate) fn end(&mut self, transaction: TransactionId) {
        let is_own = |late: &Late| late.is_own && late.transaction == transaction;
        for behind in self.behind.values_mut().filter(|behind| behind.to_be_shown.iter().any(is_own)) {
            behind.show(transaction);
        }
        self.behind.retain(|_, behind| !behind.to_be_shown.is_empty());
        self.release(transaction);
    }

    fn release(&mut self, transaction: TransactionId) {
        self.open.remove(&transaction);
        self.holders.retain(|_, holder| *holder != transaction);
    }

    pub(crate) fn tables(&self) -> Tables {
        self.committed.clone()
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable(Cause::new("drawn"))
}
