//! `ContactMerge`: which identities were merged, when and why. No contact tells: a merge inserts none.

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
        manager.drop_table(Table::drop().table(ContactMerge::Table).if_exists().take()).await
    }
}

/// The table.
fn table(dialect: Dialect) -> TableCreateStatement {
    let mut table = dialect.create_table(ContactMerge::Table);
    table
        .col(ColumnDef::new(ContactMerge::Id).big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new(ContactMerge::SurvivorId).big_integer().not_null())
        .col(ColumnDef::new(ContactMerge::AbsorbedId).big_integer().not_null())
        .col(ColumnDef::new(ContactMerge::Cause).json().not_null())
        .col(dialect.moment(ContactMerge::CreatedAt).not_null());
    table
}

#[derive(DeriveIden)]
enum ContactMerge {
    #[sea_orm(iden = "ContactMerge")]
    Table,
    #[sea_orm(iden = "id")]
    Id,
    #[sea_orm(iden = "survivorId")]
    SurvivorId,
    #[sea_orm(iden = "absorbedId")]
    AbsorbedId,
    #[sea_orm(iden = "cause")]
    Cause,
    #[sea_orm(iden = "createdAt")]
    CreatedAt,
}
