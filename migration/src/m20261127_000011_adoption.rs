//! `Adoption`: one row while the table of another system is taken over, and afterwards.

use sea_orm_migration::prelude::*;

use crate::dialect::Dialect;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(table(Dialect::of(manager)?)).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Adoption::Table).if_exists().take()).await
    }
}

/// The table.
fn table(dialect: Dialect) -> TableCreateStatement {
    let mut table = dialect.create_table(Adoption::Table);
    table
        .col(ColumnDef::new(Adoption::Id).big_integer().not_null().primary_key())
        .col(ColumnDef::new(Adoption::Options).json().not_null())
        .col(ColumnDef::new(Adoption::Phase).string_len(32).not_null())
        .col(ColumnDef::new(Adoption::Progress).big_integer().not_null())
        .col(ColumnDef::new(Adoption::Contacts).big_integer().not_null())
        .col(ColumnDef::new(Adoption::LastContactId).big_integer().not_null())
        .col(ColumnDef::new(Adoption::LastMergeId).big_integer().not_null())
        .col(ColumnDef::new(Adoption::Content).string_len(64).not_null())
        .col(ColumnDef::new(Adoption::Run).string_len(32).not_null())
        .col(dialect.moment(Adoption::StartedAt).not_null());
    table
}

#[derive(DeriveIden)]
enum Adoption {
    #[sea_orm(iden = "Adoption")]
    Table,
    #[sea_orm(iden = "id")]
    Id,
    #[sea_orm(iden = "options")]
    Options,
    #[sea_orm(iden = "phase")]
    Phase,
    #[sea_orm(iden = "progress")]
    Progress,
    #[sea_orm(iden = "contacts")]
    Contacts,
    #[sea_orm(iden = "lastContactId")]
    LastContactId,
    #[sea_orm(iden = "lastMergeId")]
    LastMergeId,
    #[sea_orm(iden = "content")]
    Content,
    #[sea_orm(iden = "run")]
    Run,
    #[sea_orm(iden = "startedAt")]
    StartedAt,
}
