//! `Contact.flags`: what a row is besides a contact. See `src/store/flags.rs`.
//!
//! Processes of older versions go on beside it: they insert rows without the column, so it has a default, and they read
//! other columns by name. No database rewrites the table for it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_column(TABLE, COLUMN).await? {
            return Ok(()); // A run that was ended before it was recorded.
        }
        let added = manager.alter_table(add_column()).await;
        // In a Galera cluster each server has a lock of its own: a replica at another server may have been faster.
        let is_mysql = manager.get_database_backend() == DbBackend::MySql;
        match added {
            Err(_) if is_mysql && manager.has_column(TABLE, COLUMN).await? => Ok(()),
            added => added,
        }
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_table(TABLE).await? || !manager.has_column(TABLE, COLUMN).await? {
            return Ok(());
        }
        manager.alter_table(Table::alter().table(Contact::Table).drop_column(Contact::Flags).take()).await
    }
}

/// Adds the column.
fn add_column() -> TableAlterStatement {
    let mut flags = ColumnDef::new(Contact::Flags);
    flags.small_integer().not_null().default(0);
    Table::alter().table(Contact::Table).add_column(flags).take()
}

const TABLE: &str = "Contact";
const COLUMN: &str = "flags";

#[derive(DeriveIden)]
enum Contact {
    #[sea_orm(iden = "Contact")]
    Table,
    #[sea_orm(iden = "flags")]
    Flags,
}
