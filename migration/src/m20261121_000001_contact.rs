//! `Contact`: one row an observation that brought something new.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_query::extension::postgres::{Type, TypeCreateStatement};

use crate::dialect::Dialect;

const PRECEDENCES: [&str; 2] = ["primary", "secondary"];
const LINKED_ID_INDEX: &str = "Contact_linkedId";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let dialect = Dialect::of(manager)?;
        if dialect == Dialect::Postgres && !has_precedence_type(manager).await? {
            manager.create_type(precedence_type()).await?;
        }
        manager.create_table(table(dialect)).await?;
        match dialect {
            Dialect::Mysql => Ok(()),
            Dialect::Postgres | Dialect::Sqlite => manager.create_index(linked_id_index()).await,
        }
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Contact::Table).if_exists().take()).await?;
        match Dialect::of(manager)? {
            Dialect::Postgres => {
                manager.drop_type(Type::drop().name(Contact::LinkPrecedenceType).if_exists().to_owned()).await
            }
            Dialect::Mysql | Dialect::Sqlite => Ok(()),
        }
    }
}

/// The table. That of MySQL has the index in its own statement, so that both are there or neither.
fn table(dialect: Dialect) -> TableCreateStatement {
    let mut table = dialect.create_table(Contact::Table);
    table
        .col(ColumnDef::new(Contact::Id).big_integer().not_null().auto_increment().primary_key())
        .col(ColumnDef::new(Contact::PhoneNumber).string_len(255))
        .col(ColumnDef::new(Contact::Email).string_len(255))
        .col(ColumnDef::new(Contact::LinkedId).big_integer())
        .col(ColumnDef::new(Contact::LinkPrecedence).enumeration(Contact::LinkPrecedenceType, PRECEDENCES).not_null())
        .col(dialect.moment(Contact::CreatedAt).not_null())
        .col(dialect.moment(Contact::UpdatedAt).not_null())
        .col(dialect.moment(Contact::DeletedAt));
    match dialect {
        Dialect::Mysql => {
            table.index(Index::create().name(LINKED_ID_INDEX).col(Contact::LinkedId));
        }
        Dialect::Postgres => {}
        Dialect::Sqlite => {
            // Its enums are text, and it takes any.
            table.check(Expr::col(Contact::LinkPrecedence).is_in(PRECEDENCES));
        }
    }
    table
}

/// The type of `linkPrecedence` on PostgreSQL.
fn precedence_type() -> TypeCreateStatement {
    Type::create().as_enum(Contact::LinkPrecedenceType).values(PRECEDENCES).to_owned()
}

fn linked_id_index() -> IndexCreateStatement {
    Index::create().name(LINKED_ID_INDEX).table(Contact::Table).col(Contact::LinkedId).if_not_exists().take()
}

/// PostgreSQL has no `CREATE TYPE IF NOT EXISTS`.
async fn has_precedence_type(manager: &SchemaManager<'_>) -> Result<bool, DbErr> {
    Ok(manager.get_connection().query_one(&find_precedence_type()).await?.is_some())
}

/// A row if PostgreSQL has the type.
fn find_precedence_type() -> SelectStatement {
    let name = Contact::LinkPrecedenceType.to_string();
    let mut find = Query::select();
    find.expr(Expr::val(1)).from("pg_type").and_where(Expr::col("typname").eq(name));
    find.and_where(Expr::cust("typnamespace = current_schema()::regnamespace"));
    find
}

#[derive(DeriveIden)]
enum Contact {
    #[sea_orm(iden = "Contact")]
    Table,
    #[sea_orm(iden = "id")]
    Id,
    #[sea_orm(iden = "phoneNumber")]
    PhoneNumber,
    #[sea_orm(iden = "email")]
    Email,
    #[sea_orm(iden = "linkedId")]
    LinkedId,
    #[sea_orm(iden = "linkPrecedence")]
    LinkPrecedence,
    #[sea_orm(iden = "link_precedence")]
    LinkPrecedenceType,
    #[sea_orm(iden = "createdAt")]
    CreatedAt,
    #[sea_orm(iden = "updatedAt")]
    UpdatedAt,
    #[sea_orm(iden = "deletedAt")]
    DeletedAt,
}
