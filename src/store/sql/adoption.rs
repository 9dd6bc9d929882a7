//! The statements at the end of an adoption.

use super::Engine;

impl Engine {
    /// Sets the counter of automatic ids, where an INSERT that gives an id does not.
    pub(in crate::store) fn advance_counter(self, table: &str, last: i64) -> Option<String> {
        match self {
            Self::Mysql | Self::Mariadb | Self::Sqlite => None,
            // Without rows the next id is 1.
            Self::Postgres => Some(format!(
                r#"SELECT setval(pg_get_serial_sequence('"{table}"', 'id'), {}, {})"#,
                last.max(1),
                last > 0
            )),
        }
    }

    /// Refreshes the statistics of these tables.
    pub(in crate::store) fn analyze(self, tables: &[&str]) -> Vec<String> {
        let each = |command: &str| tables.iter().map(|table| format!(r#"{command} "{table}""#)).collect();
        match self {
            Self::Mysql | Self::Mariadb => each("ANALYZE TABLE"),
            Self::Postgres | Self::Sqlite => each("ANALYZE"),
        }
    }

    /// Deletes all rows of these tables, and resets their counters of ids.
    pub(in crate::store) fn empty_tables(self, tables: &[&str]) -> Vec<String> {
        match self {
            Self::Mysql | Self::Mariadb => tables.iter().map(|table| format!("TRUNCATE TABLE `{table}`")).collect(),
            Self::Postgres => {
                tables.iter().map(|table| format!(r#"TRUNCATE TABLE "{table}" RESTART IDENTITY"#)).collect()
            }
            Self::Sqlite => {
                let delete = tables.iter().map(|table| format!(r#"DELETE FROM "{table}""#));
                let names = tables.iter().map(|table| format!("'{table}'")).collect::<Vec<_>>().join(", ");
                delete.chain([format!("DELETE FROM sqlite_sequence WHERE name IN ({names})")]).collect()
            }
        }
    }
}
