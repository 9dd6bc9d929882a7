//! The statistics that the databases plan by, and what a run says while it works.

use serde_json::json;

use super::{Old, refusal, run};
use crate::harness::{Backend, Suite, TestDatabase, binary, execute, query, register};
use crate::old_tables::{OldKind, damaged_rows};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): statistics_are_those_of_the_loaded_tables);
    register!(suite.on(&[Backend::Sqlite]): a_log_says_what_a_run_does);
}

/// How many rows a table has by the statistics of the database, about. 0: there are none.
async fn rows_by_statistics(target: &TestDatabase, table: &str) -> f64 {
    let tables = target.raw().await;
    let sql = match target.backend {
        Backend::Postgres => format!("SELECT reltuples::float8 FROM pg_class WHERE oid = '\"{table}\"'::regclass"),
        Backend::Sqlite => {
            format!("SELECT CAST(stat AS REAL) FROM sqlite_stat1 WHERE tbl = '{table}' LIMIT 1")
        }
        Backend::Mariadb | Backend::Mysql => format!(
            "SELECT n_rows + 0e0 FROM mysql.innodb_table_stats \
             WHERE database_name = DATABASE() AND LOWER(table_name) = LOWER('{table}')"
        ),
    };
    let found = query(&tables, &sql).await.first().map(|row| row.try_get_by_index::<f64>(0).expect("a number"));
    tables.close().await.expect("closed");
    found.unwrap_or_default().max(0.0)
}

async fn statistics_are_those_of_the_loaded_tables(target: TestDatabase) {
    // The tables are there already: so the database can be told to leave their statistics alone.
    let mut migrate = binary();
    migrate.args(["migrate", "up"]).env("DATABASE_URL", &target.url).env("RUST_LOG", "off");
    assert!(migrate.output().expect("the binary runs").status.success());
    let tables = target.raw().await;
    for table in ["Contact", "Identifier", "AdoptedContact"] {
        if target.backend.is_mysql() {
            execute(&tables, &format!(r#"ALTER TABLE "{table}" STATS_AUTO_RECALC = 0"#)).await;
        } else if target.backend == Backend::Postgres {
            execute(&tables, &format!(r#"ALTER TABLE "{table}" SET (autovacuum_enabled = false)"#)).await;
        }
    }
    tables.close().await.expect("closed");
    let rows = damaged_rows(121, 900);
    let mut old = Old::make(target.backend, OldKind::Prisma, &rows[..300]).await;
    let (ignore, max_join) = (old.file("ignore"), ["--max-join", "50", "--apply"]);
    let flags = [&["--ignore", ignore.as_str()], &max_join[..]].concat();
    for count in [300, 900] {
        super::cutover::replace(&mut old, &rows[..count]).await;
        let (status, done) = run(&mut old.adopt(&target, &flags));
        assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
        let tables = target.raw().await;
        for table in ["Contact", "Identifier", "AdoptedContact"] {
            let there = query(&tables, &format!(r#"SELECT COUNT(*) FROM "{table}""#)).await.remove(0);
            let there = f64::from(i32::try_from(there.try_get_by_index::<i64>(0).expect("a number")).expect("few"));
            let known = rows_by_statistics(&target, table).await;
            // MySQL estimates.
            assert!((known - there).abs() <= there * 0.3, "{table}: {there} rows, and {known} by the statistics");
        }
        tables.close().await.expect("closed");
    }
    old.drop().await;
}

async fn a_log_says_what_a_run_does(target: TestDatabase) {
    let old = Old::make(target.backend, OldKind::Prisma, &damaged_rows(122, 90)).await;
    let ignore = old.file("ignore");
    let log = |flags: &[&str]| {
        let mut command = old.adopt(&target, &[&["--ignore", ignore.as_str()], flags].concat());
        let (status, log) = refusal(command.env("RUST_LOG", "info").env("LOG_FORMAT", "json"));
        assert_eq!(status, 0, "{log}");
        log
    };
    let steps = |log: &str, message: &str| -> Vec<String> {
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let of_message = lines.filter(|line| line["message"] == json!(message));
        of_message.map(|line| line["step"].as_str().expect("a step").to_owned()).collect()
    };
    let dry = log(&[]);
    assert_eq!(steps(&dry, "a step is done"), ["reading", "deciding"], "{dry}");
    let applied = log(&["--apply"]);
    let all = ["reading", "deciding", "contacts", "identifiers", "merges", "statistics", "checking"];
    for message in ["a step begins", "a step is done"] {
        assert_eq!(steps(&applied, message), all, "{applied}");
    }
    let again = log(&["--apply"]);
    assert_eq!(steps(&again, "a step is done")[0], "looking for changes of others", "{again}");
    assert!(!again.contains("@example.com") && !applied.contains("@example.com"));
    old.drop().await;
}
