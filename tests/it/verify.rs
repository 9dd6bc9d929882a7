//! `identity verify`: databases that were broken by SQL, reported and repaired, alone and beside live traffic.

use std::time::{Duration, Instant};

use sea_orm::{DatabaseConnection, DbBackend};
use serde_json::{Value, json};
use url::Url;

use crate::harness::{
    Api, Backend, Checkouts, Components, Event, Proxy, Service, Suite, TestDatabase, binary, execute, query, register,
};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_clean_database_has_no_findings,
        every_broken_invariant_is_found_and_repaired,
        one_identifier_in_two_hands_is_a_merge,
        what_would_be_a_guess_is_left_alone,
        deletion_as_documented_is_no_finding,
        more_than_a_page,
        runs_beside_live_traffic,
        an_identity_with_many_damaged_rows_is_repaired_once,
        many_identities_are_repaired_in_a_while,
    );
    register!(suite.on(&[Backend::Postgres]):
        an_identity_whose_repair_is_too_slow_does_not_end_the_run,
        an_identity_that_stays_locked_does_not_end_the_run,
    );
    register!(suite.on(&Backend::SERVERS):
        a_repair_whose_commit_has_no_answer_is_reported_as_it_is,
        a_repair_of_which_nothing_is_known_says_so,
    );
    register!(suite.on(&[Backend::Sqlite, Backend::Postgres]): an_identity_whose_repair_fails_does_not_end_the_run);
}

/// What `identity verify --format json` says, and its exit status.
pub fn verify(database: &TestDatabase, flags: &[&str]) -> (i32, Value) {
    let flags = [&["verify", "--format", "json"], flags].concat();
    let done = binary().args(flags).env("DATABASE_URL", &database.url).env("RUST_LOG", "off").output();
    let done = done.expect("the binary runs");
    let said = String::from_utf8(done.stdout).expect("text");
    let complaint = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(complaint, "");
    (done.status.code().expect("an exit"), serde_json::from_str(&said).expect("one JSON object"))
}

/// The findings without what was done about them, sorted as text.
pub fn findings(report: &Value) -> Vec<String> {
    let strip = |finding: &Value| {
        let mut finding = finding.clone();
        let object = finding.as_object_mut().expect("an object");
        object.remove("repaired");
        object.remove("repairs");
        finding.to_string()
    };
    let mut findings: Vec<String> = report["findings"].as_array().expect("a list").iter().map(strip).collect();
    findings.sort();
    findings
}

pub fn clean(database: &TestDatabase) {
    let (status, report) = verify(database, &[]);
    assert_eq!((status, findings(&report)), (0, vec![]), "{report}");
}

/// A service's customers: 1 with secondaries 2 and 3, who was merged with 4; and 5, a stranger.
pub struct Customers {
    pub service: Service,
    pub tables: DatabaseConnection,
    /// The ids of contacts 1 to 5 (a cluster's ids are not consecutive).
    pub ids: [i64; 5],
}

impl Customers {
    pub async fn new(database: &TestDatabase) -> Self {
        let service = Service::start(database).await;
        let caller = service.caller();
        let call = async |email, phone| caller.identify(Api::Grpc, Some(email), phone).await.expect("an answer");
        let one = call("one@x.de", Some("1")).await.primary;
        let two = call("two@x.de", Some("1")).await.secondaries[0];
        let three = call("three@x.de", Some("1")).await.secondaries[1];
        let four = call("four@x.de", Some("4")).await.primary;
        assert_eq!(call("four@x.de", Some("1")).await.outcome, "merged");
        let five = call("five@x.de", Some("5")).await.primary;
        Self { service, tables: database.raw().await, ids: [one, two, three, four, five] }
    }

    pub async fn break_by(&self, sql: &str) {
        let mut sql = sql.to_owned();
        for (number, id) in (1..).zip(self.ids) {
            sql = sql.replace(&format!("${number}"), &id.to_string());
        }
        if self.tables.get_database_backend() == DbBackend::Sqlite {
            // A text is equal to no bytes there.
            sql = sql.replace("BYTES('x')", "X'78'").replace("BYTES('77')", "X'3737'");
        }
        let sql = sql.replace("BYTES", "");
        assert_eq!(execute(&self.tables, &sql).await, 1, "{sql}");
    }

    /// The same with the numbers 1 to 5 in place of ids.
    pub fn numbered(&self, findings: Vec<String>) -> Vec<String> {
        let number = |value: &mut Value| {
            if let Some(position) = value.as_i64().and_then(|id| self.ids.iter().position(|own| *own == id)) {
                *value = json!(position + 1);
            }
        };
        let renumber = |finding: String| {
            let mut finding: Value = serde_json::from_str(&finding).expect("JSON");
            let object = finding.as_object_mut().expect("an object");
            object.iter_mut().filter(|(name, _)| *name != "merge").for_each(|(_, value)| number(value));
            finding.to_string()
        };
        findings.into_iter().map(renumber).collect()
    }

    /// Whichever customer is asked for, the answer is the customer as it was, with this primary.
    pub async fn is_whole(&self, primary: usize) {
        for email in ["one@x.de", "two@x.de", "three@x.de", "four@x.de"] {
            let answer = self.service.caller().identify(Api::Http, Some(email), None).await.expect("an answer");
            assert_eq!((answer.outcome, answer.primary), ("matched", self.ids[primary - 1]), "{email}");
            assert_eq!((answer.emails.len(), answer.phones.len(), answer.secondaries.len()), (4, 2, 3));
        }
    }

    pub async fn end(self) {
        self.tables.close().await.unwrap();
        self.service.stop().await;
    }
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
        customers.is_whole(primary).await;
        if primary != 1 {
            let undo = r#"UPDATE "Contact" SET "createdAt" = '2000-01-01 00:00:00.000000' WHERE "id" = $1"#;
            customers.break_by(undo).await;
            assert_eq!(verify(&database, &["--repair"]).0, 0);
            primary = 1;
            customers.is_whole(primary).await;
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
    customers.is_whole(1).await;
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

/// Runs `verify` with these flags, and counts the identities that it repairs, or tries to.
fn verify_and_count(database: &TestDatabase, flags: &[&str]) -> (i32, Value, usize) {
    let mut verify = binary();
    verify.args(["verify", "--format", "json"]).args(flags).env("DATABASE_URL", &database.url);
    let done = verify.env("RUST_LOG", "identity::verify=debug").output().expect("the binary runs");
    let (report, log) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    let attempts = log.lines().filter(|line| line.contains("repairing an identity")).count();
    (done.status.code().unwrap(), serde_json::from_str(&report).expect("one JSON object"), attempts)
}

/// The repairs under all findings.
fn repairs(report: &Value) -> Vec<&Value> {
    let findings = report["findings"].as_array().expect("a list").iter();
    findings.filter_map(|finding| finding["repairs"].as_array()).flatten().collect()
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

/// Damages both customers, of whom the first cannot be repaired: its contact 2 cannot be written.
async fn one_of_two_is_not_repaired(customers: &Customers, database: &TestDatabase, flags: &[&str], failure: &str) {
    for damage in [
        r#"UPDATE "Contact" SET "linkPrecedence" = 'secondary' WHERE "id" = $5"#,
        r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = $3"#,
        r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = $4"#,
    ] {
        customers.break_by(damage).await;
    }
    let (status, report, attempts) = verify_and_count(database, &[&["--repair"], flags].concat());
    assert_eq!((status, attempts), (1, 2), "{report}");
    let counts = ["found", "repaired", "failed"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts, [3, 1, 2], "{report}");
    let failures: Vec<&str> =
        report["findings"].as_array().unwrap().iter().filter_map(|one| one["failure"].as_str()).collect();
    assert!(failures.iter().all(|one| one.contains(failure)), "{report}");
    let text = binary().args(["verify", "--repair"]).args(flags).env("DATABASE_URL", &database.url).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("\n  not repaired: ") && text.contains("2 findings, 2 failed, in "), "{text}");
}

async fn an_identity_whose_repair_fails_does_not_end_the_run(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let contact = customers.ids[2];
    let fail = if customers.tables.get_database_backend() == DbBackend::Sqlite {
        vec![format!(
            r#"CREATE TRIGGER "fails" BEFORE UPDATE OF "linkedId" ON "Contact" WHEN OLD."id" = {contact}
                BEGIN SELECT RAISE(ABORT, 'no'); END"#
        )]
    } else {
        postgres_trigger(contact, "RAISE EXCEPTION 'no'").to_vec()
    };
    break_and_repair(customers, &database, &fail, &[], "rejected").await;
}

/// The statements that make PostgreSQL do this at each update of the links of a contact.
fn postgres_trigger(contact: i64, action: &str) -> [String; 2] {
    [
        format!(r#"CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NEW; END $$"#),
        format!(
            r#"CREATE TRIGGER fails BEFORE UPDATE OF "linkedId" ON "Contact" FOR EACH ROW
                WHEN (OLD."id" = {contact}) EXECUTE FUNCTION fails()"#
        ),
    ]
}

async fn an_identity_whose_repair_is_too_slow_does_not_end_the_run(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let slow = postgres_trigger(customers.ids[2], "PERFORM pg_sleep(4)");
    let flags = ["--database-timeout", "1s"];
    break_and_repair(customers, &database, &slow, &flags, "not this statement within 1000 ms").await;
}

/// A line to the database on which a proxy sees the commits.
async fn line_to(database: &TestDatabase) -> (Proxy, TestDatabase) {
    let mut url = Url::parse(&database.url).unwrap();
    url.set_query(Some(if database.backend.is_mysql() { "ssl-mode=DISABLED" } else { "sslmode=disable" }));
    let line = Proxy::start(url.as_str()).await;
    let mut through = database.clone();
    through.url.clone_from(&line.url);
    (line, through)
}

/// The commit was carried out, and its answer was lost. The report has what it changed.
async fn a_repair_whose_commit_has_no_answer_is_reported_as_it_is(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let (line, through) = line_to(&database).await;
    for (damage, repair) in [
        (r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = $3"#, "linked"),
        (r#"INSERT INTO "Identifier" ("kind", "value", "contactId") VALUES ('email', BYTES('x'), $1)"#, "released"),
    ] {
        customers.break_by(damage).await;
        line.lose_commits(1);
        let report = through.clone();
        let (status, report) = tokio::task::spawn_blocking(move || verify(&report, &["--repair"])).await.unwrap();
        let [finding] = &report["findings"].as_array().unwrap()[..] else { panic!("{report}") };
        assert_eq!((status, &finding["repaired"], finding.get("failure")), (0, &json!(true), None), "{report}");
        let repairs: Vec<_> = repairs(&report).into_iter().map(|one| one["repair"].as_str().unwrap()).collect();
        assert_eq!(repairs, [repair], "{report}");
        assert_eq!(line.commits_to_lose(), 0);
    }
    clean(&database);
    customers.end().await;
}

/// The database is away after a commit, so nobody can read whether it was carried out.
async fn a_repair_of_which_nothing_is_known_says_so(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    customers.break_by(r#"UPDATE "Contact" SET "linkPrecedence" = 'primary' WHERE "id" = $3"#).await;
    let (line, through) = line_to(&database).await;
    line.down_after_commit();
    let run = move || binary().args(["verify", "--repair"]).env("DATABASE_URL", &through.url).output().unwrap();
    let done = tokio::task::spawn_blocking(run).await.unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(3), "{said}");
    assert!(said.contains("it is unknown whether the repair was carried out"), "{said}");
    customers.end().await;
}

/// Every attempt loses the race for a row.
async fn an_identity_that_stays_locked_does_not_end_the_run(database: TestDatabase) {
    let customers = Customers::new(&database).await;
    let locked = postgres_trigger(customers.ids[2], "RAISE EXCEPTION USING ERRCODE = '55P03'");
    break_and_repair(customers, &database, &locked, &[], "55P03").await;
}

async fn break_and_repair(
    customers: Customers,
    database: &TestDatabase,
    statements: &[String],
    flags: &[&str],
    failure: &str,
) {
    for sql in statements {
        execute(&customers.tables, sql).await;
    }
    one_of_two_is_not_repaired(&customers, database, flags, failure).await;
    customers.end().await;
}
