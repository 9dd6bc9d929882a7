//! `identity verify` on values that no request wrote: blank ones, ones that are not canonical, and malformed ones.

use sea_orm::DatabaseConnection;
use serde_json::{Value, json};

use crate::harness::{Api, Service, Suite, TestDatabase, binary, execute, query, register};
use crate::verify::{Customers, clean, findings, verify};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        strangers_are_not_joined_by_a_blank,
        a_contact_that_is_left_without_identifier_is_reported,
        a_value_that_is_not_canonical_is_made_canonical,
        the_phone_region_in_force_decides_what_is_canonical,
        what_is_one_identifier_once_canonical_is_a_join,
        a_malformed_value_is_reported_and_left,
        contacts_without_identifiers_are_refused_until_they_are_repaired,
    );
}

/// Inserts a contact as another program would: with these values and no row in `Identifier`.
async fn insert(tables: &DatabaseConnection, email: &str, phone: Option<&str>) {
    let phone = phone.map_or("NULL".to_owned(), |phone| format!("'{phone}'"));
    let sql = format!(
        r#"INSERT INTO "Contact" ("phoneNumber", "email", "linkPrecedence", "createdAt", "updatedAt")
        VALUES ({phone}, '{email}', 'primary', '2023-04-01 00:00:00', '2023-04-01 00:00:00')"#
    );
    assert_eq!(execute(tables, &sql).await, 1);
}

async fn count(tables: &DatabaseConnection, from: &str) -> usize {
    query(tables, &format!("SELECT 1 FROM {from}")).await.len()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// The kinds of findings, and what a repair did or would do about them.
fn outline(report: &Value) -> (Vec<String>, Vec<String>) {
    let text = |value: &Value, name: &str| value[name].as_str().expect("text").to_owned();
    let all = list(&report["findings"]);
    let mut kinds: Vec<String> = all.iter().map(|finding| text(finding, "finding")).collect();
    let repairs = all.iter().flat_map(|finding| list(&finding["repairs"]));
    let mut repairs: Vec<String> = repairs.map(|repair| text(&repair, "repair")).collect();
    kinds.sort();
    repairs.sort();
    (kinds, repairs)
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

async fn strangers_are_not_joined_by_a_blank(database: TestDatabase) {
    database.store().await;
    let tables = database.raw().await;
    insert(&tables, "ann@example.com", Some("")).await;
    insert(&tables, "bob@example.com", Some("")).await;
    insert(&tables, "eve@example.com", Some(" \t")).await;
    let expected = texts(&["blank", "blank", "blank", "not_owned", "not_owned", "not_owned"]);
    let (status, report) = verify(&database, &[]);
    assert_eq!((status, outline(&report).0), (1, expected.clone()), "{report}");
    let (status, plan) = verify(&database, &["--plan"]);
    assert_eq!((status, &plan["joins"], &plan["joins_planned"]), (1, &json!([]), &json!(0)), "{plan}");
    let repairs = texts(&["assigned", "assigned", "assigned", "cleared", "cleared", "cleared"]);
    assert_eq!(outline(&plan), (expected.clone(), repairs.clone()), "{plan}");
    assert_eq!(outline(&verify(&database, &[]).1).0, expected, "a plan changes nothing");
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!((status, outline(&report)), (0, (expected, repairs)), "{report}");
    clean(&database);
    let nothing = r#""Contact" WHERE "phoneNumber" IS NULL AND "linkedId" IS NULL"#;
    assert_eq!((count(&tables, nothing).await, count(&tables, r#""ContactMerge""#).await), (3, 0));
    tables.close().await.unwrap();
}

async fn a_contact_that_is_left_without_identifier_is_reported(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    customers.break_by(r#"UPDATE "Contact" SET "email" = '', "phoneNumber" = NULL WHERE "id" = $5"#).await;
    let (status, report) = verify(&database, &["--repair"]);
    let expected = [
        r#"{"contact":5,"finding":"blank","kind":"email"}"#,
        r#"{"contact":5,"finding":"no_identifier"}"#,
        r#"{"finding":"owner_without","kind":"email","owner":5}"#,
        r#"{"finding":"owner_without","kind":"phone","owner":5}"#,
    ];
    assert_eq!((status, customers.numbered(findings(&report))), (1, texts(&expected)), "{report}");
    let (status, left) = verify(&database, &["--repair"]);
    assert_eq!((status, customers.numbered(findings(&left))), (1, texts(&expected[1..2])), "{left}");
    customers.break_by(r#"UPDATE "Contact" SET "deletedAt" = "updatedAt" WHERE "id" = $5"#).await;
    clean(&database);
    customers.end().await;
}

async fn a_value_that_is_not_canonical_is_made_canonical(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let set = "UPDATE \"Contact\" SET \"email\" = ' Jose\u{301}.FIVE@X.de ', \"phoneNumber\" = '+1 555 600-0000'";
    customers.break_by(&format!("{set} WHERE \"id\" = $5")).await;
    let expected = [
        r#"{"contact":5,"finding":"not_canonical","kind":"email"}"#,
        r#"{"contact":5,"finding":"not_canonical","kind":"phone"}"#,
        r#"{"finding":"owner_without","kind":"email","owner":5}"#,
        r#"{"finding":"owner_without","kind":"phone","owner":5}"#,
    ];
    let (status, plan) = verify(&database, &["--plan"]);
    assert_eq!((status, customers.numbered(findings(&plan))), (1, texts(&expected)), "{plan}");
    let planned = ["assigned", "assigned", "made_canonical", "made_canonical", "released", "released"];
    assert_eq!((outline(&plan).1, &plan["joins"]), (texts(&planned), &json!([])), "{plan}");
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!((status, outline(&report).1), (0, texts(&planned)), "{report}");
    clean(&database);
    for (email, phone) in [(Some("jos\u{e9}.five@x.de"), None), (None, Some("+15556000000"))] {
        let answer = customers.service.caller().identify(Api::Grpc, email, phone).await.unwrap();
        assert_eq!((answer.outcome, answer.primary), ("matched", customers.ids[4]));
        assert_eq!((answer.emails.len(), answer.phones.len()), (1, 1));
    }
    customers.assert_complete(1).await;
    customers.end().await;
}

async fn the_phone_region_in_force_decides_what_is_canonical(database: TestDatabase) {
    let service = Service::start(&database).await;
    service.caller().identify(Api::Grpc, Some("a@x.de"), Some("030/123456")).await.unwrap();
    clean(&database);
    let germany = ["--phone-region", "DE"];
    let (status, report) = verify(&database, &germany);
    assert_eq!((status, outline(&report).0), (1, texts(&["not_canonical"])), "{report}");
    assert_eq!(verify(&database, &[&germany[..], &["--repair"]].concat()).0, 0);
    assert_eq!(verify(&database, &germany).0, 0);
    let found = service.caller().identify(Api::Grpc, None, Some("+4930123456")).await.unwrap();
    assert_eq!((found.outcome, &found.phones[..]), ("matched", &texts(&["+4930123456"])[..]));
    service.stop().await;
}

/// An identifier that is equal once it is canonical is the same identifier, so its contacts are one customer.
async fn what_is_one_identifier_once_canonical_is_a_join(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    customers.break_by(r#"UPDATE "Contact" SET "email" = 'Four@X.de' WHERE "id" = $5"#).await;
    // Nobody owns the canonical form of these two.
    insert(&customers.tables, "Neu@x.de", None).await;
    insert(&customers.tables, "NEU@x.de", None).await;
    let (status, plan) = verify(&database, &["--plan"]);
    assert_eq!((status, &plan["joins_planned"]), (1, &json!(2)), "{plan}");
    let join = json!({"repair": "merged", "survivor": customers.ids[0], "absorbed": customers.ids[4]});
    assert!(list(&plan["joins"]).contains(&join), "{plan}");
    let text = binary().args(["verify", "--plan"]).env("DATABASE_URL", &database.url).env("RUST_LOG", "off").output();
    let text = String::from_utf8(text.unwrap().stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("would merge") && lines[1].starts_with("would merge"), "joins first: {text}");
    assert!(!text.contains('@'), "no personal data: {text}");
    let merges = count(&customers.tables, r#""ContactMerge""#).await;
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!(status, 0, "{report}");
    clean(&database);
    assert_eq!(count(&customers.tables, r#""ContactMerge""#).await, merges + 2, "each join is recorded");
    let five = customers.service.caller().identify(Api::Grpc, None, Some("5")).await.unwrap();
    assert_eq!((five.primary, five.secondaries.len()), (customers.ids[0], 4));
    let new = customers.service.caller().identify(Api::Http, Some("neu@x.de"), None).await.unwrap();
    assert_eq!((new.outcome, new.emails, new.secondaries.len()), ("matched", texts(&["neu@x.de"]), 1));
    customers.end().await;
}

async fn a_malformed_value_is_reported_and_left(database: TestDatabase) {
    database.store().await;
    let tables = database.raw().await;
    insert(&tables, "new123", Some("1")).await;
    insert(&tables, "new123", Some("2")).await;
    let (status, report) = verify(&database, &["--repair"]);
    let kinds = texts(&["malformed", "malformed", "not_owned", "not_owned"]);
    assert_eq!((status, outline(&report).0, &report["repaired"]), (1, kinds, &json!(2)), "{report}");
    let (status, left) = verify(&database, &["--repair"]);
    assert_eq!((status, outline(&left).0), (1, texts(&["malformed", "malformed"])), "{left}");
    assert_eq!(count(&tables, r#""Contact" WHERE "linkedId" IS NULL AND "email" = 'new123'"#).await, 2);
    tables.close().await.unwrap();
}

async fn contacts_without_identifiers_are_refused_until_they_are_repaired(database: TestDatabase) {
    database.store().await;
    let tables = database.raw().await;
    insert(&tables, "a@x.de", Some("1")).await;
    insert(&tables, "b@x.de", Some("1")).await;
    for arguments in [&["migrate", "up"][..], &["serve"], &["serve", "--migrate", "false"]] {
        let done = binary().args(arguments).env("DATABASE_URL", &database.url).env("RUST_LOG", "off").output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!((done.status.code(), said.lines().count()), (Some(3), 1), "{said}");
        assert!(said.contains("no identifiers") && said.contains("verify --repair"), "{said}");
    }
    assert_eq!(verify(&database, &["--repair"]).0, 0);
    tables.close().await.unwrap();
    let service = Service::start(&database).await;
    let found = service.caller().identify(Api::Grpc, Some("b@x.de"), None).await.unwrap();
    assert_eq!((found.outcome, found.emails.len()), ("matched", 2));
    service.stop().await;
}
