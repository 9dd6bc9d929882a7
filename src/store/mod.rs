//! What is kept, and where: SeaORM entities, SQL and connections. No rule of the domain stands here.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `traits` | [`Store`] and [`Transaction`]: what the resolver needs of a database |
//! | `database` | [`Database`]: both traits on MySQL, MariaDB, PostgreSQL and SQLite |
//! | `lookup`, `versions`, `lock`, `write`, `rows` | the statements of the hot path and their rows |
//! | `list` | lists of all identities |
//! | `orphans` | rows of identifiers that have lost their owner |
//! | `history` | all that the tables say about the past of an identity |
//! | `sql/` | one file a database: SQL, error codes, session settings, server role, migration lock |
//! | `pool`, `pool_generation` | connections, and when they are replaced |
//! | `store_connection`, `held_connection` | what a statement or a transaction runs on |
//! | `kept_connections`, `driver_connection` | connections kept for the next one, outside of the driver's pool |
//! | `servers`, `connector`, `driver_options`, `server_role` | which server they lead to |
//! | `evidence`, `stored_sets` | sets of identifiers that no contact carries, and which of them have a row |
//! | `evidence_audit` | the repair of these rows |
//! | `notes` | what callers say about these sets |
//! | `evidence_copy` | the sets of merges of older versions |
//! | `pieces` | lists in pieces |
//! | `flags`, `flagged`, `ignored`, `holder` | identifiers that join nobody |
//! | `probe` | whether the tables can be used |
//! | `error`, `connect_error`, `classify` | errors by what can be done about them |
//! | `migrate` | creating and changing the tables while many replicas start |
//! | `catalogue` | the tables as the database describes them |
//! | `schema/` | whether the tables are this service's |
//! | `adoption/` | what `identity adopt` reads and writes |
//! | `export`, `export_records` | all tables as they were at one moment, for `identity export` |
//! | `old_table/` | the table of another system, whose contacts the service takes over |
//! | `audit`, `repair_ops` | what `identity verify` reads and repairs |
//!
//! To add a database: a file in `sql/`, a variant of `Engine`, a way to connect in `connector`, and its error type in
//! `classify`. The compiler names the places that must decide only where there is a `match` on `Engine`.

pub mod adoption;
pub mod audit;
mod catalogue;
mod classify;
mod clock;
mod complete_history;
mod connect_error;
mod connection_setup;
mod connector;
mod database;
mod driver_connection;
mod driver_options;
pub mod entity;
mod error;
mod evidence;
mod evidence_audit;
mod evidence_copy;
pub mod export;
mod export_records;
mod flagged;
pub mod flags;
mod held_connection;
mod history;
mod holder;
mod ignored;
mod kept_connections;
mod list;
mod lock;
mod lookup;
mod migrate;
mod notes;
pub mod old_table;
mod orphans;
mod pieces;
mod pool;
mod pool_generation;
mod probe;
mod repair_ops;
mod rows;
mod schema;
mod server_role;
mod servers;
mod sql;
mod statements;
mod store_connection;
mod stored_sets;
mod traits;
mod versions;
mod write;

pub use adoption::AdoptionPhase;
pub use connect_error::ConnectError;
pub use database::{Database, DatabaseTransaction};
pub use error::{Cause, Outage, StoreError};
pub use evidence_audit::{EvidenceRepair, EvidenceRow};
pub use evidence_copy::EvidenceState;
pub use flagged::{IgnoredIdentifier, Showing};
pub use ignored::{Ignored, NoLongerIgnored};
pub use migrate::{MigrateError, MigrationStatus};
pub use repair_ops::Release;
pub use schema::ForeignSchema;
pub use traits::{
    Epoch, ExpectedSize, FoundIdentities, HistoryRead, HistoryRows, IfNothing, LookupResult, MAX_HISTORY_CONTACTS,
    MAX_HISTORY_SETS, MAX_LOOKUP, RootWindow, Store, Transaction,
};
