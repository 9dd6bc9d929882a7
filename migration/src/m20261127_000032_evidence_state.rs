//! `EvidenceState`: from when on all evidence is stored, and which merges of older versions were copied. One row.

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
        manager.drop_table(Table::drop().table(EvidenceState::Table).if_exists().take()).await
    }
}

/// The table.
fn table(dialect: Dialect) -> TableCreateStatement {
    let mut table = dialect.create_table(EvidenceState::Table);
    table
        .col(ColumnDef::new(EvidenceState::Id).big_integer().not_null().primary_key())
        .col(ColumnDef::new(EvidenceState::CopiedMergeId).big_integer().not_null())
        .col(dialect.moment(EvidenceState::CompleteSince));
    table
}

#[derive(DeriveIden)]
enum EvidenceState {
    #[sea_orm(iden = "EvidenceState")]
    Table,
    #[sea_orm(iden = "id")]
    Id,
    #[sea_orm(iden = "copiedMergeId")]
    CopiedMergeId,
    #[sea_orm(iden = "completeSince")]
    CompleteSince,
}
