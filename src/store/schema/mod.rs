//! Whether the tables are this service's: their columns, types, keys and indexes, as the database describes them.
//!
//! A table of another system can have the same name. The service must neither write into it, nor serve beside it as if
//! the customers in it were unknown.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `expected` | the tables as the migrations make them. A migration that changes a table changes this too |
//! | `catalogue` | the tables as the database describes them |
//! | `compare` | the differences |

mod catalogue;
mod compare;
mod expected;

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbErr};

use super::error::{Outage, StoreError};
use super::sql::Engine;
pub(super) use catalogue::Catalogue;
use compare::{Strictness, differences};
use expected::{CONTACT, FLAGS_MIGRATION, TABLES, Table};

/// Why the tables are not taken for this service's. One line for the operator: it names tables and columns, no data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignSchema {
    /// A table has another form.
    #[error(
        "the database has a table {table} that is not this service's ({difference}): give the service a database of \
         its own, or rename the table"
    )]
    OtherTable {
        /// Its name.
        table: String,
        /// The first difference.
        difference: String,
    },
    /// A table has the right form, and rows from before the service was here.
    #[error(
        "the database has a table {0} with rows that this service did not write: give the service a database of its \
         own, or rename the table"
    )]
    OtherRows(String),
    /// A table of another system holds the customers, and the service's own table is empty.
    #[error(
        "the database has a table {0} with rows, and no contacts of this service: give the service a database of its \
         own, or rename the table"
    )]
    OtherContacts(String),
    /// A table is gone that the migrations made.
    #[error("the database lacks the table {0}, which a migration has made: restore it from a backup")]
    Missing(String),
    /// Contacts were written by another program: the service would take each customer for a new one.
    #[error(
        "the database has contacts and no identifiers, so that every customer would be taken for a new one: run \
         `identity verify --repair`, or give the service a database of its own"
    )]
    NoIdentifiers,
}

/// A refusal, or an error of the database.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error(transparent)]
    Foreign(#[from] ForeignSchema),
    /// The user may not read a table. MySQL hides it, or columns of it, as if they were not there.
    #[error("{}", Outage::Rights)]
    Rights,
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Fails unless the tables are this service's or are still to be made. `applied` are the names of the migrations that
/// the database has. Changes nothing.
pub(super) async fn check(
    connection: &impl ConnectionTrait,
    engine: Engine,
    applied: &BTreeSet<String>,
) -> Result<(), CheckError> {
    let catalogue = check_tables(connection, engine, applied).await?;
    let contact = catalogue.table_named(CONTACT);
    if contact.is_some() && catalogue.has_rows(connection, CONTACT).await? {
        let identifiers = TABLES.iter().find(|table| table.name == "Identifier");
        let has_both = identifiers.is_some_and(|table| applied.contains(table.migration));
        let is_empty = has_both && catalogue.lacks_identifiers(connection).await?;
        return if is_empty { Err(ForeignSchema::NoIdentifiers.into()) } else { Ok(()) };
    }
    for other in catalogue.other_contacts() {
        if catalogue.has_rows(connection, other).await? {
            return Err(ForeignSchema::OtherContacts(other.to_owned()).into());
        }
    }
    Ok(())
}

/// The same, without a look at what the rows say.
pub(super) async fn check_tables(
    connection: &impl ConnectionTrait,
    engine: Engine,
    applied: &BTreeSet<String>,
) -> Result<Catalogue, CheckError> {
    let catalogue = Catalogue::read(connection, engine).await?;
    for table in TABLES {
        let is_applied = applied.contains(table.migration);
        let Some(name) = catalogue.table_named(table.name) else {
            if is_applied {
                require_rights(connection, engine, table, table.name).await?;
                return Err(ForeignSchema::Missing(table.name.to_owned()).into());
            }
            continue;
        };
        let found = catalogue.describe(connection, name).await?;
        let strictness = if is_applied { Strictness::Own } else { Strictness::Exact };
        if let Some(difference) = differences(engine, table, &found, strictness, applied).into_iter().next() {
            if is_applied {
                require_rights(connection, engine, table, name).await?;
            }
            return Err(ForeignSchema::OtherTable { table: name.to_owned(), difference }.into());
        }
        if !is_applied && catalogue.has_rows(connection, name).await? {
            return Err(ForeignSchema::OtherRows(name.to_owned()).into());
        }
    }
    Ok(catalogue)
}

/// Fails if the user lacks the right to read a column of this table, whether or not it can be seen.
async fn require_rights(
    connection: &impl ConnectionTrait,
    engine: Engine,
    table: &Table,
    name: &str,
) -> Result<(), CheckError> {
    let columns: Vec<String> = table.columns.iter().map(|column| format!(r#""{}""#, column.name)).collect();
    let sql = format!(r#"SELECT {} FROM "{name}" WHERE 1 = 0"#, columns.join(", "));
    let read = connection.query_one_raw(engine.statement(sql, Vec::new())).await;
    let lacks_right = read.is_err_and(|error| StoreError::from(error).outage() == Outage::Rights);
    if lacks_right { Err(CheckError::Rights) } else { Ok(()) }
}

/// Returns the tables of these migrations that have rows, and what else would be lost with them.
pub(super) async fn tables_with_rows(
    connection: &impl ConnectionTrait,
    engine: Engine,
    migrations: &[String],
) -> Result<Vec<&'static str>, DbErr> {
    let catalogue = Catalogue::read(connection, engine).await?;
    let mut found = Vec::new();
    for Table { name, migration, .. } in TABLES {
        let is_there = catalogue.table_named(name).is_some();
        if migrations.iter().any(|one| one == migration) && is_there && catalogue.has_rows(connection, name).await? {
            found.push(*name);
        }
    }
    let drops_flags = migrations.iter().any(|one| one == FLAGS_MIGRATION);
    if drops_flags && catalogue.has_flags(connection).await? {
        found.push("Contact that say which identifiers are ignored");
    }
    Ok(found)
}
