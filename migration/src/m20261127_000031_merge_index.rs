//! The index of `ContactMerge.absorbedId`: it finds the merge of a contact.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

const INDEX: &str = "ContactMerge_absorbedId";
const TABLE: &str = "ContactMerge";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.has_index(TABLE, INDEX).await? {
            return Ok(()); // A run that was ended before it was recorded.
        }
        let created = manager.create_index(index()).await;
        // In a Galera cluster each server has a lock of its own: a replica at another server may have been faster.
        let is_mysql = manager.get_database_backend() == DbBackend::MySql;
        match created {
            Err(_) if is_mysql && manager.has_index(TABLE, INDEX).await? => Ok(()),
            created => created,
        }
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if !manager.has_table(TABLE).await? || !manager.has_index(TABLE, INDEX).await? {
            return Ok(());
        }
        manager.drop_index(Index::drop().name(INDEX).table(ContactMerge::Table).to_owned()).await
    }
}

fn index() -> IndexCreateStatement {
    Index::create().name(INDEX).table(ContactMerge::Table).col(ContactMerge::AbsorbedId).take()
}

#[derive(DeriveIden)]
enum ContactMerge {
    #[sea_orm(iden = "ContactMerge")]
    Table,
    #[sea_orm(iden = "absorbedId")]
    AbsorbedId,
}
