//! `AdoptedContact`: what a row of another system's table had before it was adopted, if anything was changed.

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
        manager.drop_table(Table::drop().table(AdoptedContact::Table).if_exists().take()).await
    }
}

/// The table.
fn table(dialect: Dialect) -> TableCreateStatement {
    let mut table = dialect.create_table(AdoptedContact::Table);
    table
        .col(ColumnDef::new(AdoptedContact::Id).big_integer().not_null().primary_key())
        .col(ColumnDef::new(AdoptedContact::Email).text())
        .col(ColumnDef::new(AdoptedContact::PhoneNumber).text())
        .col(ColumnDef::new(AdoptedContact::LinkedId).big_integer())
        .col(ColumnDef::new(AdoptedContact::LinkPrecedence).string_len(64))
        .col(ColumnDef::new(AdoptedContact::Reason).string_len(255).not_null());
    table
}

#[derive(DeriveIden)]
enum AdoptedContact {
    #[sea_orm(iden = "AdoptedContact")]
    Table,
    #[sea_orm(iden = "id")]
    Id,
    #[sea_orm(iden = "email")]
    Email,
    #[sea_orm(iden = "phoneNumber")]
    PhoneNumber,
    #[sea_orm(iden = "linkedId")]
    LinkedId,
    #[sea_orm(iden = "linkPrecedence")]
    LinkPrecedence,
    #[sea_orm(iden = "reason")]
    Reason,
}
