//! The tables of the identity service, on MySQL, MariaDB, PostgreSQL and SQLite.
//!
//! One table, column or index a migration: MySQL and MariaDB cannot roll DDL back, so each step must be one that can
//! be found half done (the table, column or index there, the step not recorded) and be run again. Whether a table that
//! is there already is this service's is checked before, in `src/store/schema/`, which describes each
//! table once more.

use sea_orm_migration::prelude::*;
pub use sea_orm_migration::prelude::{MigratorTrait, SchemaManager};

mod dialect;
mod m20261121_000001_contact;
mod m20261121_000002_identifier;
mod m20261121_000003_contact_merge;
mod m20261127_000004_contact_flags;
mod m20261127_000010_adopted_contact;
mod m20261127_000011_adoption;
mod m20261127_000030_evidence;
mod m20261127_000031_merge_index;
mod m20261127_000032_evidence_state;
mod m20261127_000033_evidence_note;

/// All migrations, the oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_contact::Migration),
            Box::new(m20261121_000002_identifier::Migration),
            Box::new(m20261121_000003_contact_merge::Migration),
            Box::new(m20261127_000004_contact_flags::Migration),
            Box::new(m20261127_000010_adopted_contact::Migration),
            Box::new(m20261127_000011_adoption::Migration),
            Box::new(m20261127_000030_evidence::Migration),
            Box::new(m20261127_000031_merge_index::Migration),
            Box::new(m20261127_000032_evidence_state::Migration),
            Box::new(m20261127_000033_evidence_note::Migration),
        ]
    }
}
