//! Whether the tables are this service's: their columns, types, keys and indexes, as the database describes them.
//!
//! A table of another system can have the same name. The service must neither write into it, nor serve beside it as if
//! the customers in it were unknown.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `expected` | the tables as the migrations make them. A migration that changes a table changes this too |
//! | `compare` | the differences |

mod compare;
mod expected;

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, DbErr};

use super::catalogue::Catalogue;
use super::error::{Outage, StoreError};
use super::old_table::{could_hold_contacts, first_look_alike, is_contact_table};
use super::sql::Engine;
use compare::{Strictness, differences};
use expected::{ADOPTION, CONTACT, EVIDENCE_STATE, FLAGS_MIGRATION, TABLES, Table};

/// Why the tables are not taken for this service's. One line for the operator: it names tables and columns, no data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignSchema {
    /// A table has another form.
    #[error(
        "the database has a table {table} that is not this service's ({difference}): give the service a database of \
         its own{hint}, or rename the table",
        hint = if *is_adoptable { ADOPT_HINT } else { "" }
    )]
    OtherTable {
        /// Its name.
        table: String,
        /// The first difference.
        difference: String,
        /// Whether `identity adopt` could take contacts over from it: it is not a changed table of this service.
        is_adoptable: bool,
    },
    /// A table has the right form, and rows from before the service was here.
    #[error(
        "the database has a table {0} with rows that this service did not write: give the service a database of its \
         own{hint}, or rename the table",
        hint = if is_contact_table(.0) { ADOPT_HINT } else { "" }
    )]
    OtherRows(String),
    /// A table of another system holds the customers, and the service's own table is empty.
    #[error(
        "the database has a table {0} with rows, and no contacts of this service: give the service a database of its \
         own and take the contacts over by `identity adopt --from URL`, or, if they are no customers, set \
         IGNORE_TABLE={0}"
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

/// How the service gets the contacts in a table of another system.
const ADOPT_HINT: &str = " and take the contacts over by `identity adopt --from URL`";

/// A refusal, or an error of the database.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error(transparent)]
    Foreign(#[from] ForeignSchema),
    /// The user may not read a table. MySQL hides it, or columns of it, as if they were not there.
    #[error("{}", Outage::Rights)]
    Rights,
    /// Another process makes or drops a table at this moment.
    #[error("another process makes or drops the tables")]
    Changing,
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Fails unless the tables are this service's or are still to be made. `applied` are the names of the migrations that
/// the database has, and `ignored` those of tables that the operator knows. Changes nothing.
pub(super) async fn check(
    connection: &impl ConnectionTrait,
    engine: Engine,
    applied: &BTreeSet<String>,
    ignored: &[String],
) -> Result<(), CheckError> {
    let catalogue = check_tables(connection, engine, applied).await?;
    let contact = catalogue.table_named(CONTACT);
    if applied.contains(expected::ADOPTION_MIGRATION) && catalogue.has_unfinished_adoption(connection).await? {
        return Ok(()); // Its tables are half full, and `serve` refuses to start.
    }
    if contact.is_some() && catalogue.has_rows(connection, CONTACT).await? {
        let identifiers = TABLES.iter().find(|table| table.name == "Identifier");
        let has_both = identifiers.is_some_and(|table| applied.contains(table.migration));
        let is_empty = has_both && catalogue.lacks_identifiers(connection).await?;
        return if is_empty { Err(ForeignSchema::NoIdentifiers.into()) } else { Ok(()) };
    }
    match first_look_alike(connection, &catalogue, contact, ignored).await? {
        Some(other) => Err(ForeignSchema::OtherContacts(other).into()),
        None => Ok(()),
    }
}

/// Returns whether there is a table for the state of an adoption.
pub(super) async fn has_adoption(connection: &impl ConnectionTrait, engine: Engine) -> Result<bool, DbErr> {
    Ok(Catalogue::read(connection, engine).await?.table_named(ADOPTION).is_some())
}

/// Returns whether the tables of contacts and identifiers are there.
pub(super) async fn has_contact_tables(connection: &impl ConnectionTrait, engine: Engine) -> Result<bool, DbErr> {
    let catalogue = Catalogue::read(connection, engine).await?;
    Ok([CONTACT, "Identifier"].iter().all(|table| catalogue.table_named(table).is_some()))
}

/// Returns whether one of these tables is there and has rows.
pub(super) async fn has_rows(
    connection: &impl ConnectionTrait,
    engine: Engine,
    tables: &[&str],
) -> Result<bool, DbErr> {
    let catalogue = Catalogue::read(connection, engine).await?;
    for table in tables {
        if catalogue.table_named(table).is_some() && catalogue.has_rows(connection, table).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// As [`check`], without a look at what the rows say.
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
        // Only PostgreSQL has tables without a column. A user who may not read a column does not see the table.
        if found.columns.is_empty() && engine != Engine::Postgres {
            return Err(CheckError::Changing);
        }
        let strictness = if is_applied { Strictness::Own } else { Strictness::Exact };
        if let Some(difference) = differences(engine, table, &found, strictness, applied).into_iter().next() {
            if is_applied {
                require_rights(connection, engine, table, name).await?;
            }
            let is_adoptable = !is_applied && is_contact_table(name) && could_hold_contacts(&found);
            return Err(ForeignSchema::OtherTable { table: name.to_owned(), difference, is_adoptable }.into());
        }
        let may_have_rows = is_applied || table.name == EVIDENCE_STATE;
        if !may_have_rows && catalogue.has_rows(connection, name).await? {
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
    let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let read = connection.query_one_raw(engine.statement(no_row_sql(name, &columns), Vec::new())).await;
    let lacks_right = read.is_err_and(|error| StoreError::from(error).outage() == Outage::Rights);
    if lacks_right { Err(CheckError::Rights) } else { Ok(()) }
}

/// These columns of no row of a table: it fails if the user may not read one of them.
pub(super) fn no_row_sql(table: &str, columns: &[&str]) -> String {
    let columns: Vec<String> = columns.iter().map(|column| format!(r#""{column}""#)).collect();
    format!(r#"SELECT {} FROM "{table}" WHERE 1 = 0"#, columns.join(", "))
}

/// Returns the tables of these migrations that have rows, and what else would be lost with them.
pub(super) async fn tables_with_rows(
    connection: &impl ConnectionTrait,
    engine: Engine,
    migrations: &[String],
) -> Result<Vec<&'static str>, DbErr> {
    let catalogue = Catalogue::read(connection, engine).await?;
    let mut found = Vec::new();
    for Table { name, migration, .. } in TABLES.iter().filter(|table| table.name != EVIDENCE_STATE) {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sea_orm::{DbBackend, MockDatabase, Value};

    use super::*;

    /// On a cluster, another server can drop or make the table between the two questions.
    #[tokio::test]
    async fn a_table_without_columns_is_about_to_change() {
        let tables = [("1", Value::from("Contact")), ("2", Value::from(1_i64)), ("3", Value::from(0_i64))];
        let none = Vec::<BTreeMap<&str, Value>>::new();
        let answers = [vec![BTreeMap::from(tables)], none.clone(), none];
        let database = MockDatabase::new(DbBackend::MySql).append_query_results(answers).into_connection();
        let checked = check_tables(&database, Engine::Mariadb, &BTreeSet::new()).await;
        assert!(matches!(checked, Err(CheckError::Changing)), "{checked:?}");
    }
}
