//! `EvidenceNote`: what callers say about the sets of identifiers that were seen.
//!
//! Processes of older versions go on beside it: they do not know the table.

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
        manager.drop_table(Table::drop().table(EvidenceNote::Table).if_exists().take()).await
    }
}

/// The table.
fn table(dialect: Dialect) -> TableCreateStatement {
    let mut table = dialect.create_table(EvidenceNote::Table);
    table
        .col(ColumnDef::new(EvidenceNote::Evidence).string_len(24).not_null().primary_key())
        .col(ColumnDef::new(EvidenceNote::Source).string_len(64))
        .col(ColumnDef::new(EvidenceNote::ExternalRef).string_len(128))
        .col(dialect.moment(EvidenceNote::OccurredAt))
        .col(dialect.moment(EvidenceNote::CreatedAt).not_null());
    table
}

#[derive(DeriveIden)]
enum EvidenceNote {
    #[sea_orm(iden = "EvidenceNote")]
    Table,
    #[sea_orm(iden = "evidence")]
    Evidence,
    #[sea_orm(iden = "source")]
    Source,
    #[sea_orm(iden = "externalRef")]
    ExternalRef,
    #[sea_orm(iden = "occurredAt")]
    OccurredAt,
    #[sea_orm(iden = "createdAt")]
    CreatedAt,
}
