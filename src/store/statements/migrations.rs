//! Snapshots of what the migrations execute: `up` runs on a connection that records its statements. So a snapshot also
//! shows which branch `up` takes on each kind of database.

use std::collections::BTreeMap;

use migration::{Migrator, MigratorTrait, SchemaManager};
use sea_orm::{DbBackend, MockDatabase, MockExecResult, Value};

/// Returns the statements of `up` of all migrations. `exists` is what the database says of each type, column and index
/// that `up` asks for. MySQL and MariaDB get the same statements.
async fn executed(backend: DbBackend, exists: bool) -> String {
    let row = |column: &str| BTreeMap::from([(column.to_owned(), Value::from(exists))]);
    // In the order of the questions. `up` asks PostgreSQL for a type by a row, and for the rest by a truth value.
    let mut answers = vec![vec![row("has_column")], vec![row("has_index")]];
    if backend == DbBackend::Postgres {
        answers.insert(0, Vec::from_iter(exists.then(|| row("the type"))));
    }
    let questions = answers.len();
    let database = MockDatabase::new(backend)
        .append_query_results(answers)
        .append_exec_results(vec![MockExecResult::default(); 100])
        .into_connection();
    for migration in Migrator::migrations() {
        migration.up(&SchemaManager::new(&database)).await.unwrap();
    }
    let log = database.into_transaction_log();
    let statements: Vec<&str> =
        log.iter().flat_map(|transaction| transaction.statements()).map(|statement| &*statement.sql).collect();
    assert_eq!(statements.iter().filter(|sql| sql.starts_with("SELECT")).count(), questions, "{backend:?}");
    statements.join(";\n")
}

const BACKENDS: [(&str, DbBackend); 3] =
    [("mysql", DbBackend::MySql), ("postgres", DbBackend::Postgres), ("sqlite", DbBackend::Sqlite)];

#[tokio::test]
async fn the_migrations_of_an_empty_database_execute_what_the_snapshots_show() {
    for (name, backend) in BACKENDS {
        insta::assert_snapshot!(name, executed(backend, false).await);
    }
}

/// As after a run that was ended before it was recorded: MySQL and MariaDB cannot roll it back.
#[tokio::test]
async fn migrations_that_are_there_already_execute_what_the_snapshots_show() {
    for (name, backend) in BACKENDS {
        insta::assert_snapshot!(format!("{name}_again"), executed(backend, true).await);
    }
}
