//! `Identifier`: who owns which identifier. Its primary key makes two identities that share one
//! impossible, also when other programs write.

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
        manager.drop_table(Table::drop().table(Identifier::Table).if_exists().take()).await
    }
}

/// The table.
fn table(dialect: Dialect) -> TableCreateStatement {
    let mut table = dialect.create_table(Identifier::Table);
    table
        .col(ColumnDef::new(Identifier::Kind).string_len(16).not_null())
        // Bytes: then equality is byte equality, whatever collation a database or session has.
        .col(ColumnDef::new(Identifier::Value).var_binary(255).not_null())
        .col(ColumnDef::new(Identifier::ContactId).big_integer().not_null())
        .primary_key(Index::create().col(Identifier::Kind).col(Identifier::Value));
    table
}

#[derive(DeriveIden)]
enum Identifier {
    #[sea_orm(iden = "Identifier")]
    Table,
    #[sea_orm(iden = "kind")]
    Kind,
    #[sea_orm(iden = "value")]
    Value,
    #[sea_orm(iden = "contactId")]
    ContactId,
}
