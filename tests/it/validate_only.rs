//! `validate_only`: the answer that a request would get. Nothing is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use identity::proto::identity::v1::IdentifyRequest;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;

use crate::graph::{look_up, tables};
use crate::harness::{Api, Caller, Components, Event, Refusal, Reply, Service, Suite, TestDatabase, execute, register};
use crate::ignored::{TILL, assert_refused, ignore};
use crate::verify::clean;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        who_is_new_is_not_known_afterwards,
        each_outcome_is_what_the_request_gets_next,
        refusals_are_those_that_the_request_would_get,
        what_is_not_clearly_a_request_to_write_is_refused,
        items_of_a_batch_keep_their_order,
        items_of_a_stream_keep_their_order,
        what_deleted_contacts_owned_stays_theirs,
        many_callers_beside_writers,
    );
}

/// A request that is carried out.
fn real(email: &str, phone: &str) -> IdentifyRequest {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    IdentifyRequest { email: given(email), phone_number: given(phone), ..Default::default() }
}

fn dry(email: &str, phone: &str) -> IdentifyRequest {
    IdentifyRequest { validate_only: true, ..real(email, phone) }
}

async fn validate(caller: &Caller, api: Api, email: &str, phone: &str) -> Result<Reply, Refusal> {
    caller.send(api, &dry(email, phone)).await
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn reply(outcome: &'static str, primary: i64, emails: &[&str], phones: &[&str], secondaries: &[i64]) -> Reply {
    let (emails, phones) = (strings(emails), strings(phones));
    Reply { outcome, primary, emails, phones, secondaries: secondaries.to_vec() }
}

/// Example 5 of the design of the graph.
async fn who_is_new_is_not_known_afterwards(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let before = tables(&database).await;
    for api in Api::BOTH {
        let answer = validate(&caller, api, " New@X.de ", "12-34").await.unwrap();
        assert_eq!(answer, reply("created", 0, &["new@x.de"], &["1234"], &[]));
        assert_eq!(tables(&database).await, before, "{api:?}");
    }
    let mut grpc = IdentityServiceClient::connect(format!("http://{}", service.grpc)).await.unwrap();
    let identity = grpc.identify(dry("new@x.de", "1234")).await.unwrap().into_inner().contact.unwrap();
    assert_eq!((identity.primary_contact_id, identity.contact_count, identity.truncated), (0, 1, false));
    let (known, unknown) = look_up(&service, &["new@x.de", "1234"]).await.unwrap();
    assert_eq!((known.len(), unknown), (0, strings(&["new@x.de", "1234"])));
    assert_eq!(caller.send(Api::Grpc, &real("new@x.de", "1234")).await.unwrap().outcome, "created");
    service.stop().await;
}

/// Each request is validated by both APIs, by a replica that has no copy too, and is then carried out.
async fn each_outcome_is_what_the_request_gets_next(database: TestDatabase) {
    let services = [Service::start(&database).await, Service::start_with(&database.url, &["--cache-size=0"]).await];
    let callers = services.each_ref().map(Service::caller);
    let mut outcomes = Vec::new();
    for (email, phone) in [
        ("a@x.de", "1000"),
        ("b@x.de", "1000"),
        ("a@x.de", "1000"),
        ("", "1000"),
        ("b@x.de", "2000"),
        ("a@x.de", "2000"), // MATCHED, and a set that is not stored.
        ("c@x.de", "3000"),
        ("d@x.de", ""),
        ("d@x.de", "3000"),
        ("a@x.de", "3000"),
        ("d@x.de", "1000"),
        ("e@x.de", "4000"),
        ("e@x.de", "1000"),
    ] {
        let before = tables(&database).await;
        let mut foreseen = Vec::new();
        for caller in &callers {
            for api in Api::BOTH {
                foreseen.push(validate(caller, api, email, phone).await.unwrap());
            }
        }
        assert_eq!(tables(&database).await, before, "{email} {phone}");
        let rows = before["Contact"].len() as i64;
        let mut carried_out = callers[0].send(Api::Grpc, &real(email, phone)).await.unwrap();
        carried_out.secondaries.retain(|id| *id <= rows);
        carried_out.primary = if carried_out.primary > rows { 0 } else { carried_out.primary };
        assert!(foreseen.iter().all(|answer| *answer == carried_out), "{foreseen:?} {carried_out:?}");
        outcomes.push(carried_out.outcome);
    }
    let expected = "created linked matched matched linked matched created created merged merged matched created merged";
    assert_eq!(outcomes, expected.split(' ').collect::<Vec<_>>());
    for service in services {
        service.stop().await;
    }
}

async fn refusals_are_those_that_the_request_would_get(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--max-contacts=2"]).await;
    let caller = service.caller();
    for (email, phone) in [("a@x.de", "1000"), ("b@x.de", "1000"), ("c@x.de", "3000")] {
        caller.send(Api::Grpc, &real(email, phone)).await.unwrap();
    }
    ignore(&database, &["add", "phone", TILL]);
    let before = tables(&database).await;
    for api in Api::BOTH {
        for (email, phone) in [("new@x.de", "1000"), ("c@x.de", "1000")] {
            let refusal = validate(&caller, api, email, phone).await.unwrap_err();
            assert_eq!((refusal.code, &refusal.reason[..]), (Code::FailedPrecondition, "IDENTITY_TOO_LARGE"));
        }
        assert_refused(validate(&caller, api, "", TILL).await);
        assert_eq!(validate(&caller, api, "n@x.de", TILL).await.unwrap(), reply("created", 0, &["n@x.de"], &[], &[]));
        let refusal = validate(&caller, api, "nobody", "").await.unwrap_err();
        assert_eq!((refusal.reason, refusal.fields), ("IDENTIFIER_INVALID".to_owned(), strings(&["email"])));
        assert_eq!(validate(&caller, api, "", " ").await.unwrap_err().reason, "IDENTIFIER_MISSING");
    }
    let answers = caller.send_batch(Api::Grpc, vec![dry("", TILL), dry("new@x.de", "1000"), dry("a@x.de", TILL)]).await;
    let [only_ignored, too_large, known] = answers.unwrap().try_into().unwrap();
    assert_refused(only_ignored);
    assert_eq!(too_large.unwrap_err().reason, "IDENTITY_TOO_LARGE");
    assert_eq!(known.unwrap().outcome, "matched");
    assert_eq!(tables(&database).await, before);
    service.stop().await;
}

async fn post(service: &Service, path: &str, body: Value) -> Value {
    let url = format!("http://{}{path}", service.http);
    let response = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
    let is_success = response.status().is_success();
    let body: Value = response.json().await.unwrap();
    assert_eq!(is_success, body.get("code").is_none(), "{body}");
    body
}

async fn what_is_not_clearly_a_request_to_write_is_refused(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--invalid-identifiers=ignore"]).await;
    let before = tables(&database).await;
    for path in ["/identify", "/contact/identify"] {
        for value in [json!("true"), json!(1), json!([true]), json!({})] {
            let error = post(&service, path, json!({"email": "secret@x.de", "validateOnly": value})).await;
            assert_eq!(error["message"], "validateOnly must be true or false");
            assert_eq!(error["details"][0]["reason"], "REQUEST_MALFORMED");
            assert_eq!(error["details"][0]["metadata"], json!({"fields": "validateOnly"}));
            assert_eq!(error["details"][1]["fieldViolations"][0]["field"], "validateOnly");
        }
        for body in
            [json!({"email": "a@x.de", "validateOnly": true}), json!({"email": "a@x.de", "validate_only": true})]
        {
            assert_eq!(post(&service, path, body).await["contact"]["primaryContactId"], 0);
        }
    }
    let items = json!([{"email": "a@x.de", "validateOnly": 1}, {"email": "b@x.de", "validateOnly": true}]);
    let answer = post(&service, "/identify:batch", json!({"requests": items})).await;
    assert_eq!(answer["results"][0]["error"]["message"], "validateOnly must be true or false");
    assert_eq!(answer["results"][1]["response"]["outcome"], "created");
    assert_eq!(tables(&database).await, before);
    for value in [json!(false), json!(null)] {
        let answer = post(&service, "/identify", json!({"email": "a@x.de", "validateOnly": value})).await;
        assert_eq!(answer["contact"]["primaryContactId"], 1);
    }
    service.stop().await;
}

/// What each item of a list gets that is sent one item after the other.
fn mixed() -> Vec<(IdentifyRequest, Reply)> {
    vec![
        (dry("a@x.de", "1000"), reply("created", 0, &["a@x.de"], &["1000"], &[])),
        (real("a@x.de", "1000"), reply("created", 1, &["a@x.de"], &["1000"], &[])),
        (dry("a@x.de", ""), reply("matched", 1, &["a@x.de"], &["1000"], &[])),
        (dry("b@x.de", "1000"), reply("linked", 1, &["a@x.de", "b@x.de"], &["1000"], &[])),
        (real("a@x.de", "2000"), reply("linked", 1, &["a@x.de"], &["1000", "2000"], &[2])),
        (real("b@x.de", "1000"), reply("linked", 1, &["a@x.de", "b@x.de"], &["1000", "2000"], &[2, 3])),
        (dry("b@x.de", "2000"), reply("matched", 1, &["a@x.de", "b@x.de"], &["1000", "2000"], &[2, 3])),
    ]
}

async fn items_of_a_batch_keep_their_order(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let (requests, expected): (Vec<_>, Vec<_>) = mixed().into_iter().unzip();
    let answers = caller.send_batch(Api::Http, requests).await.unwrap();
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected);

    // A long one, whose items follow each other about the same customers, over several look-ups.
    let mut requests = Vec::new();
    for number in 0..60 {
        let email = |name: &str| format!("{name}{number}@x.de");
        requests.extend([
            dry(&email("d"), "7000"),
            real(&email("d"), "7000"),
            dry(&email("d"), &format!("80{number}")),
        ]);
        requests.extend([real(&email("known"), ""), dry(&email("known"), "7000")]);
    }
    let answers = caller.send_batch(Api::Grpc, requests).await.unwrap();
    let answers: Vec<Reply> = answers.into_iter().map(Result::unwrap).collect();
    for (number, answers) in answers.chunks(5).enumerate() {
        let outcomes: Vec<&str> = answers.iter().map(|answer| answer.outcome).collect();
        let first = if number == 0 { "created" } else { "linked" };
        assert_eq!(outcomes, [first, first, "linked", "created", "merged"], "{number}");
        let emails: Vec<usize> = answers.iter().map(|answer| answer.emails.len()).collect();
        assert_eq!(emails, [number + 1, number + 1, number + 1, 1, number + 2], "{number}");
        assert_eq!(answers[2].phones.len(), 2, "what no real item brings");
    }
    let mut events = vec![Event::of("a@x.de", "1000"), Event::of("a@x.de", "2000"), Event::of("b@x.de", "1000")];
    events.extend((0..60).map(|n| Event::of(&format!("d{n}@x.de"), "7000")));
    events.extend((0..60).map(|n| Event::of(&format!("known{n}@x.de"), "")));
    let rows = database.raw().await;
    Components::of(&events).assert_tables(&rows).await;
    rows.close().await.unwrap();
    service.stop().await;
}

async fn items_of_a_stream_keep_their_order(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (requests, expected): (Vec<_>, Vec<_>) = mixed().into_iter().unzip();
    // Items with the same identifier keep their order: these have it all.
    let shared: Vec<usize> = (0..requests.len()).filter(|place| ![2, 4].contains(place)).collect();
    let requests: Vec<IdentifyRequest> = shared.iter().map(|place| requests[*place].clone()).collect();
    let answers = service.caller().send_stream(requests).await;
    let outcomes: Vec<&str> = answers.iter().map(|answer| answer.as_ref().unwrap().outcome).collect();
    assert_eq!(outcomes, ["created", "created", "linked", "linked", "linked"]);
    assert_eq!(answers[0], Ok(expected[0].clone()));
    assert_eq!(answers[2], Ok(expected[3].clone()), "it sees the item before it, and not the one after it");
    assert_eq!(answers[4], Ok(reply("linked", 1, &["a@x.de", "b@x.de"], &["1000", "2000"], &[2])));
    service.stop().await;
}

/// An operator has deleted the contact. A real request frees its identifiers.
async fn what_deleted_contacts_owned_stays_theirs(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--cache-size=0"]).await;
    let caller = service.caller();
    for (email, phone) in [("a@x.de", "1000"), ("b@x.de", "2000")] {
        caller.send(Api::Grpc, &real(email, phone)).await.unwrap();
    }
    let rows = database.raw().await;
    execute(&rows, r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "id" = 1"#).await;
    rows.close().await.unwrap();
    let before = tables(&database).await;
    for api in Api::BOTH {
        let alone = validate(&caller, api, "a@x.de", "1000").await.unwrap();
        assert_eq!(alone, reply("created", 0, &["a@x.de"], &["1000"], &[]));
        let linked = validate(&caller, api, "a@x.de", "2000").await.unwrap();
        assert_eq!(linked, reply("linked", 2, &["b@x.de", "a@x.de"], &["2000"], &[]));
    }
    assert_eq!(tables(&database).await, before);
    assert_eq!(caller.send(Api::Grpc, &real("a@x.de", "2000")).await.unwrap().outcome, "linked");
    service.stop().await;
}

/// Sends it again while the database is too slow for all of them: the machine may be.
async fn patiently(caller: &Caller, api: Api, request: &IdentifyRequest) -> Reply {
    for _ in 0..100 {
        match caller.send(api, request).await {
            Ok(answer) => return answer,
            Err(refusal) => refusal.assert_of_an_outage(),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no answer");
}

/// What a validation shows was acknowledged or under way, and all that was acknowledged before is in it.
async fn many_callers_beside_writers(database: TestDatabase) {
    let services = [Service::start(&database).await, Service::start(&database).await];
    let is_over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for number in 0..64 {
        let (caller, is_over) = (services[number % 2].caller(), Arc::clone(&is_over));
        let (phone, api) = (format!("10{}", number % 4), Api::BOTH[number / 2 % 2]);
        callers.spawn(async move {
            let (mut seen, mut calls) = (Vec::new(), 0);
            while !is_over.load(Ordering::SeqCst) || calls == 0 {
                calls += 1;
                let mine = format!("dry{number}.{calls}@x.de");
                let mut answer = patiently(&caller, api, &dry(&mine, &phone)).await;
                assert_eq!(answer.emails.pop(), Some(mine), "what would be new comes last");
                assert_eq!(answer.outcome, if answer.emails.is_empty() { "created" } else { "linked" });
                assert!(answer.emails.starts_with(&seen), "{:?} after {seen:?}", answer.emails);
                assert_eq!(answer.emails.len(), answer.secondaries.len() + usize::from(answer.primary > 0));
                seen = answer.emails;
            }
        });
    }
    let mut writers = JoinSet::new();
    for customer in 0..4 {
        let callers = services.each_ref().map(Service::caller);
        writers.spawn(async move {
            let phone = format!("10{customer}");
            for step in 0..25 {
                let email = format!("e{customer}.{step}@x.de");
                patiently(&callers[step % 2], Api::Grpc, &real(&email, &phone)).await;
                // By the other replica.
                let known = patiently(&callers[(step + 1) % 2], Api::Grpc, &dry(&email, &phone)).await;
                assert_eq!((known.outcome, known.emails.len()), ("matched", step + 1));
            }
        });
    }
    writers.join_all().await;
    is_over.store(true, Ordering::SeqCst);
    callers.join_all().await;
    let events: Vec<Event> = (0..4)
        .flat_map(|customer| {
            (0..25).map(move |step| Event::of(&format!("e{customer}.{step}@x.de"), &format!("10{customer}")))
        })
        .collect();
    let rows = database.raw().await;
    Components::of(&events).assert_tables(&rows).await;
    rows.close().await.unwrap();
    clean(&database);
    for service in services {
        service.stop().await;
    }
}
