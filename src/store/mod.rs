//! What is kept, and where: SeaORM entities and queries. No rule of the domain stands here.
//!
//! [`Store`] and [`Transaction`] are what the resolver needs of a database; [`Database`] is the one
//! over MySQL, MariaDB, PostgreSQL and SQLite. What those do differently is in `dialect`.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{ContactId, Identifier, Identity, Plan, Timestamp};

pub mod audit;
mod connect;
mod connector;
mod convert;
mod database;
mod dialect;
pub mod entity;
mod error;
mod explain;
mod find;
mod migrate;
mod pool;
mod repair_ops;
mod server_role;
mod session_sql;
mod write;

pub use connect::ConnectError;
pub use database::{Database, DatabaseTransaction};
pub use error::{Cause, StoreError};
pub use migrate::{MigrateError, MigrationStatus};

/// The most identifiers that one [`Store::find_identities`] takes: what one statement asks for at once.
///
/// From 200 values on, MySQL costs a list from index statistics instead of looking
/// (`eq_range_index_dive_limit`), and the plan can turn into a full scan.
pub const MAX_LOOKUP: usize = 128;

/// What a read outside a transaction found.
#[derive(Debug)]
pub struct LookupResult {
    /// The identities that own any of the identifiers.
    pub identities: Vec<Identity>,
    /// Whether it also has every commit that anybody has read before the call. If not, one may be missing that is not
    /// acknowledged yet: on MySQL's Group Replication with several primaries, other servers can show it before the one
    /// on which it was made. There it still has its locks, so who takes them too (by [`Transaction::lock_contacts`], or by
    /// inserting the same key) waits for it.
    pub is_latest: bool,
}

/// A place where contacts are kept, shared by all tasks.
pub trait Store: Clone + Send + Sync + 'static {
    /// A writing transaction; rolled back when dropped.
    type Transaction: Transaction;

    /// The identities that own any of these identifiers (at most [`MAX_LOOKUP`]), in one consistent read
    /// that sees every commit whose success was told before the call.
    fn find_identities(
        &self,
        identifiers: &[Identifier],
    ) -> impl Future<Output = Result<LookupResult, StoreError>> + Send;

    /// Begins a transaction in which every statement sees what was committed before that statement.
    fn begin(&self) -> impl Future<Output = Result<Self::Transaction, StoreError>> + Send;

    /// Which of these contacts' rows a transaction has locked now; none where nothing is locked but the whole.
    fn locked_by_others(
        &self,
        contacts: &BTreeSet<ContactId>,
    ) -> impl Future<Output = Result<BTreeSet<ContactId>, StoreError>> + Send;

    /// How many transactions are worth running at once, each on a connection of its own.
    fn writers(&self) -> usize;

    /// Whether the store can be reached.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A writing transaction.
pub trait Transaction: Send {
    /// Whether this transaction is alone in writing, so that nothing need be locked.
    fn is_exclusive(&self) -> bool;

    /// Whether a transaction that writes must hold no lock on a row that it does not write.
    ///
    /// So it is on MySQL's Group Replication with several primaries. A commit there waits, when the group's members have
    /// changed, for every transaction that was accepted before the change; one of those can come from another server, and
    /// wait for a row that the commit has locked. What both write, the group would not have accepted; what one has only
    /// locked, it does not know of. Then no commit ends on that server any more (MySQL 9.7.4; docs/reliability.md).
    fn must_write_what_it_locks(&self) -> bool;

    /// Locks these contacts, in the order of their ids, until the end, and tells of each that is there when it was last
    /// written (`updatedAt`), unless it was deleted.
    fn lock_contacts(
        &mut self,
        contacts: &BTreeSet<ContactId>,
    ) -> impl Future<Output = Result<BTreeMap<ContactId, Option<Timestamp>>, StoreError>> + Send;

    /// The identities that own any of these identifiers (any number).
    fn find_identities(
        &mut self,
        identifiers: &[Identifier],
    ) -> impl Future<Output = Result<Vec<Identity>, StoreError>> + Send;

    /// Takes these identifiers from contacts that do not carry them (any more): deleted ones, mostly. That
    /// changes the identities of those contacts, so the rows of their roots are written, at this moment.
    fn release_orphans(
        &mut self,
        identifiers: &[Identifier],
        at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The database's clock.
    fn now(&mut self) -> impl Future<Output = Result<Timestamp, StoreError>> + Send;

    /// Writes what the plan says; the ids of its new contacts, in order.
    fn apply(&mut self, plan: &Plan) -> impl Future<Output = Result<Vec<ContactId>, StoreError>> + Send;

    /// Makes it all durable and visible.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}
