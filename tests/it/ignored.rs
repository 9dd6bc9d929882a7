//! Ignored identifiers: the phone number of a till joins nobody, for any caller and for any copy in memory.

use std::process::Output;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::{Api, Event, Refusal, Reply, Service, Suite, TestDatabase, binary, execute, query, register};
use crate::verify::{clean, findings, repairs, verify};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_request_is_handled_as_if_it_did_not_have_it,
        what_a_customer_owned_is_shown_and_joins_nobody,
        a_second_process_believes_no_copy,
        what_counts_again_goes_to_the_oldest_contact_that_shows_it,
        what_somebody_freed_is_found_and_held_again,
        a_contact_that_is_not_marked_is_found_and_marked,
        writers_beside_the_command_see_it_or_come_before_it,
    );
}

pub const TILL: &str = "0000000000";

pub fn run(database: &TestDatabase, arguments: &[&str]) -> Output {
    let mut command = binary();
    command.arg("ignore").args(arguments).env("DATABASE_URL", &database.url).env("RUST_LOG", "off");
    command.output().expect("the binary runs")
}

pub fn ignore(database: &TestDatabase, arguments: &[&str]) -> String {
    let done = run(database, arguments);
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
    assert!(done.status.success());
    String::from_utf8(done.stdout).unwrap()
}

pub async fn identify(service: &Service, email: Option<&str>, phone: Option<&str>) -> Result<Reply, Refusal> {
    service.caller().identify(Api::Grpc, email, phone).await
}

pub fn assert_refused(answer: Result<Reply, Refusal>) {
    let refusal = answer.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::FailedPrecondition, "IDENTIFIERS_IGNORED"));
    assert!(!refusal.retry && !refusal.message.contains(TILL), "{refusal:?}");
}

/// The outcome, and the header with what was left out.
async fn post(service: &Service, body: Value) -> (String, Option<String>) {
    let url = format!("http://{}/identify", service.http);
    let response = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    (header("identity-outcome").unwrap_or_default(), header("identity-ignored"))
}

async fn a_request_is_handled_as_if_it_did_not_have_it(database: TestDatabase) {
    database.store().await;
    assert_eq!(
        ignore(&database, &["add", "phone", TILL]),
        "ignored from now on: 1 (of customers: 0); ignored before: 0\n"
    );
    let said = ignore(&database, &["add", "phone", "000 000-0000"]);
    assert_eq!(said, "ignored from now on: 0 (of customers: 0); ignored before: 1\n");
    for flags in [&["--max-contacts", "1"][..], &["--cache-size", "0"]] {
        let service = Service::start_with(&database.url, flags).await;
        let name = |name: &str| format!("{name}@{}.de", flags[0].trim_start_matches("--"));
        let (one, two, three) = (name("one"), name("two"), name("three"));
        for outcome in ["created", "matched", "matched"] {
            let answer = identify(&service, Some(&one), Some(TILL)).await.unwrap();
            assert_eq!((answer.outcome, answer.phones.len()), (outcome, 0));
        }
        let (outcome, header) = post(&service, json!({"email": two, "phoneNumber": TILL})).await;
        assert_eq!((&outcome[..], header.as_deref()), ("created", Some("phoneNumber;reason=blocked")));
        assert_eq!(post(&service, json!({"email": two})).await, ("matched".to_owned(), None));
        for api in Api::BOTH {
            assert_refused(service.caller().identify(api, None, Some(TILL)).await);
        }
        let events = [Event::of(&one, TILL), Event::of(&three, TILL), Event::of("", TILL), Event::of(&three, TILL)];
        for api in Api::BOTH {
            let answers = service.caller().batch(api, &events).await.unwrap();
            let [one, three, nobody, again] = <[_; 4]>::try_from(answers).unwrap();
            let (one, three, again) = (one.unwrap(), three.unwrap(), again.unwrap());
            assert_eq!((one.outcome, again.outcome), ("matched", "matched"));
            assert!(one.primary != three.primary && three.primary == again.primary);
            assert_refused(nobody);
        }
        let all = service.caller().batch(Api::Grpc, &[Event::of("", TILL)]).await.unwrap();
        assert_refused(all.into_iter().next().unwrap());
        let answers = service.caller().stream(&events).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
        assert_refused(answers.into_iter().nth(2).unwrap());
        service.stop().await;
    }
    let tables = database.raw().await;
    let shown =
        query(&tables, r#"SELECT "id" FROM "Contact" WHERE "phoneNumber" = '0000000000' AND "flags" = 0"#).await;
    assert!(shown.is_empty(), "no contact was inserted with it");
    tables.close().await.unwrap();
    clean(&database);
}

/// Two customers who share a phone, each asked for by all that they have, so that copies are in memory.
async fn joined_by_a_phone(service: &Service, phone: &str) -> Reply {
    identify(service, Some("a@x.de"), Some(phone)).await.unwrap();
    let joined = identify(service, Some("b@x.de"), Some(phone)).await.unwrap();
    for _ in 0..3 {
        for (email, phone) in [(Some("a@x.de"), None), (None, Some(phone)), (Some("b@x.de"), Some(phone))] {
            assert_eq!(identify(service, email, phone).await.unwrap().primary, joined.primary);
        }
    }
    joined
}

async fn what_a_customer_owned_is_shown_and_joins_nobody(database: TestDatabase) {
    for (flags, phone) in [(&["--cache-size", "1048576"][..], "11111111"), (&["--cache-size", "0"], "22222222")] {
        let service = Service::start_with(&database.url, flags).await;
        let joined = joined_by_a_phone(&service, phone).await;
        let rows_before = shown_values(&database).await;
        let said = ignore(&database, &["add", "phone", phone]);
        assert_eq!(said, "ignored from now on: 1 (of customers: 1); ignored before: 0\n");
        assert_eq!(shown_values(&database).await[..rows_before.len()], rows_before, "no value is rewritten");
        assert_refused(identify(&service, None, Some(phone)).await);
        for _ in 0..3 {
            let known = identify(&service, Some("a@x.de"), None).await.unwrap();
            assert_eq!(
                (known.outcome, known.primary, known.secondaries.len()),
                ("matched", joined.primary, joined.secondaries.len())
            );
            assert!(known.phones.contains(&phone.to_owned()), "it is shown");
            // The copy that was just read must not answer for it.
            assert_refused(identify(&service, None, Some(phone)).await);
            let both = identify(&service, Some("b@x.de"), Some(phone)).await.unwrap();
            assert_eq!((both.outcome, both.primary), ("matched", joined.primary));
        }
        let stranger = identify(&service, Some(&format!("{phone}@x.de")), Some(phone)).await.unwrap();
        assert_eq!((stranger.outcome, stranger.phones.len()), ("created", 0));
        let linked = identify(&service, Some("a@x.de"), Some(&format!("{phone}9"))).await.unwrap();
        assert_eq!(linked.outcome, "linked");
        assert_refused(identify(&service, None, Some(phone)).await);
        let merged = identify(&service, Some(&format!("{phone}@x.de")), Some(&format!("{phone}9"))).await.unwrap();
        assert_eq!((merged.outcome, merged.primary), ("merged", joined.primary));
        assert_refused(identify(&service, None, Some(phone)).await);
        service.stop().await;
        clean(&database);
        let (status, report) = verify(&database, &["--repair"]);
        assert_eq!((status, repairs(&report).len()), (0, 0), "{report}");
    }
}

/// What the rows show, by id.
async fn shown_values(database: &TestDatabase) -> Vec<(i64, Option<String>, Option<String>)> {
    let tables = database.raw().await;
    let rows = query(&tables, r#"SELECT "id", "email", "phoneNumber" FROM "Contact" ORDER BY "id""#).await;
    let value = |row: &sea_orm::QueryResult, index| row.try_get_by_index(index).unwrap();
    let rows = rows.iter().map(|row| (row.try_get_by_index(0).unwrap(), value(row, 1), value(row, 2))).collect();
    tables.close().await.unwrap();
    rows
}

/// Each replica has copies, and the command is another process.
async fn a_second_process_believes_no_copy(database: TestDatabase) {
    let replicas = [Service::start(&database).await, Service::start(&database).await];
    for round in 0..4 {
        let phone = format!("30{round:06}");
        for replica in &replicas {
            joined_by_a_phone(replica, &phone).await;
        }
        let store = database.unmigrated_store().await;
        let mut transaction = identity::store::Store::begin(&store).await.unwrap();
        let identifier = identity::domain::Identifier::from_stored(identity::domain::IdentifierKind::Phone, &phone[..]);
        transaction.ignore(&identifier).await.unwrap();
        identity::store::Transaction::commit(transaction).await.unwrap();
        for (number, replica) in replicas.iter().enumerate() {
            let email = format!("stranger{number}{round}@x.de");
            let stranger = identify(replica, Some(&email), Some(&phone)).await.unwrap();
            assert_eq!(stranger.outcome, "created", "a copy was believed");
            assert_refused(identify(replica, None, Some(&phone)).await);
        }
    }
    for replica in replicas {
        replica.stop().await;
    }
    clean(&database);
}

async fn what_counts_again_goes_to_the_oldest_contact_that_shows_it(database: TestDatabase) {
    let service = Service::start(&database).await;
    let phone = "33333333";
    let joined = joined_by_a_phone(&service, phone).await;
    ignore(&database, &["add", "phone", phone]);
    let stranger = identify(&service, Some("c@x.de"), Some(phone)).await.unwrap();
    let said = ignore(&database, &["remove", "phone", phone]);
    assert_eq!(said, "count again: 1 (given to customers: 1); were not ignored: 0\n");
    let again = identify(&service, None, Some(phone)).await.unwrap();
    assert_eq!((again.outcome, again.primary), ("matched", joined.primary));
    let alone = identify(&service, Some("c@x.de"), None).await.unwrap();
    assert_eq!((alone.primary, alone.phones.len()), (stranger.primary, 0), "the command joins nobody");
    clean(&database);
    let merged = identify(&service, Some("c@x.de"), Some(phone)).await.unwrap();
    assert_eq!((merged.outcome, merged.primary), ("merged", joined.primary), "it counts as any other");
    // What nobody shows belongs to nobody.
    ignore(&database, &["add", "email", "Till@Shop.de"]);
    let said = ignore(&database, &["remove", "email", "till@shop.de"]);
    assert_eq!(said, "count again: 1 (given to customers: 0); were not ignored: 0\n");
    let said = ignore(&database, &["remove", "email", "till@shop.de"]);
    assert_eq!(said, "count again: 0 (given to customers: 0); were not ignored: 1\n");
    assert_eq!(identify(&service, Some("till@shop.de"), None).await.unwrap().outcome, "created");
    // Again and again.
    for _ in 0..3 {
        ignore(&database, &["add", "phone", phone]);
        assert_refused(identify(&service, None, Some(phone)).await);
        ignore(&database, &["remove", "phone", phone]);
        assert_eq!(identify(&service, None, Some(phone)).await.unwrap().primary, joined.primary);
    }
    service.stop().await;
    clean(&database);
}

/// A process of an older version frees it, because its row names a deleted contact. Then somebody else owns it.
async fn what_somebody_freed_is_found_and_held_again(database: TestDatabase) {
    let service = Service::start(&database).await;
    joined_by_a_phone(&service, "44444444").await;
    ignore(&database, &["add", "phone", "44444444"]);
    ignore(&database, &["add", "phone", TILL]);
    let tables = database.raw().await;
    execute(&tables, r#"DELETE FROM "Identifier" WHERE "kind" = 'phone'"#).await;
    let thief = identify(&service, Some("thief@x.de"), Some("44444444")).await.unwrap();
    assert_eq!((thief.outcome, thief.phones.len()), ("created", 1));
    let list: Value = serde_json::from_str(&ignore(&database, &["list", "--format", "json"])).unwrap();
    assert!(list["ignored"].as_array().unwrap().iter().all(|one| one["in_force"] == false), "{list}");
    let (status, report) = verify(&database, &[]);
    let found = findings(&report);
    assert_eq!((status, found.len()), (1, 2), "{report}");
    assert!(found.iter().all(|finding| finding.contains("ignored_not_held")), "{found:?}");
    let (_, planned) = verify(&database, &["--plan"]);
    assert_eq!(repairs(&planned).len(), 2, "{planned}");
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!((status, repairs(&report).len()), (0, 2), "{report}");
    clean(&database);
    for phone in ["44444444", TILL] {
        assert_refused(identify(&service, None, Some(phone)).await);
    }
    let thief = identify(&service, Some("thief@x.de"), Some("44444444")).await.unwrap();
    assert_eq!((thief.outcome, thief.phones.len()), ("matched", 1), "it is still shown");
    tables.close().await.unwrap();
    service.stop().await;
}

/// Somebody restored a deleted contact by SQL, or a process of an older version inserted one.
async fn a_contact_that_is_not_marked_is_found_and_marked(database: TestDatabase) {
    let service = Service::start(&database).await;
    let joined = joined_by_a_phone(&service, "55555555").await;
    ignore(&database, &["add", "phone", "55555555"]);
    let tables = database.raw().await;
    let unmarked = execute(&tables, r#"UPDATE "Contact" SET "flags" = 0 WHERE "flags" > 15"#).await;
    let stranger = format!(
        r#"INSERT INTO "Contact" ("email", "phoneNumber", "linkPrecedence", "createdAt", "updatedAt")
        SELECT NULL, "phoneNumber", "linkPrecedence", "createdAt", "updatedAt" FROM "Contact" WHERE "id" = {}"#,
        joined.primary
    );
    assert_eq!(execute(&tables, &stranger).await, 1);
    let (status, report) = verify(&database, &[]);
    let found = findings(&report);
    assert_eq!((status, found.len() as u64), (1, unmarked + 1), "{report}");
    assert!(found.iter().all(|finding| finding.contains("ignored_carried")), "{found:?}");
    let (status, report) = verify(&database, &["--repair"]);
    let all = repairs(&report);
    assert!(status == 0 && all.iter().all(|repair| repair["repair"] == "marked"), "{report}");
    assert_eq!(all.len() as u64, unmarked + 1, "nobody is joined, and nothing taken: {report}");
    clean(&database);
    assert_refused(identify(&service, None, Some("55555555")).await);
    tables.close().await.unwrap();
    service.stop().await;
}

/// Every request that begins after the command has ended leaves it out. What was joined before stays joined.
async fn writers_beside_the_command_see_it_or_come_before_it(database: TestDatabase) {
    // A busy machine must not look like a database that is away.
    let patient = ["--database-timeout", "30s"];
    let replicas =
        [Service::start_with(&database.url, &patient).await, Service::start_with(&database.url, &patient).await];
    let (mut before, mut after) = (0, 0);
    for round in 0..4 {
        let phone = format!("66{round:06}");
        let owned = round % 2 == 0;
        if owned {
            identify(&replicas[0], Some(&format!("first{round}@x.de")), Some(&phone)).await.unwrap();
        }
        let mut writers = JoinSet::new();
        for writer in 0..16 {
            let (caller, phone) = (replicas[writer % 2].caller(), phone.clone());
            writers.spawn(async move {
                let mut joined = Vec::new();
                for number in 0..8 {
                    let email = format!("w{round}x{writer}x{number}@x.de");
                    let answer = caller.identify(Api::Grpc, Some(&email), Some(&phone)).await.unwrap();
                    joined.push((email, answer));
                }
                joined
            });
        }
        let arguments = database.clone();
        let add = {
            let phone = phone.clone();
            tokio::task::spawn_blocking(move || ignore(&arguments, &["add", "phone", &phone]))
        };
        add.await.unwrap();
        let late = identify(&replicas[round % 2], Some(&format!("after{round}@x.de")), Some(&phone)).await.unwrap();
        assert_eq!((late.outcome, late.phones.len()), ("created", 0));
        let answers: Vec<(String, Reply)> = writers.join_all().await.into_iter().flatten().collect();
        let with = answers.iter().filter(|(_, answer)| !answer.phones.is_empty()).count();
        (before, after) = (before + with, after + answers.len() - with);
        let joined = answers.iter().find(|(_, answer)| !answer.phones.is_empty()).map(|(_, answer)| answer.primary);
        for (email, answer) in &answers {
            assert_eq!(answer.phones.is_empty(), Some(answer.primary) != joined, "{answer:?}");
            let now = identify(&replicas[0], Some(email), None).await.unwrap();
            assert_eq!((now.primary, now.phones.len()), (answer.primary, answer.phones.len()), "as it was answered");
        }
        for replica in &replicas {
            assert_refused(identify(replica, None, Some(&phone)).await);
        }
    }
    for replica in replicas {
        replica.stop().await;
    }
    assert!(before > 0 && after > 0, "{before} answers with it, and {after} without it");
    clean(&database);
}
