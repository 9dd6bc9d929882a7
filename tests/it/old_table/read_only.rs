//! Nothing is written, SELECT is enough, and no file comes to be.

use std::path::PathBuf;

use identity::store::old_table::{OldTable, OldTableError};
use url::Url;

use super::{all_rows, options, refused};
use crate::harness::{Backend, Suite, TestDatabase, execute, query, register};
use crate::old_tables::{OldKind, damaged_rows};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&Backend::SERVERS):
        the_right_to_select_is_enough,
        a_column_without_the_right_is_not_overlooked,
    );
    register!(suite.on(&[Backend::Mysql]): sessions_of_mysql_cannot_write);
    register!(suite.on(&[Backend::Postgres]):
        sessions_of_postgresql_cannot_write,
        rows_behind_a_policy_are_not_left_out,
    );
    register!(suite.on(&[Backend::Sqlite]):
        the_file_of_sqlite_stays_as_it_is,
        a_symbolic_link_hides_no_row,
        a_file_after_a_crash_is_refused,
        a_file_that_is_missing_is_not_made,
    );
    register!(suite.on_all(): a_wrong_url_is_refused);
}

/// The database at this URL as another user.
fn url_of(database: &TestDatabase, user: &str) -> String {
    let mut url = Url::parse(&database.url).expect("a URL");
    url.set_username(user).expect("a user");
    url.set_password(Some("secret")).expect("a password");
    url.into()
}

async fn the_right_to_select_is_enough(database: TestDatabase) {
    let kind = if database.backend == Backend::Postgres { OldKind::Sequelize } else { OldKind::Prisma };
    kind.make(&database, &damaged_rows(5, 200)).await;
    let name = database.url.rsplit('/').next().unwrap().to_owned();
    let user = format!("r_{}", name.trim_start_matches("identity_test_"));
    let tables = database.raw().await;
    let is_postgres = database.backend == Backend::Postgres;
    if is_postgres {
        execute(&tables, &format!("CREATE ROLE {user} LOGIN PASSWORD 'secret'")).await;
    } else {
        execute(&tables, &format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'")).await;
        // Without a right in the database, MySQL takes no connection to it.
        execute(&tables, r#"CREATE TABLE "notes" ("id" INTEGER)"#).await;
        execute(&tables, &format!("GRANT SELECT ON {name}.notes TO '{user}'@'%'")).await;
    }
    let url = url_of(&database, &user);
    let named = options(kind.table(), &[], "");
    let without = OldTable::open(&url, &named).await.unwrap_err();
    if is_postgres {
        assert!(matches!(without, OldTableError::Rights(_)), "{without}");
        assert!(without.to_string().contains("grant SELECT"), "{without}");
        execute(&tables, &format!(r#"GRANT SELECT ON "{}" TO {user}"#, kind.table())).await;
    } else {
        assert!(without.to_string().contains("that the user of --from can see"), "{without}");
        execute(&tables, &format!("GRANT SELECT ON {name}.{} TO '{user}'@'%'", kind.table())).await;
    }
    let old = OldTable::open(&url, &named).await.unwrap();
    assert_eq!(all_rows(&old, 50).await.len(), 200);
    // While it is read, the right is taken away.
    let (right, from) = (format!(r#"SELECT ON "{}""#, kind.table()), if is_postgres { "" } else { "@'%'" });
    let user_name = if is_postgres { user.clone() } else { format!("'{user}'{from}") };
    execute(&tables, &format!("REVOKE {right} FROM {user_name}")).await;
    let revoked = old.rows_after(0, 9).await.unwrap_err();
    assert!(matches!(revoked, OldTableError::Rights(_)), "{revoked}");
    old.close().await;
    if is_postgres {
        execute(&tables, &format!("DROP ROLE {user}")).await;
    } else {
        execute(&tables, &format!("DROP USER {user_name}")).await;
    }
    tables.close().await.unwrap();
}

/// MySQL says what its sessions may do.
async fn sessions_of_mysql_cannot_write(database: TestDatabase) {
    OldKind::Prisma.make(&database, &damaged_rows(5, 20)).await;
    let old = super::open(&database).await;
    let name = database.url.rsplit('/').next().unwrap();
    let other = TestDatabase::create(database.backend).await;
    let tables = other.raw().await;
    for (variable, expected) in [("transaction_read_only", "ON"), ("transaction_isolation", "READ-COMMITTED")] {
        let sql = format!(
            "SELECT v.VARIABLE_VALUE FROM performance_schema.variables_by_thread v
            JOIN performance_schema.threads t USING (THREAD_ID)
            WHERE t.PROCESSLIST_DB = '{name}' AND v.VARIABLE_NAME = '{variable}'"
        );
        let sessions = query(&tables, &sql).await;
        let values: Vec<String> = sessions.iter().map(|row| row.try_get_by_index(0).unwrap()).collect();
        assert!(!values.is_empty() && values.iter().all(|value| value == expected), "{variable}: {values:?}");
    }
    old.close().await;
    tables.close().await.unwrap();
    other.drop().await;
}

/// A cast of PostgreSQL can be a function that writes. Here the read of each e-mail address is one.
async fn sessions_of_postgresql_cannot_write(database: TestDatabase) {
    let tables = database.raw().await;
    for sql in [
        "CREATE TYPE address AS ENUM ('a@x.de')",
        "CREATE TABLE seen (id integer)",
        "CREATE FUNCTION see(address) RETURNS text LANGUAGE sql VOLATILE \
         AS 'INSERT INTO seen VALUES (1); SELECT ''b@x.de''::text'",
        "CREATE CAST (address AS text) WITH FUNCTION see(address)",
        r#"CREATE TABLE "Contact" ("id" integer PRIMARY KEY, "email" address, "linkedId" integer, "createdAt" bigint)"#,
        r#"INSERT INTO "Contact" VALUES (1, 'a@x.de', NULL, NULL)"#,
    ] {
        execute(&tables, sql).await;
    }
    let old = super::open(&database).await;
    let error = old.rows_after(0, 9).await.unwrap_err();
    assert!(error.to_string().contains("25006"), "read-only transaction: {error}");
    assert_eq!(query(&tables, "SELECT * FROM seen").await.len(), 0);
    old.close().await;
    tables.close().await.unwrap();
}

/// A policy returns a part of the rows without an error, and then customers would be missing.
async fn rows_behind_a_policy_are_not_left_out(database: TestDatabase) {
    let tables = database.raw().await;
    OldKind::Sequelize.make(&database, &damaged_rows(5, 20)).await;
    let name = database.url.rsplit('/').next().unwrap().to_owned();
    let user = format!("p_{}", name.trim_start_matches("identity_test_"));
    for sql in [
        format!("CREATE ROLE {user} LOGIN PASSWORD 'secret'"),
        format!(r#"GRANT SELECT ON "Contacts" TO {user}"#),
        r#"ALTER TABLE "Contacts" ENABLE ROW LEVEL SECURITY"#.to_owned(),
        r#"CREATE POLICY few ON "Contacts" USING ("id" < 5)"#.to_owned(),
    ] {
        execute(&tables, &sql).await;
    }
    let url = url_of(&database, &user);
    let error = OldTable::open(&url, &options("", &[], "")).await.unwrap_err();
    assert!(matches!(error, OldTableError::Rights(_)) && error.to_string().contains("BYPASSRLS"), "{error}");
    execute(&tables, &format!("ALTER ROLE {user} BYPASSRLS")).await;
    let old = OldTable::open(&url, &options("", &[], "")).await.unwrap();
    assert_eq!(all_rows(&old, 50).await.len(), 20);
    old.close().await;
    execute(&tables, &format!("DROP OWNED BY {user}")).await;
    execute(&tables, &format!("DROP ROLE {user}")).await;
    tables.close().await.unwrap();
}

/// MySQL hides a column that the user may not read, as if each row were live.
async fn a_column_without_the_right_is_not_overlooked(database: TestDatabase) {
    let kind = if database.backend == Backend::Postgres { OldKind::Sequelize } else { OldKind::Prisma };
    kind.make(&database, &damaged_rows(5, 20)).await;
    let name = database.url.rsplit('/').next().unwrap().to_owned();
    let user = format!("c_{}", name.trim_start_matches("identity_test_"));
    let tables = database.raw().await;
    let is_postgres = database.backend == Backend::Postgres;
    let user_name = if is_postgres { user.clone() } else { format!("'{user}'@'%'") };
    let password = if is_postgres { "LOGIN PASSWORD" } else { "IDENTIFIED BY" };
    execute(&tables, &format!("CREATE USER {user_name} {password} 'secret'")).await;
    let columns = kind.columns().map(|column| format!(r#""{column}""#));
    let grant = async |columns: &[String]| {
        let columns = columns.join(", ");
        execute(&tables, &format!(r#"GRANT SELECT ({columns}) ON "{}" TO {user_name}"#, kind.table())).await;
    };
    grant(&columns[..7]).await;
    let error = OldTable::open(&url_of(&database, &user), &options("", &[], "")).await.unwrap_err();
    assert!(matches!(error, OldTableError::Rights(_)), "{error}");
    grant(&columns[7..]).await;
    let old = OldTable::open(&url_of(&database, &user), &options("", &[], "")).await.unwrap();
    assert_eq!(all_rows(&old, 50).await.len(), 20, "the right to read each column is enough");
    old.close().await;
    if is_postgres {
        execute(&tables, &format!("DROP OWNED BY {user}")).await;
    }
    execute(&tables, &format!("DROP USER {user_name}")).await;
    tables.close().await.unwrap();
}

fn file(database: &TestDatabase) -> PathBuf {
    let path = database.url.trim_start_matches("sqlite://");
    path.split('?').next().expect("a path").into()
}

fn files(database: &TestDatabase) -> Vec<String> {
    let folder = file(database).parent().expect("a folder").to_owned();
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

async fn the_file_of_sqlite_stays_as_it_is(database: TestDatabase) {
    for mode in ["DELETE", "WAL"] {
        let database = TestDatabase::create(database.backend).await;
        let tables = database.raw().await;
        query(&tables, &format!("PRAGMA journal_mode = {mode}")).await;
        tables.close().await.unwrap();
        OldKind::TypeOrm.make(&database, &damaged_rows(5, 200)).await;
        let (before, beside) = (std::fs::read(file(&database)).unwrap(), files(&database));
        let old = super::open(&database).await;
        assert_eq!(all_rows(&old, 50).await.len(), 200);
        old.close().await;
        assert!(std::fs::read(file(&database)).unwrap() == before, "{mode}");
        assert_eq!(files(&database), beside, "{mode}");
        // The old system begins to write while the table is read.
        let old = super::open(&database).await;
        assert_eq!(old.rows_after(0, 50).await.unwrap().len(), 50);
        let tables = database.raw().await;
        execute(&tables, r#"UPDATE "contact" SET "email" = 'new@example.com'"#).await;
        let rows = all_rows(&old, 50).await;
        assert_eq!(rows.len(), 200, "{mode}");
        assert!(rows.iter().all(|row| row.email.as_deref() == Some("new@example.com")), "{mode}");
        old.close().await;
        tables.close().await.unwrap();
        database.drop().await;
    }
}

/// SQLite puts its files beside the database itself, not beside the link.
async fn a_symbolic_link_hides_no_row(database: TestDatabase) {
    let tables = database.raw().await;
    query(&tables, "PRAGMA journal_mode = WAL").await;
    query(&tables, "PRAGMA wal_autocheckpoint = 0").await;
    OldKind::TypeOrm.create(database.backend, &tables).await;
    OldKind::TypeOrm.insert(database.backend, &tables, &damaged_rows(5, 20)).await;
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("old.db");
    std::os::unix::fs::symlink(file(&database), &link).unwrap();
    let url = format!("sqlite://{}", link.display());
    let old = OldTable::open(&url, &options("", &[], "")).await.unwrap();
    assert_eq!(all_rows(&old, 50).await.len(), 20, "the rows are in the -wal alone");
    old.close().await;
    tables.close().await.unwrap();
    // The old system begins to write while the table is read through the link.
    let old = OldTable::open(&url, &options("", &[], "")).await.unwrap();
    let tables = database.raw().await;
    execute(&tables, r#"DELETE FROM "contact" WHERE "linkedId" IS NULL"#).await;
    let left = query(&tables, r#"SELECT * FROM "contact""#).await.len();
    assert!(left < 20);
    assert_eq!(all_rows(&old, 50).await.len(), left);
    old.close().await;
    tables.close().await.unwrap();
}

/// A reader would make a new `-shm`, and leave it to a system that may not write to it.
async fn a_file_after_a_crash_is_refused(database: TestDatabase) {
    let tables = database.raw().await;
    query(&tables, "PRAGMA journal_mode = WAL").await;
    OldKind::TypeOrm.create(database.backend, &tables).await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("old.db");
    let wal = |path: &std::path::Path| format!("{}-wal", path.display());
    std::fs::copy(file(&database), &copy).unwrap();
    std::fs::copy(wal(&file(&database)), wal(&copy)).unwrap();
    tables.close().await.unwrap();
    let refusal = refused(&format!("sqlite://{}", copy.display()), &options("", &[], "")).await;
    assert!(refusal.contains("which a crash has left"), "{refusal}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no file is made");
}

async fn a_file_that_is_missing_is_not_made(database: TestDatabase) {
    let error = refused(&database.url, &options("", &[], "")).await;
    assert!(error.contains("there is no SQLite file at the path in --from"), "{error}");
    assert_eq!(files(&database), [""; 0]);
}

async fn a_wrong_url_is_refused(database: TestDatabase) {
    for (url, words) in [
        ("mongodb://h/d", "--from: must start with mysql://"),
        ("postgres://h/d?ssl_mode=require", "--from: must not have the parameter ssl_mode"),
    ] {
        let error = OldTable::open(url, &options("", &[], "")).await.unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(words), "{error}");
    }
    if database.backend == Backend::Sqlite {
        return;
    }
    let error = refused(&url_of(&database, "nobody"), &options("", &[], "")).await;
    assert!(error.starts_with("the database of the old table: ") && error.contains("user"), "{error}");
    assert!(!error.contains("secret") && !error.contains("nobody"), "{error}");
}
