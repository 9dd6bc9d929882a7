//! Joins of rows by a whole key, for pages of rows that are read with what they point at.

use super::Engine;

impl Engine {
    /// Joins the row of a table, under this name, that has these values in these columns: all those of a unique key.
    /// A value is an SQL expression about the tables that stand before this one in the FROM clause.
    ///
    /// Without statistics, PostgreSQL would rather read two tables whole and compare each pair of rows: a page of 1,000
    /// contacts took 5 s among 10,000. OFFSET keeps it from that. The others look each row up anyway.
    pub(in crate::store) fn key_join(self, table: &str, name: &str, key: &[(&str, &str)]) -> String {
        let equal = |prefix: &str| {
            let equal = key.iter().map(|(column, value)| format!(r#"{prefix}"{column}" = {value}"#));
            equal.collect::<Vec<_>>().join(" AND ")
        };
        match self {
            Self::Postgres => {
                format!(r#"LEFT JOIN LATERAL (SELECT * FROM "{table}" WHERE {} OFFSET 0) {name} ON TRUE"#, equal(""))
            }
            Self::Mysql | Self::Mariadb | Self::Sqlite => {
                format!(r#"LEFT JOIN "{table}" {name} ON {}"#, equal(&format!("{name}.")))
            }
        }
    }
}
