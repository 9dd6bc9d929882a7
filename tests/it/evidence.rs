//! Evidence: each set of identifiers that was seen together is stored once, by a contact or in table `Evidence`.

use std::sync::Arc;
use std::time::Duration;

use identity::store::entity::contact_merge::MergeCause;
use identity::store::entity::{contact, evidence, identifier};
use sea_orm::{DatabaseConnection, EntityTrait, QueryOrder};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    Api, Caller, Components, Event, Process, Service, Suite, TestDatabase, binary, execute, query, register,
};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_pair_that_no_contact_carries_is_stored_once,
        a_batch_and_a_merge_store_their_sets,
        causes_of_older_versions_are_copied,
        what_deleted_contacts_owned_takes_its_sets_along,
        a_set_of_a_contact_that_is_gone_is_stored_anew,
        an_ignored_identifier_leaves_its_sets,
        what_counts_again_for_nobody_takes_its_sets_along,
        broken_evidence_is_found_and_repaired,
        a_pair_is_stored_once_under_many_callers,
    );
}

fn event(email: &str, phone: &str) -> Event {
    Event { email: Some(email.to_owned()), phone: Some(phone.to_owned()) }
}

pub async fn identify(caller: &Caller, email: &str, phone: &str) -> &'static str {
    caller.identify(Api::Grpc, Some(email), Some(phone)).await.expect("an answer").outcome
}

/// All rows, as text.
async fn dump(tables: &DatabaseConnection) -> String {
    let contacts = contact::Entity::find().order_by_asc(contact::Column::Id).all(tables).await.expect("contacts");
    let identifiers = identifier::Entity::find().order_by_asc(identifier::Column::Value).all(tables).await;
    format!("{contacts:?}{:?}{:?}", identifiers.expect("identifiers"), rows(tables).await)
}

pub async fn rows(tables: &DatabaseConnection) -> Vec<evidence::Model> {
    evidence::Entity::find().order_by_asc(evidence::Column::Id).all(tables).await.expect("evidence")
}

fn set(row: &evidence::Model) -> Vec<(&str, &str)> {
    let MergeCause(identifiers) = &row.identifiers;
    identifiers.iter().map(|one| (&one.kind[..], &one.value[..])).collect()
}

async fn a_pair_that_no_contact_carries_is_stored_once(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    let version = async || contact::Entity::find_by_id(1).one(&tables).await.expect("rows").expect("1").updated_at;
    let seen = [("a@x.de", "111111"), ("b@x.de", "111111"), ("b@x.de", "222222")];
    let mut outcomes = Vec::new();
    for (email, phone) in seen {
        outcomes.push(identify(&caller, email, phone).await);
    }
    assert_eq!(outcomes, ["created", "linked", "linked"]);
    assert!(rows(&tables).await.is_empty());
    let before = version().await;
    assert_eq!(identify(&caller, "a@x.de", "222222").await, "matched");
    let stored = rows(&tables).await;
    assert_eq!(stored.len(), 1);
    assert_eq!(set(&stored[0]), [("email", "a@x.de"), ("phone", "222222")]);
    assert_eq!((&stored[0].origin[..], stored[0].contact_id, stored[0].retracted_by), ("match", 1, None));
    assert!(version().await > before, "the root is written");
    let before = dump(&tables).await;
    for (email, phone) in seen.into_iter().chain([("a@x.de", "222222"), ("a@x.de", "222222")]) {
        assert_eq!(identify(&caller, email, phone).await, "matched");
    }
    let again = Service::start(&database).await;
    assert_eq!(identify(&again.caller(), "a@x.de", "222222").await, "matched", "of a replica that has no copy");
    assert!(dump(&tables).await == before, "the second time nothing is written");
    again.stop().await;
    service.stop().await;
    tables.close().await.expect("closed");
}

async fn a_batch_and_a_merge_store_their_sets(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    let mut events = vec![event("a@x.de", "111111"), event("b@x.de", "111111"), event("b@x.de", "222222")];
    events.extend([event("a@x.de", "222222"), event("a@x.de", "222222"), event("c@x.de", "333333")]);
    for answer in caller.batch(Api::Grpc, &events).await.expect("answers") {
        answer.expect("an answer");
    }
    assert_eq!(rows(&tables).await.len(), 1);
    events.push(event("c@x.de", "111111"));
    assert_eq!(identify(&caller, "c@x.de", "111111").await, "merged");
    let stored = rows(&tables).await;
    assert_eq!(stored.iter().map(|row| &row.origin[..]).collect::<Vec<_>>(), ["match", "merge"]);
    assert_eq!(identify(&caller, "c@x.de", "111111").await, "matched");
    assert_eq!(rows(&tables).await, stored);
    Components::of(&events).assert_tables(&tables).await;
    service.stop().await;
    tables.close().await.expect("closed");
}

pub fn command(database: &TestDatabase, args: &[&str]) -> (Option<i32>, String) {
    let mut command = binary();
    command.args(args).env("DATABASE_URL", &database.url).env("RUST_LOG", "off");
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

/// As a process of an older version does, a merge is recorded without its set.
async fn causes_of_older_versions_are_copied(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    for number in 0..200 {
        identify(&caller, &format!("e{number}@x.de"), &format!("55500{number}")).await;
    }
    let mut events: Vec<Event> = (0..200).map(|n| event(&format!("e{n}@x.de"), &format!("55500{n}"))).collect();
    for number in 1..200 {
        let pair = event(&format!("e{}@x.de", number - 1), &format!("55500{number}"));
        identify(&caller, pair.email.as_deref().expect("one"), pair.phone.as_deref().expect("one")).await;
        events.push(pair);
    }
    let merged = rows(&tables).await;
    assert_eq!(merged.len(), 199);
    execute(&tables, r#"DELETE FROM "Evidence""#).await;
    execute(&tables, r#"UPDATE "EvidenceState" SET "completeSince" = NULL"#).await;
    assert_eq!(command(&database, &["migrate", "up"]).0, Some(0));
    let copied = rows(&tables).await;
    let sets = |rows: &[evidence::Model]| {
        let mut sets: Vec<String> = rows.iter().map(|row| format!("{:?} {}", set(row), row.origin)).collect();
        sets.sort();
        sets
    };
    assert_eq!(sets(&copied), sets(&merged));
    Components::of(&events).assert_tables(&tables).await;
    // Another one comes from a replica that is still old.
    execute(&tables, &format!(r#"DELETE FROM "Evidence" WHERE "id" = {}"#, copied[7].id)).await;
    let (status, said) = command(&database, &["migrate", "finish"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("complete since"), "{said}");
    assert_eq!(rows(&tables).await.len(), 199);
    let complete = query(&tables, r#"SELECT 1 FROM "EvidenceState" WHERE "completeSince" IS NOT NULL"#).await;
    assert_eq!(complete.len(), 1);
    assert_eq!(command(&database, &["migrate", "finish"]), (Some(0), said), "the second time changes nothing");
    service.stop().await;
    tables.close().await.expect("closed");
}

async fn what_deleted_contacts_owned_takes_its_sets_along(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--cache-size=0"]).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    for (email, phone) in [("a@x.de", "111111"), ("b@x.de", "111111"), ("b@x.de", "222222"), ("a@x.de", "222222")] {
        identify(&caller, email, phone).await;
    }
    assert_eq!(rows(&tables).await.len(), 1);
    execute(&tables, r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "id" = 3"#).await;
    // 222222 belongs to nobody now: its row is freed, and the set goes with it.
    assert_eq!(identify(&caller, "new@x.de", "222222").await, "created");
    assert!(rows(&tables).await.is_empty());
    assert_eq!(identify(&caller, "a@x.de", "222222").await, "merged");
    assert_eq!(rows(&tables).await.len(), 1);
    assert_eq!(verify(&database, &[]).0, Some(0));
    service.stop().await;
    tables.close().await.expect("closed");
}

/// An operator deletes a contact by SQL, and its identifiers. The rows of its sets stay, and lead nowhere.
async fn a_set_of_a_contact_that_is_gone_is_stored_anew(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--cache-size=0"]).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    for (email, phone) in [("a@x.de", "111111"), ("b@x.de", "111111"), ("a@x.de", "333333"), ("a@x.de", "444444")] {
        identify(&caller, email, phone).await;
    }
    for phone in ["333333", "444444"] {
        assert_eq!(identify(&caller, "b@x.de", phone).await, "matched");
    }
    let before = rows(&tables).await;
    assert_eq!(before.iter().map(|row| row.contact_id).collect::<Vec<_>>(), [2, 2]);
    for table in [r#""Contact" WHERE "id""#, r#""Identifier" WHERE "contactId""#] {
        execute(&tables, &format!("DELETE FROM {table} = 2")).await;
    }
    assert_eq!(identify(&caller, "b@x.de", "999999").await, "created");
    assert_eq!(identify(&caller, "b@x.de", "333333").await, "merged");
    assert_eq!(identify(&caller, "b@x.de", "444444").await, "matched");
    let stored = rows(&tables).await;
    assert_eq!(stored.iter().map(|row| &row.origin[..]).collect::<Vec<_>>(), ["merge", "match"]);
    assert!(stored.iter().all(|row| row.contact_id == 5), "they lead to a contact that is there: {stored:?}");
    let (status, report) = verify(&database, &[]);
    assert_eq!(status, Some(0), "{report}");
    for phone in ["333333", "444444"] {
        assert_eq!(identify(&caller, "b@x.de", phone).await, "matched");
    }
    assert_eq!(rows(&tables).await, stored, "the second time nothing is written");
    service.stop().await;
    tables.close().await.expect("closed");
}

async fn an_ignored_identifier_leaves_its_sets(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    for (email, phone) in [("a@x.de", "111111"), ("b@x.de", "111111"), ("b@x.de", "222222"), ("a@x.de", "222222")] {
        identify(&caller, email, phone).await;
    }
    let before = rows(&tables).await;
    let (status, said) = command(&database, &["ignore", "add", "phone", "222222"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(identify(&caller, "a@x.de", "222222").await, "matched");
    assert_eq!(rows(&tables).await, before, "its sets stay, and there is no new one");
    assert_eq!(verify(&database, &[]).0, Some(0));
    let (status, said) = command(&database, &["ignore", "remove", "phone", "222222"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(identify(&caller, "a@x.de", "222222").await, "matched");
    assert_eq!(rows(&tables).await, before);
    assert_eq!(verify(&database, &[]).0, Some(0));
    service.stop().await;
    tables.close().await.expect("closed");
}

/// The contact that showed it was deleted meanwhile.
async fn what_counts_again_for_nobody_takes_its_sets_along(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    for (email, phone) in [("a@x.de", "111111"), ("b@x.de", "111111"), ("b@x.de", "222222"), ("a@x.de", "222222")] {
        identify(&caller, email, phone).await;
    }
    identify(&caller, "c@x.de", "111111").await;
    identify(&caller, "c@x.de", "333333").await;
    assert_eq!(identify(&caller, "a@x.de", "333333").await, "matched");
    let before = rows(&tables).await;
    assert_eq!(before.len(), 2);
    assert_eq!(command(&database, &["ignore", "add", "phone", "222222"]).0, Some(0));
    execute(&tables, r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "id" = 3"#).await;
    let (status, said) = command(&database, &["ignore", "remove", "phone", "222222"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(rows(&tables).await, before[1..], "only those with the number");
    let (status, report) = verify(&database, &[]);
    assert_eq!(status, Some(0), "{report}");
    service.stop().await;
    tables.close().await.expect("closed");
}

pub fn verify(database: &TestDatabase, args: &[&str]) -> (Option<i32>, Value) {
    let output = binary()
        .args(["verify", "--format", "json"])
        .args(args)
        .env("DATABASE_URL", &database.url)
        .env("RUST_LOG", "off")
        .output()
        .expect("the binary runs");
    let report = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.code(), report)
}

async fn broken_evidence_is_found_and_repaired(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    for (email, phone) in [("a@x.de", "111111"), ("b@x.de", "111111"), ("b@x.de", "222222"), ("a@x.de", "222222")] {
        identify(&caller, email, phone).await;
    }
    identify(&caller, "z@x.de", "999999").await;
    let sound = rows(&tables).await.remove(0);
    assert_eq!(verify(&database, &[]).1["evidence"], json!(1));
    let other = r#"[{"kind":"email","value":"a@x.de"},{"kind":"phone","value":"999999"}]"#;
    let nobody = r#"[{"kind":"email","value":"a@x.de"},{"kind":"phone","value":"000000"}]"#;
    let key_of = |email: &str, phone: &str| {
        use identity::domain::{Identifier, IdentifierKind, SetKey};
        let email = Identifier::from_stored(IdentifierKind::Email, email);
        let phone = Identifier::from_stored(IdentifierKind::Phone, phone);
        SetKey::of(&[email, phone]).as_bytes().to_vec()
    };
    // What is broken, the finding, and whether the set is stored anew.
    let cases = [
        (evidence::Model { contact_id: 4, ..sound.clone() }, "evidence_elsewhere", true),
        (evidence::Model { set_key: vec![7; 16], ..sound.clone() }, "evidence_key", true),
        (evidence::Model { identifiers: MergeCause(Vec::new()), ..sound.clone() }, "evidence_unreadable", false),
        (
            evidence::Model {
                identifiers: serde_json::from_str(other).expect("JSON"),
                set_key: key_of("a@x.de", "999999"),
                ..sound.clone()
            },
            "evidence_of_several",
            false,
        ),
        (
            evidence::Model {
                identifiers: serde_json::from_str(nobody).expect("JSON"),
                set_key: key_of("a@x.de", "000000"),
                ..sound.clone()
            },
            "evidence_of_nobody",
            false,
        ),
    ];
    for (broken, finding, is_stored_anew) in cases {
        execute(&tables, r#"DELETE FROM "Evidence""#).await;
        let broken = sea_orm::ActiveModelTrait::reset_all(evidence::ActiveModel::from(broken));
        evidence::Entity::insert(broken).exec_without_returning(&tables).await.expect("inserted");
        let (status, report) = verify(&database, &[]);
        assert_eq!((status, &report["findings"][0]["finding"]), (Some(1), &json!(finding)), "{report}");
        let (_, planned) = verify(&database, &["--plan"]);
        let repair = if is_stored_anew { "evidence_replaced" } else { "evidence_deleted" };
        assert_eq!(planned["findings"][0]["repairs"][0]["repair"], json!(repair), "{planned}");
        let (status, report) = verify(&database, &["--repair"]);
        assert_eq!((status, &report["repaired"]), (Some(0), &json!(1)), "{report}");
        assert_eq!(report["findings"][0]["repairs"][0]["repair"], json!(repair), "{report}");
        let left = rows(&tables).await;
        assert_eq!(left.len(), usize::from(is_stored_anew), "{finding}");
        if let Some(left) = left.first() {
            assert_eq!((&left.set_key, left.contact_id), (&sound.set_key, sound.contact_id));
        }
        assert_eq!(verify(&database, &[]).0, Some(0));
    }
    // What no row holds is seen again with the next request.
    assert_eq!(identify(&caller, "a@x.de", "222222").await, "matched");
    assert_eq!(rows(&tables).await.len(), 1);
    service.stop().await;
    tables.close().await.expect("closed");
}

/// A replica, as a process that can be killed.
async fn replica(database: &TestDatabase) -> Process {
    let free = [("GRPC_ADDR", "127.0.0.1:0"), ("HTTP_ADDR", "127.0.0.1:0"), ("REQUEST_TIMEOUT", "20s")];
    let variables: Vec<(&str, &str)> = free.into_iter().chain([("DATABASE_URL", &database.url[..])]).collect();
    Process::start(&variables).await
}

/// 64 callers on two replicas send the same pairs, and one of the replicas is killed again and again.
async fn a_pair_is_stored_once_under_many_callers(database: TestDatabase) {
    let (mut killed, other) = tokio::join!(replica(&database), replica(&database));
    let mut events = Vec::new();
    for number in 0..6 {
        events.push(event(&format!("e{number}@x.de"), "555000"));
        events.push(event("hub@x.de", &format!("55500{number}")));
    }
    events.push(event("hub@x.de", "555000"));
    for event in &events {
        let (email, phone) = (event.email.as_deref(), event.phone.as_deref());
        other.caller().identify(Api::Grpc, email, phone).await.expect("an answer");
    }
    let pairs: Vec<Event> =
        (0..36).map(|number| event(&format!("e{}@x.de", number / 6), &format!("55500{}", number % 6))).collect();
    for _ in 0..3 {
        let mut calls = JoinSet::new();
        let callers = [killed.caller(), other.caller()];
        let pairs = Arc::new(pairs.clone());
        for caller in 0..64 {
            let (to, pairs) = (callers[caller % 2].clone(), Arc::clone(&pairs));
            calls.spawn(async move {
                for pair in pairs.iter().cycle().skip(caller).take(pairs.len()) {
                    let answer = to.identify(Api::Grpc, pair.email.as_deref(), pair.phone.as_deref());
                    match answer.await {
                        Ok(answer) => assert_eq!(answer.outcome, "matched"),
                        Err(_) => assert_eq!(caller % 2, 0, "only calls to the killed one may fail"),
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        killed.signal("-KILL");
        killed.end().await;
        while let Some(call) = calls.join_next().await {
            call.expect("no wrong answer");
        }
        killed = replica(&database).await;
    }
    let tables = database.raw().await;
    events.extend(pairs.iter().cloned());
    Components::of(&events).assert_tables(&tables).await;
    let before = dump(&tables).await;
    for pair in pairs.iter().chain(&events) {
        let answer = killed.caller().identify(Api::Grpc, pair.email.as_deref(), pair.phone.as_deref()).await;
        assert_eq!(answer.expect("an answer").outcome, "matched");
    }
    assert!(dump(&tables).await == before, "replays write nothing");
    assert_eq!(verify(&database, &[]).0, Some(0));
    for mut replica in [killed, other] {
        replica.signal("-TERM");
        replica.end().await;
    }
    tables.close().await.expect("closed");
}
