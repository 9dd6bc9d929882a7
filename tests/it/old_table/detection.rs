//! Which table and columns are taken, and what the refusals say.

use identity::store::old_table::{OldTable, OldTableError};

use super::{open, options, read, refused};
use crate::harness::{Backend, Suite, TestDatabase, execute, register};
use crate::old_tables::{OldKind, damaged_rows};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        the_table_must_be_the_only_one_or_named,
        columns_are_found_or_mapped,
        text_ids_are_refused,
        an_id_that_is_not_above_zero_is_refused,
        the_table_of_this_service_is_nothing_to_adopt,
        tables_that_cannot_be_read_are_no_candidates,
        odd_names_are_quoted,
    );
    register!(suite.on(&[Backend::Postgres, Backend::Sqlite]): an_index_of_some_rows_is_no_key);
    register!(suite.on(&[Backend::Postgres]): a_key_that_includes_a_column);
    register!(suite.on(&[Backend::Sqlite]): another_schema_of_sqlite_is_refused);
    register!(suite.on(&[Backend::Postgres]): another_schema_of_the_same_database, ids_of_uuids_are_refused);
    register!(suite.on(&[Backend::Mysql, Backend::Mariadb]): another_database_of_the_same_server);
}

/// The bare minimum.
async fn create(database: &TestDatabase, name: &str) {
    create_with(database, name, "").await;
}

async fn create_with(database: &TestDatabase, name: &str, more: &str) {
    let tables = database.raw().await;
    let sql = format!(
        r#"CREATE TABLE "{name}" ("id" INTEGER PRIMARY KEY, "email" VARCHAR(99), "linked_id" INTEGER,
        "createdAt" BIGINT{more})"#
    );
    execute(&tables, &sql).await;
    tables.close().await.unwrap();
}

async fn run(database: &TestDatabase, sql: &str) {
    let tables = database.raw().await;
    execute(&tables, sql).await;
    tables.close().await.unwrap();
}

async fn the_table_must_be_the_only_one_or_named(database: TestDatabase) {
    if database.backend == Backend::Sqlite {
        run(&database, "CREATE TABLE notes (id INTEGER)").await;
    }
    let none = refused(&database.url, &options("", &[], "")).await;
    assert!(none.contains("no table is named Contact") && none.contains("--table"), "{none}");
    create(&database, "customers").await;
    let none = refused(&database.url, &options("Customer", &[], "")).await;
    assert!(none.contains("--table: there is no table Customer "), "{none}");
    let named = OldTable::open(&database.url, &options("CUSTOMERS", &[], "")).await.unwrap();
    assert_eq!(named.mapping().table(), "customers", "in any case of letters");
    named.close().await;
    create(&database, "contacts").await;
    assert_eq!(open(&database).await.mapping().table(), "contacts");
    create(&database, "Contact").await;
    let several = refused(&database.url, &options("", &[], "")).await;
    assert!(several.contains("the tables Contact, contacts could each"), "{several}");
    assert!(several.contains("--table"), "{several}");
    let one = OldTable::open(&database.url, &options("contacts", &[], "")).await.unwrap();
    assert_eq!(one.mapping().table(), "contacts");
    one.close().await;
    run(&database, r#"CREATE VIEW "seen" AS SELECT * FROM "contacts""#).await;
    let view = refused(&database.url, &options("seen", &[], "")).await;
    assert!(view.contains("there is no table seen") && view.contains("view"), "{view}");
}

async fn columns_are_found_or_mapped(database: TestDatabase) {
    create_with(&database, "contacts", r#", "mail" VARCHAR(99), "Tel Nr" VARCHAR(99)"#).await;
    let several = refused(&database.url, &options("", &[], "")).await;
    assert!(several.contains("the columns email, mail of the table contacts could each be email"), "{several}");
    let unknown = refused(&database.url, &options("", &["email=male"], "")).await;
    assert!(unknown.starts_with("--map email=male: ") && unknown.contains("Tel Nr"), "{unknown}");
    let sql = r#"INSERT INTO "contacts" ("id", "email", "mail", "Tel Nr") VALUES (1, 'a', 'b', 'c')"#;
    run(&database, sql).await;
    let rows = read(&database, &options("", &["email=mail", "phone=Tel Nr"], "")).await;
    assert_eq!((rows[&1].email.as_deref(), rows[&1].phone_number.as_deref()), (Some("b"), Some("c")));
    assert_eq!((rows[&1].precedence.as_str(), rows[&1].created_at), (None, None), "there are no such columns");
    create_with(&database, "people", r#", "is_deleted" INTEGER"#).await;
    let marked = refused(&database.url, &options("people", &[], "")).await;
    assert!(marked.contains("is_deleted") && marked.contains("--map deletedAt="), "{marked}");
    read(&database, &options("people", &["deletedAt="], "")).await;
    run(&database, r#"CREATE TABLE "loose" ("id" INTEGER PRIMARY KEY, "email" VARCHAR(9))"#).await;
    let error = OldTable::open(&database.url, &options("loose", &[], "")).await.unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("no column for linkedId"), "{error}");
    run(&database, r#"CREATE TABLE "keyless" ("id" INTEGER, "email" VARCHAR(9), "linked_id" INTEGER)"#).await;
    let keyless = refused(&database.url, &options("keyless", &[], "")).await;
    assert!(keyless.contains("the column id of the table keyless is no key"), "{keyless}");
    let ageless = r#"CREATE TABLE "ageless" ("id" INTEGER PRIMARY KEY, "email" VARCHAR(9), "linked_id" INTEGER)"#;
    run(&database, ageless).await;
    let error = OldTable::open(&database.url, &options("ageless", &[], "")).await.unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("--map createdAt= "), "{error}");
    assert_eq!(read(&database, &options("ageless", &["createdAt="], "")).await.len(), 0);
}

/// A form for mails is not a table of customers.
async fn tables_that_cannot_be_read_are_no_candidates(database: TestDatabase) {
    create(&database, "Contacts").await;
    let form = if database.backend == Backend::Sqlite { "Contact" } else { "contact" };
    run(&database, &format!(r#"CREATE TABLE "{form}" ("id" INTEGER PRIMARY KEY, "email" VARCHAR(9), "text" TEXT)"#))
        .await;
    let old = open(&database).await;
    assert_eq!(old.mapping().table(), "Contacts");
    old.close().await;
    run(&database, r#"DROP TABLE "Contacts""#).await;
    let refusal = refused(&database.url, &options("", &[], "")).await;
    assert!(refusal.contains("no column for linkedId"), "the only one is explained: {refusal}");
}

/// `"`, `` ` ``, `?` and `$1` stand for something in statements.
async fn odd_names_are_quoted(database: TestDatabase) {
    let quote = if database.backend.is_mysql() { '`' } else { '"' };
    let quoted = |name: &str| format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")));
    let (table, email, link) = (r#"odd " ` ? $1 .name"#, r#"e " ` ? $2"#, "linked to.");
    let tables = database.raw().await;
    let [name, mail, linked] = [table, email, link].map(quoted);
    for sql in [
        format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY, {mail} VARCHAR(9), {linked} INTEGER)"),
        format!("INSERT INTO {name} VALUES (1, 'a', NULL), (2, 'b', 1)"),
    ] {
        sea_orm::ConnectionTrait::execute_unprepared(&tables, &sql).await.unwrap();
    }
    tables.close().await.unwrap();
    let map = [format!("email={email}"), format!("linkedId={link}"), "createdAt=".to_owned()];
    let rows = read(&database, &options(table, &map.each_ref().map(String::as_str), "")).await;
    let read: Vec<_> = rows.values().map(|row| (row.email.as_deref(), row.linked_id)).collect();
    assert_eq!(read, [(Some("a"), None), (Some("b"), Some(1))]);
}

/// Two rows of a part that the index leaves out can have the same id.
async fn an_index_of_some_rows_is_no_key(database: TestDatabase) {
    let more = if database.backend == Backend::Postgres { " WHERE email IS NULL" } else { " WHERE linked_id IS NULL" };
    run(&database, "CREATE TABLE contacts (id INTEGER NOT NULL, email VARCHAR(9), linked_id INTEGER)").await;
    run(&database, &format!("CREATE UNIQUE INDEX some_ids ON contacts (id){more}")).await;
    let refusal = refused(&database.url, &options("", &["createdAt="], "")).await;
    assert!(refusal.contains("is no key"), "{refusal}");
    run(&database, "CREATE UNIQUE INDEX all_ids ON contacts (id)").await;
    read(&database, &options("", &["createdAt="], "")).await;
}

/// Index columns that are only carried along are no part of the key.
async fn a_key_that_includes_a_column(database: TestDatabase) {
    let sql = "CREATE TABLE contacts (id integer, email text, linked_id integer, PRIMARY KEY (id) INCLUDE (email))";
    run(&database, sql).await;
    read(&database, &options("", &["createdAt="], "")).await;
}

async fn another_schema_of_sqlite_is_refused(database: TestDatabase) {
    create(&database, "contacts").await;
    let refusal = refused(&database.url, &options("other.contacts", &[], "")).await;
    assert!(refusal.contains("there is no table other.contacts"), "{refusal}");
    read(&database, &options("main.contacts", &[], "")).await;
}

async fn text_ids_are_refused(database: TestDatabase) {
    let sql = r#"CREATE TABLE "contacts" ("id" VARCHAR(36) PRIMARY KEY, "email" VARCHAR(99), "linked_id" VARCHAR(36))"#;
    run(&database, sql).await;
    let error = OldTable::open(&database.url, &options("", &[], "")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("the column id of the table contacts is ") && text.contains("whole numbers"), "{text}");
    assert!(!error.is_usage());
}

async fn ids_of_uuids_are_refused(database: TestDatabase) {
    let sql = r#"CREATE TABLE "contacts" ("id" uuid PRIMARY KEY, "email" text, "linked_id" uuid)"#;
    run(&database, sql).await;
    let text = refused(&database.url, &options("", &[], "")).await;
    assert!(text.contains("the column id of the table contacts is uuid"), "{text}");
    run(&database, r#"ALTER TABLE "contacts" DROP COLUMN "id", ADD COLUMN "id" bigint PRIMARY KEY"#).await;
    let text = refused(&database.url, &options("", &[], "")).await;
    assert!(text.contains("the column linked_id of the table contacts is uuid"), "{text}");
}

async fn an_id_that_is_not_above_zero_is_refused(database: TestDatabase) {
    create(&database, "contacts").await;
    for id in [0, -7] {
        let tables = database.raw().await;
        execute(&tables, &format!(r#"INSERT INTO "contacts" ("id", "email") VALUES ({id}, 'a')"#)).await;
        let error = refused(&database.url, &options("", &[], "")).await;
        assert!(error.contains(&format!("the table contacts has a row with the id {id}:")), "{error}");
        execute(&tables, r#"DELETE FROM "contacts""#).await;
        tables.close().await.unwrap();
    }
    // A row that comes while the table is read.
    let old = open(&database).await;
    run(&database, r#"INSERT INTO "contacts" ("id", "email") VALUES (-1, 'a'), (1, 'b')"#).await;
    assert_eq!(old.rows_after(0, 9).await.unwrap().len(), 1);
    let error = old.rows_after(-9, 9).await.unwrap_err();
    assert!(matches!(error, OldTableError::BadId { .. }), "{error}");
    old.close().await;
}

async fn the_table_of_this_service_is_nothing_to_adopt(database: TestDatabase) {
    let store = database.store().await;
    for table in ["", "Contact"] {
        let error = refused(&database.url, &options(table, &[], "")).await;
        assert!(error.contains("the table Contact is that of this service already"), "{error}");
    }
    if database.backend == Backend::Sqlite {
        return; // Its names are the same in each case of letters.
    }
    create(&database, "contacts").await;
    assert_eq!(open(&database).await.mapping().table(), "contacts");
    drop(store);
}

async fn another_schema_of_the_same_database(database: TestDatabase) {
    let kind = OldKind::Sequelize;
    let made = kind.make(&database, &damaged_rows(3, 50)).await;
    for sql in [r#"CREATE SCHEMA "Old Shop""#, r#"ALTER TYPE "enum_Contacts_linkPrecedence" SET SCHEMA "Old Shop""#] {
        run(&database, sql).await;
    }
    run(&database, r#"ALTER TABLE "Contacts" SET SCHEMA "Old Shop""#).await;
    let elsewhere = refused(&database.url, &options("", &[], "")).await;
    assert!(elsewhere.contains("there is Old Shop.Contacts"), "{elsewhere}");
    let named = OldTable::open(&database.url, &options("Old Shop.contacts", &[], "")).await.unwrap();
    assert_eq!(named.mapping().table(), "Old Shop.Contacts");
    assert_eq!(named.count().await.unwrap(), made.len() as u64);
    named.close().await;
    let url = format!("{}?schema=Old%20Shop&connection_limit=1", database.url);
    let by_url = OldTable::open(&url, &options("", &[], "")).await.unwrap();
    assert_eq!(by_url.rows_after(0, 9).await.unwrap().len(), 9);
    by_url.close().await;
    let missing = refused(&database.url, &options("nowhere.contacts", &[], "")).await;
    assert!(missing.contains("there is no table nowhere.contacts"), "{missing}");
}

async fn another_database_of_the_same_server(database: TestDatabase) {
    let made = OldKind::Plain.make(&database, &damaged_rows(3, 50)).await;
    let other = TestDatabase::create(database.backend).await;
    let name = database.url.rsplit('/').next().unwrap();
    let elsewhere = refused(&other.url, &options("", &[], "")).await;
    assert!(elsewhere.contains(&format!("{name}.Contact")), "{elsewhere}");
    let rows = read(&other, &options(&format!("{name}.Contact"), &[], "")).await;
    assert_eq!(rows.len(), made.len());
    let begun = std::time::Instant::now();
    let missing = refused(&other.url, &options("nowhere.Contact", &[], "")).await;
    assert!(missing.contains("no database of the name before the dot in --table"), "{missing}");
    assert!(begun.elapsed().as_secs() < 5, "it is not tried again");
    other.drop().await;
}
