//! The text of a snapshot: statements as a driver gets them.

use std::fmt::Write;

use sea_orm::{Statement, StatementBuilder};

use crate::store::sql::Engine;

/// All kinds of databases, each with the name of its snapshots.
pub(in crate::store) const ENGINES: [(&str, Engine); 4] = [
    ("mysql", Engine::Mysql),
    ("mariadb", Engine::Mariadb),
    ("postgres", Engine::Postgres),
    ("sqlite", Engine::Sqlite),
];

/// Statements of one kind of database, each with a name.
pub(in crate::store) struct StatementList {
    engine: Engine,
    text: String,
}

impl StatementList {
    pub(in crate::store) fn new(engine: Engine) -> Self {
        Self { engine, text: String::new() }
    }

    /// Adds a statement, and how many parameters it has.
    pub(in crate::store) fn add(&mut self, name: &str, statement: &Statement) {
        let count = statement.values.as_ref().map_or(0, |values| values.0.len());
        writeln!(self.text, "-- {name} ({count} parameters)\n{}\n", statement.sql).unwrap();
    }

    /// Adds a statement of SeaQuery.
    pub(in crate::store) fn add_built(&mut self, name: &str, statement: &impl StatementBuilder) {
        let statement = StatementBuilder::build(statement, &self.engine.backend());
        self.add(name, &statement);
    }

    /// Adds a statement that is written with `"names"` and `?`.
    pub(in crate::store) fn add_sql(&mut self, name: &str, sql: &str) {
        let statement = self.engine.statement(sql.to_owned(), Vec::new());
        self.add_text(name, &statement.sql);
    }

    /// Adds a statement as it is.
    pub(in crate::store) fn add_text(&mut self, name: &str, sql: &str) {
        writeln!(self.text, "-- {name}\n{sql}\n").unwrap();
    }

    pub(in crate::store) fn into_text(self) -> String {
        self.text
    }
}
