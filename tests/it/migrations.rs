//! Migrations up, down, and many at once.

use sea_orm::ConnectionTrait;

use crate::harness::{Api, Backend, Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): up_down_up, many_replicas_at_once);
    register!(suite.on(&Backend::SERVERS): one_connection_is_enough);
    register!(suite.on_all(): a_half_done_step_is_done_again, a_foreign_contact_table_is_refused);
}

async fn up_down_up(database: TestDatabase) {
    let store = database.unmigrated_store().await;
    assert!(!store.is_migrated().await.unwrap());
    store.migrate_up().await.unwrap();
    assert!(store.is_migrated().await.unwrap());
    store.migrate_down(Some(1)).await.unwrap();
    let applied: Vec<bool> = store.migration_status().await.unwrap().iter().map(|one| one.applied).collect();
    assert_eq!(applied.iter().filter(|is_applied| !**is_applied).count(), 1);
    assert_eq!(applied.last(), Some(&false), "the last one is undone");
    store.migrate_down(None).await.unwrap();
    assert!(store.migration_status().await.unwrap().iter().all(|one| !one.applied));
    store.migrate_up().await.unwrap();
    store.migrate_up().await.unwrap();
    assert!(store.is_migrated().await.unwrap());
}

async fn many_replicas_at_once(database: TestDatabase) {
    let mut replicas = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let database = database.clone();
        replicas.spawn(async move { database.unmigrated_store().await.migrate_up().await });
    }
    for done in replicas.join_all().await {
        done.unwrap();
    }
    assert!(database.unmigrated_store().await.is_migrated().await.unwrap());
}

async fn one_connection_is_enough(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--database-connections", "1"]).await;
    service.caller().identify(Api::Grpc, Some("a@x.de"), None).await.unwrap();
    service.stop().await;
}

/// A crash between making a table and recording it: MySQL cannot roll the table back.
async fn a_half_done_step_is_done_again(database: TestDatabase) {
    let store = database.store().await;
    store.connection().execute_unprepared("DELETE FROM seaql_migrations").await.unwrap();
    store.migrate_up().await.unwrap();
    assert!(store.is_migrated().await.unwrap());
}

async fn a_foreign_contact_table_is_refused(database: TestDatabase) {
    let store = database.store().await;
    let sql = r#"INSERT INTO "Contact" ("email", "linkPrecedence", "createdAt", "updatedAt")
        VALUES ('a@b.c', 'primary', '2026-01-01 00:00:00', '2026-01-01 00:00:00')"#;
    crate::harness::execute(&store.connection(), sql).await;
    store.connection().execute_unprepared("DELETE FROM seaql_migrations").await.unwrap();
    let refusal = store.migrate_up().await.unwrap_err().to_string();
    assert!(refusal.contains("a table Contact with rows"), "{refusal}");
}
