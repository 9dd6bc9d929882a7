//! What the resolver needs of a database. [`Database`](super::Database) implements it on real databases; the tests
//! implement it on a simulated one, and one suite checks both (`tests/shared/store_conformance.rs`).

use std::collections::{BTreeMap, BTreeSet};

use super::error::StoreError;
use crate::domain::graph::{History, HistoryContact, LinkMerge, SetName, SetNotes, StoredSet};
use crate::domain::{
    ContactId, Identifier, Identity, MAX_EVIDENCE, OwnerRow, Plan, RootRow, SetKey, Snapshot, StoredEvidence,
    StoredSets, Timestamp,
};

/// Maximum identifiers of one [`Store::find_identities`]: the longest list of keys that one statement has.
///
/// From 200 values on, MySQL estimates the cost of a list from index statistics instead of index dives
/// (`eq_range_index_dive_limit`), and the plan can turn into a full scan.
pub const MAX_LOOKUP: usize = 128;

/// What one read says about some identifiers.
#[derive(Debug, Default)]
pub struct FoundIdentities {
    /// The identities that own any of the identifiers.
    pub identities: Vec<Identity>,
    /// Those of the identifiers that are ignored: they belong to nobody.
    pub ignored: BTreeSet<Identifier>,
}

impl FoundIdentities {
    /// Returns the snapshot of what was found.
    pub fn into_snapshot(self) -> Snapshot {
        Snapshot::new(self.identities).with_ignored(self.ignored)
    }
}

/// The result of a read outside a transaction.
#[derive(Debug)]
pub struct LookupResult {
    /// What the read found.
    pub found: FoundIdentities,
    /// Whether the read saw every commit that any earlier read has seen.
    ///
    /// It is false on MySQL's Group Replication with several primaries: a commit that is not acknowledged yet can be
    /// visible on another server first. Its locks are still held on this server. So a transaction that takes the same
    /// locks ([`Transaction::lock_contacts`], or an insert of the same key) waits for that commit.
    ///
    /// It is also false on MySQL and MariaDB if nothing was found and the server was not asked: see [`IfNothing`].
    pub is_latest: bool,
}

/// What a look-up does if it finds nothing.
///
/// On MySQL and MariaDB each row says whether its server still takes writes. If there is no row, nothing says it, and
/// the customer may be new on the server that was promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfNothing {
    /// It asks the server, on the connection of the look-up. For an answer that says that there is nobody.
    CheckServer,
    /// It returns. For a look-up before a transaction, which the server refuses if it takes no writes.
    Return,
}

/// Some of all roots: those among the rows that one read looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootWindow {
    /// The roots, in the order of their ids.
    pub roots: Vec<ContactId>,
    /// The id after which the next read begins: that of the last root, or of a row after it. `None` if there are no
    /// more rows.
    pub next: Option<ContactId>,
}

/// What the caller knows of the identities that it reads. It says which statement reads them, not what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedSize {
    /// Nothing: nearly all identities have a few contacts.
    Usual,
    /// Nothing, and others wait for the same read: if one identity has hundreds of contacts, the read ends early and
    /// fails with [`StoreError::OneIsLarge`].
    NotLarge,
    /// One of them is known to have hundreds.
    Large,
}

/// Maximum contacts of an identity whose history is read, soft-deleted ones included. It bounds the memory and the time
/// of one call.
pub const MAX_HISTORY_CONTACTS: usize = 20_000;

/// Maximum stored sets of such an identity: all that it has beside its contacts, with the sets of merges.
pub const MAX_HISTORY_SETS: usize = 25_000;

/// What the tables say about the past of an identity: one consistent read.
#[derive(Debug)]
pub struct HistoryRead {
    /// The database's clock at the read.
    pub now: Timestamp,
    /// From when on every set that was seen is stored. `None` if no moment is known.
    pub complete_since: Option<Timestamp>,
    /// The rows of the identity. `None` if there is no such contact.
    pub identity: Option<HistoryRows>,
}

impl HistoryRead {
    /// Returns how many rows there are: a measure of the work with them.
    pub fn len(&self) -> usize {
        self.identity.as_ref().map_or(0, HistoryRows::len)
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The rows of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRows {
    /// The row that the contacts are linked to. It can be missing.
    pub root: ContactId,
    /// All contacts, also those that are soft-deleted, in the order of their ids.
    pub contacts: Vec<HistoryContact>,
    /// The sets that no contact carries.
    pub stored: Vec<StoredSet>,
    /// The merges that only a link of an adopted table proves.
    pub links: Vec<LinkMerge>,
}

impl HistoryRows {
    /// Returns whether it has this contact, and the contact is not deleted.
    pub fn has_live(&self, contact: ContactId) -> bool {
        self.row(contact).is_some_and(|row| row.deleted_at.is_none())
    }

    /// Returns whether it has the row of this contact.
    pub fn has_row(&self, contact: ContactId) -> bool {
        self.row(contact).is_some()
    }

    /// Returns whether a MATCHED stores no further set beside these.
    pub fn is_full(&self) -> bool {
        self.stored.len() >= MAX_EVIDENCE
    }

    /// Returns how many rows there are: a measure of the work with them.
    pub fn len(&self) -> usize {
        self.contacts.len() + self.stored.len() + self.links.len()
    }

    /// Returns whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the history that these rows tell.
    pub fn into_history(self) -> History {
        History::new(self.root, self.contacts, self.stored, self.links)
    }

    fn row(&self, contact: ContactId) -> Option<&HistoryContact> {
        let position = self.contacts.binary_search_by_key(&contact, |row| row.contact.id).ok()?;
        Some(&self.contacts[position])
    }
}

impl Default for HistoryRows {
    fn default() -> Self {
        Self { root: ContactId(0), contacts: Vec::new(), stored: Vec::new(), links: Vec::new() }
    }
}

/// Which connections a store had, by number. It rises with every connection that the store makes to a server, before
/// the first statement of that connection. It is a counter of this process: epochs of two processes say nothing about
/// each other. On SQLite it is constant: there is no other server.
///
/// A new connection can lead to another server, or to one that was started again. It may lack the last commits that
/// others showed. So what was read or written in one epoch proves nothing in a later one, and versions can come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch {
    /// Which set of connections: one with a higher number has replaced it. All stores of the process count together.
    pub generation: u64,
    /// How many connections of this set were made.
    pub connections: u64,
}

/// A place that keeps contacts, shared by all tasks.
pub trait Store: Clone + Send + Sync + 'static {
    /// A writing transaction. Dropping it rolls it back.
    type Transaction: Transaction;

    /// Returns the identities that own any of these identifiers (at most [`MAX_LOOKUP`]), and which of them are
    /// ignored.
    ///
    /// It is one consistent read. It sees every commit that was acknowledged before the call.
    fn find_identities(
        &self,
        identifiers: &[Identifier],
        size: ExpectedSize,
        if_nothing: IfNothing,
    ) -> impl Future<Output = Result<LookupResult, StoreError>> + Send;

    /// Returns the present epoch, or `None` if what one server says now is no proof: it is one of several that take
    /// writes (see [`LookupResult::is_latest`]).
    ///
    /// Two statements saw one server, and each saw all that was committed before it began, if the epoch was the same
    /// before the first and after the second.
    fn epoch(&self) -> Option<Epoch>;

    /// Returns the rows of these contacts (at most [`MAX_LOOKUP`]) that exist. It is one consistent read.
    fn root_rows(&self, roots: &[ContactId]) -> impl Future<Output = Result<Vec<RootRow>, StoreError>> + Send;

    /// Returns the rows of these identifiers (at most [`MAX_LOOKUP`]) that name a contact which exists. It is one
    /// consistent read.
    fn owner_rows(&self, identifiers: &[Identifier]) -> impl Future<Output = Result<Vec<OwnerRow>, StoreError>> + Send;

    /// Returns the identities of these roots (at most [`MAX_LOOKUP`]). It is one consistent read.
    ///
    /// For the id of a secondary it returns an identity of that contact alone, which [lacks its
    /// root](Identity::missing_root).
    fn identities_of(
        &self,
        roots: &[ContactId],
        size: ExpectedSize,
    ) -> impl Future<Output = Result<Vec<Identity>, StoreError>> + Send;

    /// Returns the next roots after this id, at most so many, in the order of their ids. It is one consistent read, and
    /// looks at a bounded number of rows: it can return fewer roots, also none, and there are more.
    ///
    /// A root is a row that is linked to no other. It can be soft-deleted, and then has perhaps no identity.
    fn roots_after(
        &self,
        after: Option<ContactId>,
        limit: usize,
    ) -> impl Future<Output = Result<RootWindow, StoreError>> + Send;

    /// Returns what the tables say about the past of the identity of a contact. It is one consistent read, and sees
    /// every commit that was acknowledged before the call, unless the server is one of several (see
    /// [`LookupResult::is_latest`]).
    ///
    /// # Errors
    /// [`StoreError::HistoryTooLarge`] if the identity has more than [`MAX_HISTORY_CONTACTS`] contacts, or more than
    /// [`MAX_HISTORY_SETS`] stored sets.
    fn history_of(&self, contact: ContactId) -> impl Future<Output = Result<HistoryRead, StoreError>> + Send;

    /// Returns those of these sets (at most [`MAX_LOOKUP`]) that have a row beside the contacts.
    fn stored_sets(&self, sets: &[SetKey]) -> impl Future<Output = Result<StoredSets, StoreError>> + Send;

    /// Returns the notes of these sets, as they are now.
    fn notes_of(&self, sets: &[SetName]) -> impl Future<Output = Result<SetNotes, StoreError>> + Send;

    /// Begins a transaction. Each of its statements sees what was committed before that statement.
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction, StoreError>> + Send;

    /// Returns those of these contacts whose rows another transaction has locked. Empty on a store that locks no
    /// single rows.
    fn locked_by_others(
        &self,
        contacts: &BTreeSet<ContactId>,
    ) -> impl Future<Output = Result<BTreeSet<ContactId>, StoreError>> + Send;

    /// Returns how many transactions are worth running at once, each on a connection of its own.
    fn writers(&self) -> usize;

    /// Fails if the store cannot be reached, takes no writes, or has no tables that the service can use.
    ///
    /// [`StoreError::LostRace`] and [`StoreError::TooSlow`] say that it answers, and that a lock hides the tables.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A writing transaction.
pub trait Transaction: Send {
    /// Returns whether no other transaction can write at the same time, so that no row needs a lock.
    fn is_exclusive(&self) -> bool;

    /// Returns whether a transaction that writes must hold no lock on a row that it does not write.
    ///
    /// This is so on MySQL's Group Replication with several primaries. After a change of the group's members, a commit
    /// waits for every transaction that the group accepted before. One of those can come from another server and wait
    /// for a row that the commit has locked but not written. The group checks written rows only, so it cannot see this
    /// conflict, and no commit ends on that server any more (MySQL 9.7.4; docs/reliability.md).
    ///
    /// It is so on Galera too, which also finds conflicts by written rows: what another server writes to a row that is
    /// only locked here would be missed.
    fn must_write_what_it_locks(&self) -> bool;

    /// Locks these rows in id order until the transaction ends. Returns `updatedAt` for each existing row, `None` if
    /// the row leads no identity (any more): it is soft-deleted, or linked to another one.
    fn lock_contacts(
        &mut self,
        contacts: &BTreeSet<ContactId>,
    ) -> impl Future<Output = Result<BTreeMap<ContactId, Option<Timestamp>>, StoreError>> + Send;

    /// Returns the identities that own any of these identifiers (any number), and which of them are ignored.
    fn find_identities(
        &mut self,
        identifiers: &[Identifier],
        size: ExpectedSize,
    ) -> impl Future<Output = Result<FoundIdentities, StoreError>> + Send;

    /// Fails if the server takes no writes any more. It is for a transaction that writes nothing and found nothing: see
    /// [`IfNothing`].
    fn check_takes_writes(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns which of these sets have a row beside the contacts. If one of them has none, or one without a contact,
    /// returns also how many sets each identity of these roots has. The roots are locked.
    fn stored_evidence(
        &mut self,
        sets: &[SetKey],
        roots: &BTreeSet<ContactId>,
    ) -> impl Future<Output = Result<StoredEvidence, StoreError>> + Send;

    /// Waits for the commits under way that bring one of these identifiers (at most [`MAX_LOOKUP`]), and keeps those
    /// that have an owner locked until the transaction ends.
    ///
    /// It does nothing where one server takes writes: there, every read sees what was acknowledged.
    fn lock_identifiers(&mut self, identifiers: &[Identifier]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Does what [`Store::identities_of`] does.
    fn identities_of(
        &mut self,
        roots: &[ContactId],
        size: ExpectedSize,
    ) -> impl Future<Output = Result<Vec<Identity>, StoreError>> + Send;

    /// Does what [`Store::owner_rows`] does.
    fn owner_rows(
        &mut self,
        identifiers: &[Identifier],
    ) -> impl Future<Output = Result<Vec<OwnerRow>, StoreError>> + Send;

    /// Does what [`Store::history_of`] does. Under the lock of the root, nobody changes the identity meanwhile.
    fn history_of(&mut self, contact: ContactId) -> impl Future<Output = Result<HistoryRead, StoreError>> + Send;

    /// Does what [`Store::roots_after`] does. Where several servers take writes, it locks these rows in id order, and
    /// waits for commits under way that concern them.
    fn roots_after(
        &mut self,
        after: Option<ContactId>,
        limit: usize,
    ) -> impl Future<Output = Result<RootWindow, StoreError>> + Send;

    /// Deletes the `Identifier` rows of these identifiers whose contact does not hold them (any more): mostly deleted
    /// contacts. The row of an ignored identifier stays. The sets with one of them that are stored beside the contacts
    /// are deleted too. This changes the identities of those contacts, so their root rows get `at` as `updatedAt`, or a
    /// later time: it is always later than what they had.
    fn release_orphans(
        &mut self,
        identifiers: &[Identifier],
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the time of the database's clock when the transaction began, or when it last locked contacts. A later
    /// look-up can return contacts that are younger.
    fn now(&self) -> Timestamp;

    /// Writes the plan. Returns the ids of its new contacts, in order.
    fn apply(&mut self, plan: &Plan) -> impl Future<Output = Result<Vec<ContactId>, StoreError>> + Send;

    /// Makes the transaction durable and visible.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
