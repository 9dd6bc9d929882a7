//! A target in a schema of its own, in the PostgreSQL database that has the old table in another one.

use sea_orm::ConnectionTrait;
use serde_json::json;
use url::Url;

use super::kinds::check_tables;
use super::{Old, Tables, refusal, run, undo};
use crate::harness::{Api, Backend, Dump, Service, Suite, TestDatabase, execute, query, register};
use crate::old_tables::{OldKind, damaged_rows};
use crate::rights::statements;
use crate::verify;

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Postgres]):
        the_statements_of_the_guide_make_a_schema_beside_the_old_table,
        a_url_can_name_the_schema_of_the_service,
        tables_of_another_schema_are_never_emptied,
    );
}

const KIND: OldKind = OldKind::Prisma;

/// The old database, at a URL with this user or this path of schemas.
fn target_at(old: &Old, user: Option<&str>, options: Option<&str>) -> TestDatabase {
    let mut url = Url::parse(&old.database.url).expect("a URL");
    if let Some(user) = user {
        url.set_username(user).expect("a user");
        url.set_password(Some("change me")).expect("a password");
    }
    if let Some(options) = options {
        url.query_pairs_mut().append_pair("options", options);
    }
    let mut target = old.database.clone();
    target.url = url.into();
    target
}

/// The schemas that have a table of this name.
async fn schemas_of(database: &TestDatabase, table: &str) -> Vec<String> {
    let tables = database.raw().await;
    let sql = format!("SELECT schemaname::text FROM pg_tables WHERE tablename = '{table}' ORDER BY 1");
    let schemas = query(&tables, &sql).await.iter().map(|row| row.try_get_by_index(0).expect("a name")).collect();
    tables.close().await.expect("closed");
    schemas
}

/// The tables of the old system, which are in the schema `public`.
async fn old_schema(old: &Old) -> Dump {
    let mut all = old.content().await;
    all.retain(|table, _| table.starts_with("public."));
    all
}

/// The whole adoption: report, contacts, a service, and nothing but the tables of `schema` changed.
async fn adopt_within_the_database(old: &Old, target: &TestDatabase, from: &str, schema: &str) {
    let (before, ignore) = (old_schema(old).await, old.file("ignore"));
    let adopt = |flags: &[&str]| {
        let mut command = old.adopt(target, &[&["--ignore", ignore.as_str()], flags].concat());
        command.env("ADOPT_FROM", from);
        command
    };
    let (status, dry) = run(&mut adopt(&[]));
    assert_eq!((status, &dry["end"]), (0, &json!("dry_run")), "{dry}");
    assert_eq!(schemas_of(&old.database, "Identifier").await, [""; 0], "a dry run makes no table");
    let (status, done) = run(&mut adopt(&["--apply"]));
    assert_eq!((status, &done["end"]), (0, &json!("done")), "{done}");
    assert_eq!(done["report"], dry["report"]);
    let mut both = vec!["public".to_owned(), schema.to_owned()];
    both.sort();
    assert_eq!(schemas_of(&old.database, "Contact").await, both);
    for table in ["Identifier", "ContactMerge", "AdoptedContact", "Adoption", "seaql_migrations"] {
        assert_eq!(schemas_of(&old.database, table).await, [schema], "{table}");
    }
    check_tables(KIND, &old.rows, &Tables::of(target).await, true);
    verify::clean(target);
    let undone = undo(target).output().expect("the binary runs");
    assert!(undone.status.success(), "{}", String::from_utf8_lossy(&undone.stderr));
    assert!(old_schema(old).await == before, "--undo empties the tables of the service alone");
    assert_eq!(run(&mut adopt(&["--apply"])).0, 0);
    let service = Service::start(target).await;
    let created = service.caller().identify(Api::Grpc, Some("new@example.org"), None).await.expect("an answer");
    assert!(created.outcome == "created" && created.primary > old.rows.last().expect("rows").id);
    service.stop().await;
    verify::clean(target);
    assert!(old_schema(old).await == before, "the old table changed");
}

async fn the_statements_of_the_guide_make_a_schema_beside_the_old_table(database: TestDatabase) {
    let old = Old::make(database.backend, KIND, &damaged_rows(101, 120)).await;
    let name = old.database.url.rsplit('/').next().expect("a name").to_owned();
    let user = |word: &str| format!("{word}_{}", name.trim_start_matches("identity_test_"));
    let (own, reader) = (user("i"), user("r"));
    let admin = old.database.raw().await;
    for statement in statements("docs/adopting.md", "-- PostgreSQL: a schema of its own") {
        let statement = statement.replace("identity", &own).replace("reader", &reader).replace("shop", &name);
        admin.execute_unprepared(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let from = format!("{}?schema=public", target_at(&old, Some(&reader), None).url);
    let target = target_at(&old, Some(&own), None);
    adopt_within_the_database(&old, &target, &from, &own).await;
    // One user for both needs the right to read, and the name of the old schema.
    execute(&admin, &format!(r#"GRANT USAGE ON SCHEMA public TO {own}"#)).await;
    execute(&admin, &format!(r#"GRANT SELECT ON public."Contact" TO {own}"#)).await;
    let with_schema = format!("{}?schema=public", target.url);
    for (from, flags) in [(&target.url, &["--table", "public.Contact"][..]), (&with_schema, &[])] {
        let mut command = old.adopt(&database, &[&["--ignore", &old.file("ignore")], flags].concat());
        let (status, dry) = run(command.env("ADOPT_FROM", from));
        assert_eq!((status, &dry["end"]), (0, &json!("dry_run")), "{flags:?}: {dry}");
    }
    // A role that has set a path for itself belongs to the server, and outlives its database.
    execute(&admin, &format!("DROP OWNED BY {own}, {reader} CASCADE")).await;
    execute(&admin, &format!("DROP ROLE {own}, {reader}")).await;
    admin.close().await.expect("closed");
    old.drop().await;
}

async fn a_url_can_name_the_schema_of_the_service(database: TestDatabase) {
    let old = Old::make(database.backend, KIND, &damaged_rows(102, 60)).await;
    let target = target_at(&old, None, Some("-c search_path=service"));
    let from = format!("{}?schema=public", old.database.url);
    let mut too_early = old.adopt(&target, &["--ignore", &old.file("ignore"), "--apply"]);
    let (status, line) = refusal(too_early.env("ADOPT_FROM", &from));
    assert!(status == 3 && line.contains("schema"), "there is no such schema yet: {line}");
    let admin = old.database.raw().await;
    execute(&admin, "CREATE SCHEMA service").await;
    admin.close().await.expect("closed");
    adopt_within_the_database(&old, &target, &from, "service").await;
    old.drop().await;
}

/// The path has the schema of the old table too: a table that the service lacks must not be taken from there.
async fn tables_of_another_schema_are_never_emptied(database: TestDatabase) {
    let old = Old::make(database.backend, KIND, &damaged_rows(103, 60)).await;
    let admin = old.database.raw().await;
    execute(&admin, "CREATE SCHEMA service").await;
    let target = target_at(&old, None, Some("-c search_path=service,public"));
    let from = format!("{}?schema=public", old.database.url);
    adopt_within_the_database(&old, &target, &from, "service").await;
    let before = old_schema(&old).await;
    execute(&admin, "DELETE FROM service.\"Contact\" WHERE \"email\" = 'new@example.org'").await;
    for phase in ["done", "contacts", "undoing"] {
        execute(&admin, &format!("UPDATE service.\"Adoption\" SET \"phase\" = '{phase}'")).await;
        execute(&admin, "DROP TABLE IF EXISTS service.\"Contact\" CASCADE").await;
        let mut apply = old.adopt(&target, &["--ignore", &old.file("ignore"), "--apply"]);
        apply.env("ADOPT_FROM", &from);
        for mut command in [undo(&target), apply] {
            let (status, line) = refusal(&mut command);
            assert!(status == 3 && line.contains("lacks the table Contact"), "{phase}: {line}");
        }
        assert!(old_schema(&old).await == before, "{phase}: the old table changed");
    }
    admin.close().await.expect("closed");
    old.drop().await;
}
