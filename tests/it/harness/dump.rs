//! Everything that a database holds, byte for byte.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use super::{Backend, TestDatabase};

/// The rows of each table, with all columns, sorted. The first line of a table has the names of its columns.
pub type Dump = BTreeMap<String, Vec<String>>;

/// Reads all tables of a database, in all schemas, whoever made them.
pub async fn dump(database: &TestDatabase) -> Dump {
    if let Some(path) = database.url.strip_prefix("sqlite://")
        && !std::path::Path::new(path.split('?').next().expect("a path")).exists()
    {
        return Dump::new();
    }
    let tables = database.raw().await;
    let sql = match database.backend {
        Backend::Sqlite => {
            "SELECT m.name, c.name, '' FROM sqlite_master m, pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_stat%' ORDER BY m.name, c.cid"
        }
        Backend::Postgres => {
            "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname::text, '' \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' \
             ORDER BY 1, a.attnum"
        }
        Backend::Mariadb | Backend::Mysql => {
            "SELECT CONVERT(TABLE_NAME USING utf8mb4), CONVERT(COLUMN_NAME USING utf8mb4), \
             CONVERT(DATA_TYPE USING utf8mb4) FROM information_schema.columns \
             WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1, ORDINAL_POSITION"
        }
    };
    let mut columns: BTreeMap<String, Vec<[String; 2]>> = BTreeMap::new();
    for [table, column, kind] in texts(&tables, sql).await {
        columns.entry(table).or_default().push([column, kind]);
    }
    let mut dump = Dump::new();
    for (table, columns) in columns {
        let names = columns.iter().map(|[name, _]| name.as_str()).collect::<Vec<_>>().join(" ");
        let mut rows: Vec<String> =
            texts(&tables, &rows_sql(database.backend, &table, &columns)).await.into_iter().map(|[row]| row).collect();
        rows.sort();
        rows.insert(0, names);
        dump.insert(table, rows);
    }
    tables.close().await.expect("closed");
    dump
}

/// The rows of a table as texts: equal ones if the rows are equal byte for byte.
fn rows_sql(backend: Backend, table: &str, columns: &[[String; 2]]) -> String {
    match backend {
        Backend::Postgres => format!("SELECT t::text FROM {table} t"),
        Backend::Sqlite => {
            let values = columns.iter().map(|[name, _]| format!(r#"quote("{name}")"#)).collect::<Vec<_>>();
            format!(r#"SELECT {} FROM "{table}""#, values.join(" || '|' || "))
        }
        Backend::Mariadb | Backend::Mysql => {
            let value = |[name, kind]: &[String; 2]| {
                let is_binary = kind.contains("binary") || kind.contains("blob");
                let text = if is_binary { format!("`{name}`") } else { format!("CAST(`{name}` AS CHAR)") };
                format!("COALESCE(HEX({text}), 'NULL')")
            };
            let values = columns.iter().map(value).collect::<Vec<_>>();
            format!("SELECT CONCAT_WS('|', {}) FROM `{table}`", values.join(", "))
        }
    }
}

async fn texts<const N: usize>(tables: &DatabaseConnection, sql: &str) -> Vec<[String; N]> {
    let statement = Statement::from_string(tables.get_database_backend(), sql);
    let rows = tables.query_all_raw(statement).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    let text = |row: &sea_orm::QueryResult, index| row.try_get_by_index(index).expect("a text");
    rows.iter().map(|row| std::array::from_fn(|index| text(row, index))).collect()
}
