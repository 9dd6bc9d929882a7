//! The statements that read an old table.

use super::column_type::{DateForm, is_mysql_text};
use super::mapping::{MappedColumn, Mapping};
use super::names::Field;
use crate::store::sql::Engine;

/// No row of a table, with all its columns: it fails if the user may not read one of them.
pub(super) fn all_columns_sql(engine: Engine, table: &str) -> String {
    format!("SELECT * FROM {} WHERE 1 = 0", engine.quoted(table))
}

impl Mapping {
    /// `FROM` with the table, as `t`.
    fn source(&self) -> String {
        format!("FROM {} t", self.engine.quoted(&self.table))
    }

    fn column(&self, field: Field) -> Option<(&MappedColumn, String)> {
        let column = self.columns.get(&field)?;
        Some((column, format!("t.{}", self.engine.quoted(&column.name))))
    }

    fn id(&self) -> String {
        self.column(Field::Id).map_or_else(String::new, |(_, id)| id)
    }

    /// The columns in the order of [`Field::ALL`].
    fn expressions(&self) -> String {
        let expression = |field: Field| {
            let Some((column, name)) = self.column(field) else { return "NULL".to_owned() };
            match self.engine {
                Engine::Sqlite => name,
                Engine::Postgres => format!("{name}::{}", postgres_type(field, column)),
                Engine::Mysql | Engine::Mariadb => mysql_expression(field, column, name),
            }
        };
        Field::ALL.map(expression).join(", ")
    }

    /// The rows with an id above one parameter, in the order of their ids, as many as the other parameter says.
    pub(super) fn page_sql(&self) -> String {
        let (id, columns, from) = (self.id(), self.expressions(), self.source());
        let (after, limit) = (self.engine.parameter(1), self.engine.parameter(2));
        format!("SELECT {columns} {from} WHERE {id} > {after} ORDER BY {id} LIMIT {limit}")
    }

    /// No row, with all columns that are read: it fails if the user may not read one of them.
    pub(super) fn rights_sql(&self) -> String {
        format!("SELECT {} {} WHERE 1 = 0", self.expressions(), self.source())
    }

    /// The rows with these ids, in the order of their ids.
    pub(super) fn rows_sql(&self, ids: &[i64]) -> String {
        let (id, columns, from) = (self.id(), self.expressions(), self.source());
        let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        format!("SELECT {columns} {from} WHERE {id} IN ({ids}) ORDER BY {id}")
    }

    pub(super) fn count_sql(&self) -> String {
        format!("SELECT COUNT(*) {}", self.source())
    }

    /// The smallest and the largest id.
    pub(super) fn id_range_sql(&self) -> String {
        let integer = |value: String| match self.engine {
            Engine::Postgres => format!("{value}::bigint"),
            Engine::Mysql | Engine::Mariadb => format!("CAST({value} AS SIGNED)"),
            Engine::Sqlite => value,
        };
        let id = self.id();
        let (min, max) = (integer(format!("MIN({id})")), integer(format!("MAX({id})")));
        format!("SELECT {min}, {max} {}", self.source())
    }

    /// The id, as text, of a row whose id is no whole number from 1 to 2^63 - 1: null if it is no number. No row if
    /// there is none.
    pub(super) fn bad_id_sql(&self) -> String {
        let (id, from) = (self.id(), self.source());
        match self.engine {
            Engine::Sqlite => format!(
                "SELECT CASE typeof({id}) WHEN 'integer' THEN CAST({id} AS TEXT) END {from} \
                 WHERE typeof({id}) <> 'integer' OR {id} < 1 LIMIT 1"
            ),
            Engine::Postgres => format!("SELECT {id}::text {from} WHERE {id} < 1 LIMIT 1"),
            Engine::Mysql | Engine::Mariadb => {
                format!("SELECT CAST({id} AS CHAR) {from} WHERE {id} < 1 OR {id} > {} LIMIT 1", i64::MAX)
            }
        }
    }
}

/// The type as which PostgreSQL sends a column.
fn postgres_type(field: Field, column: &MappedColumn) -> &'static str {
    match (field, column.date_form) {
        (Field::Id | Field::LinkedId, _) | (_, Some(DateForm::Number)) => "bigint",
        (_, Some(DateForm::Moment)) => "timestamptz",
        (_, Some(DateForm::Clock | DateForm::Day)) => "timestamp",
        (_, Some(DateForm::Text | DateForm::Any) | None) => "text",
    }
}

/// The expression as which MySQL sends a column. Dates come as text: its binary form has no zero dates in sqlx. So do
/// numbers: those without a sign can be too large for 64 bits with one.
fn mysql_expression(field: Field, column: &MappedColumn, name: String) -> String {
    match (field, column.date_form) {
        (Field::Id, _) => format!("CAST({name} AS SIGNED)"),
        (_, None) if is_mysql_text(&column.sql_type) => name,
        _ => format!("CAST({name} AS CHAR)"),
    }
}
