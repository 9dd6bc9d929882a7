//! More rows than a page, live traffic, and many damaged rows.

use std::time::{Duration, Instant};

use sea_orm::DatabaseConnection;
use serde_json::{Value, json};

use super::{clean, findings, repairs, verify, verify_and_count};
use crate::harness::{Api, Checkouts, Components, Event, Service, Suite, TestDatabase, execute, query, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        more_than_a_page,
        runs_beside_live_traffic,
        an_identity_with_many_damaged_rows_is_repaired_once,
        many_identities_are_repaired_in_a_while,
    );
}

async fn more_than_a_page(database: TestDatabase) {
    let service = Service::start(&database).await;
    let event = |n| Event { email: Some(format!("e{n}@x.de")), phone: None };
    let events: Vec<Event> = (0..1_200).map(event).collect();
    for some in events.chunks(1_000) {
        service.caller().batch(Api::Grpc, some).await.unwrap();
    }
    let tables = database.raw().await;
    let sql = r#"UPDATE "Contact" SET "linkPrecedence" = 'secondary' WHERE "email" LIKE 'e%00@x.de'"#;
    let broken = execute(&tables, sql).await;
    let sql = r#"SELECT "id" FROM "Contact" WHERE "email" IN ('e5@x.de', 'e1199@x.de')"#;
    let sql = format!(r#"DELETE FROM "Identifier" WHERE "contactId" IN ({sql})"#);
    let released = execute(&tables, &sql).await;
    assert_eq!((broken, released), (11, 2));
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!((status, &report["found"]), (0, &json!(broken + released)));
    assert_eq!((&report["contacts"], &report["identifiers"]), (&json!(1_200), &json!(1_200)));
    clean(&database);
    Components::of(&events).assert_tables(&tables).await;
    tables.close().await.unwrap();
    service.stop().await;
}

/// Merges and links go on while it checks and repairs: no false alarm, and nothing is lost.
async fn runs_beside_live_traffic(database: TestDatabase) {
    let service = Service::start(&database).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let (caller, stopped) = (service.caller(), stop.clone());
    let load = tokio::spawn(async move {
        let mut checkouts = Checkouts::seeded(9);
        let mut sent = Vec::new();
        while !stopped.is_cancelled() {
            let events = checkouts.take(20);
            for answer in caller.batch(Api::Grpc, &events).await.unwrap() {
                answer.expect("no error reaches a caller");
            }
            sent.extend(events);
        }
        sent
    });
    let begun = Instant::now();
    let tables = database.raw().await;
    let mut repaired = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        let (status, report) = verify_beside(&database, false).await;
        assert_eq!((status, findings(&report)), (0, vec![]), "a false alarm");
        // Damage that the service does not mind, to rows that it is writing.
        let sql = r#"SELECT "id" FROM "Contact" WHERE "linkedId" IS NOT NULL ORDER BY "id" DESC LIMIT 20"#;
        for row in query(&tables, sql).await {
            let id: i64 = row.try_get_by_index(0).unwrap();
            execute(&tables, &format!(r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = {id}"#)).await;
        }
        let (status, report) = verify_beside(&database, true).await;
        assert_eq!(status, 0, "{report}");
        repaired += report["repaired"].as_u64().unwrap();
    }
    assert!(repaired > 0);
    stop.cancel();
    let sent = load.await.unwrap();
    clean(&database);
    Components::of(&sent).assert_tables(&tables).await;
    tables.close().await.unwrap();
    service.stop().await;
}

async fn verify_beside(database: &TestDatabase, repair: bool) -> (i32, Value) {
    let database = database.clone();
    let flags: &[&str] = if repair { &["--repair"] } else { &[] };
    tokio::task::spawn_blocking(move || verify(&database, flags)).await.unwrap()
}

/// As the reproduction of a slow repair on MySQL.
const DAMAGED: usize = 217;

/// Customers with these e-mail addresses: one for all of them with this phone number, or one each.
async fn many_contacts(database: &TestDatabase, phone: Option<&str>) -> DatabaseConnection {
    let service = Service::start(database).await;
    let event = |n| Event { email: Some(format!("e{n}@x.de")), phone: phone.map(str::to_owned) };
    let events: Vec<Event> = (0..=DAMAGED).map(event).collect();
    for answer in service.caller().batch(Api::Grpc, &events).await.unwrap() {
        answer.unwrap();
    }
    service.stop().await;
    database.raw().await
}

async fn an_identity_with_many_damaged_rows_is_repaired_once(database: TestDatabase) {
    let tables = many_contacts(&database, Some("1")).await;
    let damage = r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "linkedId" IS NOT NULL"#;
    assert_eq!(execute(&tables, damage).await, DAMAGED as u64);
    let (status, plan, _) = verify_and_count(&database, &["--plan"]);
    assert_eq!((status, findings(&plan).len(), repairs(&plan).len()), (1, DAMAGED, DAMAGED));
    let begun = Instant::now();
    let (status, report, attempts) = verify_and_count(&database, &["--repair"]);
    println!("{DAMAGED} damaged rows of one identity: {} ms", begun.elapsed().as_millis());
    assert_eq!((status, findings(&report).len(), repairs(&report).len(), attempts), (0, DAMAGED, DAMAGED, 1));
    assert_eq!((&report["repaired"], &report["failed"]), (&json!(DAMAGED), &json!(0)));
    clean(&database);

    // Nothing can be made of these, and one look says so.
    let damage = r#"UPDATE "Contact" SET "email" = 'nobody' WHERE "linkedId" IS NOT NULL"#;
    assert_eq!(execute(&tables, damage).await, DAMAGED as u64);
    let (status, report, attempts) = verify_and_count(&database, &["--repair"]);
    let left = findings(&report).iter().filter(|finding| finding.contains("malformed")).count();
    assert_eq!((status, left), (1, DAMAGED));
    assert!(attempts <= 2, "once for the contacts, and once for the identifiers: {attempts}");
    tables.close().await.unwrap();
}

/// MySQL took 35 times as long as PostgreSQL.
async fn many_identities_are_repaired_in_a_while(database: TestDatabase) {
    let tables = many_contacts(&database, None).await;
    let damage = r#"UPDATE "Contact" SET "linkPrecedence" = 'secondary' WHERE "email" <> 'e0@x.de'"#;
    assert_eq!(execute(&tables, damage).await, DAMAGED as u64);
    let begun = Instant::now();
    let (status, report, attempts) = verify_and_count(&database, &["--repair"]);
    println!("{DAMAGED} damaged identities: {} ms", begun.elapsed().as_millis());
    assert_eq!((status, findings(&report).len(), attempts), (0, DAMAGED, DAMAGED));
    clean(&database);
    tables.close().await.unwrap();
}
