//! Each invariant, broken by SQL: what is found, and what is repaired.

use serde_json::json;

use super::{Customers, clean, findings, verify};
use crate::harness::{Api, Checkouts, Service, Suite, TestDatabase, binary, query, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_clean_database_has_no_findings,
        every_broken_invariant_is_found_and_repaired,
        one_identifier_in_two_hands_is_a_merge,
        what_would_be_a_guess_is_left_alone,
        deletion_as_documented_is_no_finding,
    );
}

async fn a_clean_database_has_no_findings(database: TestDatabase) {
    let service = Service::start(&database).await;
    clean(&database);
    let events = Checkouts::seeded(4).take(300);
    for answer in service.caller().batch(Api::Grpc, &events).await.unwrap() {
        answer.unwrap();
    }
    let (status, report) = verify(&database, &[]);
    assert_eq!((status, findings(&report)), (0, vec![]));
    let tables = database.raw().await;
    for (table, name) in [("Contact", "contacts"), ("Identifier", "identifiers"), ("ContactMerge", "merges")] {
        let count = query(&tables, &format!(r#"SELECT * FROM "{table}""#)).await.len();
        assert!(count > 0);
        assert_eq!(report[name], json!(count), "every row was looked at");
    }
    tables.close().await.unwrap();
    let text = binary().args(["verify"]).env("DATABASE_URL", &database.url).env("RUST_LOG", "off").output().unwrap();
    assert!(text.status.success());
    assert!(String::from_utf8(text.stdout).unwrap().starts_with("0 findings, in "));
    service.stop().await;
}

/// What is done to the tables, what is found, and who is the primary once it is repaired.
const BROKEN: [(&str, &[&str], usize); 11] = [
    (
        r#"UPDATE "Contact" SET "linkedId" = $2 WHERE "id" = $3"#,
        &[
            r#"{"contact":3,"finding":"link_not_flat","linked_to":2}"#,
            r#"{"contact":3,"finding":"owned_twice","kind":"phone","owner":1}"#,
        ],
        1,
    ),
    (
        r#"UPDATE "Contact" SET "linkedId" = $1 WHERE "id" = $1"#,
        &[
            r#"{"contact":1,"finding":"link_not_flat","linked_to":1}"#,
            r#"{"contact":1,"finding":"precedence","linked_to":1}"#,
            r#"{"contact":2,"finding":"link_not_flat","linked_to":1}"#,
            r#"{"contact":3,"finding":"link_not_flat","linked_to":1}"#,
            r#"{"contact":4,"finding":"link_not_flat","linked_to":1}"#,
        ],
        1,
    ),
    (
        r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = $2"#,
        &[r#"{"contact":2,"finding":"precedence","linked_to":1}"#],
        1,
    ),
    (
        r#"UPDATE "Contact" SET "linkPrecedence" = 'secondary' WHERE "id" = $1"#,
        &[r#"{"contact":1,"finding":"precedence","linked_to":null}"#],
        1,
    ),
    (
        r#"UPDATE "Contact" SET "createdAt" = '2001-01-01 00:00:00.000000' WHERE "id" = $2"#,
        &[r#"{"contact":2,"finding":"primary_not_oldest","primary":1}"#],
        2,
    ),
    (
        r#"DELETE FROM "Identifier" WHERE "contactId" = $2"#,
        &[r#"{"contact":2,"finding":"not_owned","kind":"email"}"#],
        1,
    ),
    (
        r#"UPDATE "Identifier" SET "contactId" = 999999 WHERE "contactId" = $3"#,
        &[
            r#"{"contact":3,"finding":"not_owned","kind":"email"}"#,
            r#"{"finding":"owner_missing","kind":"email","owner":999999}"#,
        ],
        1,
    ),
    (
        r#"UPDATE "Identifier" SET "contactId" = $3 WHERE "contactId" = $2"#,
        &[
            r#"{"contact":2,"finding":"not_owned","kind":"email"}"#,
            r#"{"finding":"owner_without","kind":"email","owner":3}"#,
        ],
        1,
    ),
    (
        r#"INSERT INTO "Identifier" ("kind", "value", "contactId") VALUES ('loyalty card', BYTES('x'), $2)"#,
        &[r#"{"finding":"owner_without","kind":"loyalty card","owner":2}"#],
        1,
    ),
    (
        r#"INSERT INTO "Identifier" ("kind", "value", "contactId") VALUES ('phone', BYTES('77'), 999999)"#,
        &[r#"{"finding":"owner_missing","kind":"phone","owner":999999}"#],
        1,
    ),
    (
        r#"UPDATE "Contact" SET "linkedId" = NULL, "linkPrecedence" = 'primary' WHERE "id" = $3"#,
        &[r#"{"contact":3,"finding":"owned_twice","kind":"phone","owner":1}"#],
        1,
    ),
];

async fn every_broken_invariant_is_found_and_repaired(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let mut primary = 1;
    for (sql, expected, primary_then) in BROKEN {
        customers.break_by(sql).await;
        let (status, report) = verify(&database, &[]);
        assert_eq!(status, 1, "{sql}: {report}");
        assert_eq!(customers.numbered(findings(&report)), expected, "{sql}");
        let (again, same) = verify(&database, &[]);
        assert_eq!((again, findings(&same)), (1, findings(&report)), "a report changes nothing");
        let (status, repaired) = verify(&database, &["--repair"]);
        assert_eq!(status, 0, "{sql}: {repaired}");
        assert_eq!(repaired["found"], repaired["repaired"], "{sql}: {repaired}");
        let repairs =
            repaired["findings"].as_array().unwrap().iter().filter(|finding| finding.get("repairs").is_some());
        assert!(repairs.count() > 0, "it says what it did: {repaired}");
        clean(&database);
        primary = primary_then.max(primary);
        customers.assert_complete(primary).await;
        if primary != 1 {
            let undo = r#"UPDATE "Contact" SET "createdAt" = '2000-01-01 00:00:00.000000' WHERE "id" = $1"#;
            customers.break_by(undo).await;
            assert_eq!(verify(&database, &["--repair"]).0, 0);
            primary = 1;
            customers.assert_complete(primary).await;
        }
    }
    customers.end().await;
}

async fn one_identifier_in_two_hands_is_a_merge(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    customers.break_by(r#"UPDATE "Contact" SET "phoneNumber" = '4' WHERE "id" = $5"#).await;
    let (status, report) = verify(&database, &[]);
    let expected = [
        r#"{"contact":5,"finding":"owned_twice","kind":"phone","owner":4}"#,
        r#"{"finding":"owner_without","kind":"phone","owner":5}"#,
    ];
    assert_eq!((status, customers.numbered(findings(&report))), (1, expected.map(str::to_owned).to_vec()));
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!(status, 0, "{report}");
    clean(&database);
    let answer = customers.service.caller().identify(Api::Grpc, Some("five@x.de"), None).await.unwrap();
    assert_eq!((answer.outcome, answer.primary), ("matched", customers.ids[0]));
    assert_eq!((answer.emails.len(), answer.secondaries.len()), (5, 4));
    let sql = format!(r#"SELECT * FROM "ContactMerge" WHERE "absorbedId" = {}"#, customers.ids[4]);
    assert_eq!(query(&customers.tables, &sql).await.len(), 1, "the merge is recorded");
    customers.end().await;
}

async fn what_would_be_a_guess_is_left_alone(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    customers.break_by(r#"UPDATE "ContactMerge" SET "survivorId" = 999999"#).await;
    for flags in [&[][..], &["--repair"]] {
        let (status, report) = verify(&database, flags);
        assert_eq!((status, &report["repaired"]), (1, &json!(0)), "{report}");
        assert_eq!(report["findings"][0]["finding"], "merge_of_nobody");
        assert_eq!(report["findings"][0]["contact"], 999_999);
    }
    customers.break_by(r#"UPDATE "ContactMerge" SET "survivorId" = $5"#).await;
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!((status, findings(&report).len()), (1, 1), "{report}");
    assert_eq!(report["findings"][0]["finding"], "merge_undone");
    customers.assert_complete(1).await;
    customers.end().await;
}

/// As operators delete: with SQL, a contact at a time.
async fn deletion_as_documented_is_no_finding(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let delete = |number: u32| format!(r#"UPDATE "Contact" SET "deletedAt" = "updatedAt" WHERE "id" = ${number}"#);
    // What it alone brought is free for the next request.
    customers.break_by(&delete(2)).await;
    clean(&database);
    // The primary: its phone number is carried by a secondary too, and stays with the identity.
    customers.break_by(&delete(1)).await;
    clean(&database);
    let left = customers.service.caller().identify(Api::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((left.outcome, left.primary), ("matched", customers.ids[2]));
    assert_eq!(left.emails, ["three@x.de", "four@x.de"]);
    // Damage beside it is repaired, and then a live contact is the primary.
    customers.break_by(r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = $3"#).await;
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!(status, 0, "{report}");
    assert_eq!(customers.numbered(findings(&report)), [r#"{"contact":3,"finding":"precedence","linked_to":1}"#]);
    clean(&database);
    let after = customers.service.caller().identify(Api::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((after.outcome, after.primary, after.emails), ("matched", customers.ids[2], left.emails));
    customers.end().await;
}
