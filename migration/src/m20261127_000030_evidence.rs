//! `Evidence`: the sets of identifiers that were seen together and that no contact carries.
//!
//! Processes of older versions go on beside it: they do not know the table.

use sea_orm_migration::prelude::*;

use crate::dialect::Dialect;

const SET_KEY_INDEX: &str = "Evidence_setKey";
const CONTACT_INDEX: &str = "Evidence_contactId";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let dialect = Dialect::of(manager)?;
        manager.create_table(table(dialect)).await?;
        match dialect {
            Dialect::Mysql => Ok(()),
            Dialect::Postgres | Dialect::Sqlite => {
                manager.create_index(set_key_index()).await?;
                manager.create_index(contact_index()).await
            }
        }
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Evidence::Table).if_exists().take()).await
    }
}

/// The table. That of MySQL has the indexes in its own statement, so that all are there or none.
fn table(dialect: Dialect) -> TableCreateStatement {
    let mut table = dialect.create_table(Evidence::Table);
    table
        .col(ColumnDef::new(Evidence::Id).big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new(Evidence::SetKey).var_binary(16).not_null())
        .col(ColumnDef::new(Evidence::ContactId).big_integer().not_null())
        .col(ColumnDef::new(Evidence::Origin).string_len(16).not_null())
        .col(ColumnDef::new(Evidence::Identifiers).json().not_null())
        .col(dialect.moment(Evidence::CreatedAt).not_null())
        .col(ColumnDef::new(Evidence::RetractedBy).big_integer());
    match dialect {
        Dialect::Mysql => {
            table.index(Index::create().name(SET_KEY_INDEX).col(Evidence::SetKey).unique());
            table.index(Index::create().name(CONTACT_INDEX).col(Evidence::ContactId));
        }
        Dialect::Postgres | Dialect::Sqlite => {}
    }
    table
}

fn set_key_index() -> IndexCreateStatement {
    let mut index = Index::create().name(SET_KEY_INDEX).table(Evidence::Table).if_not_exists().take();
    index.col(Evidence::SetKey).unique().take()
}

fn contact_index() -> IndexCreateStatement {
    let mut index = Index::create().name(CONTACT_INDEX).table(Evidence::Table).if_not_exists().take();
    index.col(Evidence::ContactId).take()
}

#[derive(DeriveIden)]
enum Evidence {
    #[sea_orm(iden = "Evidence")]
    Table,
    #[sea_orm(iden = "id")]
    Id,
    #[sea_orm(iden = "setKey")]
    SetKey,
    #[sea_orm(iden = "contactId")]
    ContactId,
    #[sea_orm(iden = "origin")]
    Origin,
    #[sea_orm(iden = "identifiers")]
    Identifiers,
    #[sea_orm(iden = "createdAt")]
    CreatedAt,
    #[sea_orm(iden = "retractedBy")]
    RetractedBy,
}
