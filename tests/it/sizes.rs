//! The limits of an identity and of an answer.

use chrono::NaiveDateTime;
use tonic::Code;

use crate::harness::{Api, Components, Event, Refusal, Reply, Service, Suite, TestDatabase, query, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        what_would_make_an_identity_too_large_writes_nothing,
        a_larger_identity_from_before_is_still_answered,
        items_past_the_limit_of_an_answer_were_carried_out,
        each_answer_of_a_batch_shows_its_own_moment,
        an_answer_that_is_kept_ends_with_the_next_change,
    );
}

fn assert_too_large(refusal: &Refusal) {
    assert_eq!((refusal.code, &*refusal.reason), (Code::FailedPrecondition, "IDENTITY_TOO_LARGE"));
    assert_eq!(refusal.message, "the identity would have more than 3 contacts", "no value");
    assert!(!refusal.retry);
}

/// The last write of each contact, and the number of rows of the other tables.
async fn rows(database: &TestDatabase) -> (Vec<NaiveDateTime>, [usize; 2]) {
    let tables = database.raw().await;
    let contacts = query(&tables, r#"SELECT "updatedAt" FROM "Contact" ORDER BY "id""#).await;
    let writes = contacts.iter().map(|row| row.try_get("", "updatedAt").unwrap()).collect();
    let identifiers = query(&tables, r#"SELECT "kind" FROM "Identifier""#).await.len();
    let merges = query(&tables, r#"SELECT "id" FROM "ContactMerge""#).await.len();
    tables.close().await.unwrap();
    (writes, [identifiers, merges])
}

async fn what_would_make_an_identity_too_large_writes_nothing(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--max-contacts", "3"]).await;
    let caller = service.caller();
    let mut events: Vec<Event> = ["a@x.de", "b@x.de", "c@x.de"].map(|email| Event::of(email, "1000")).into();
    events.extend([Event::of("other@x.de", "2000"), Event::of("other2@x.de", "2000")]);
    assert!(caller.batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
    let before = rows(&database).await;
    for api in Api::BOTH {
        // A link, a merge, and a merge that links.
        for (email, phone) in [("d@x.de", "1000"), ("other@x.de", "1000"), ("a@x.de", "2000")] {
            assert_too_large(&caller.identify(api, Some(email), Some(phone)).await.unwrap_err());
        }
    }
    assert_eq!(rows(&database).await, before);

    // In a batch, beside others; the last one depends on the refused one, as if that were not there.
    let batch = [
        Event::of("d@x.de", "1000"),
        Event::of("new@x.de", "3000"),
        Event::of("a@x.de", "1000"),
        Event::of("d@x.de", ""),
    ];
    let answers = caller.batch(Api::Http, &batch).await.unwrap();
    assert_too_large(answers[0].as_ref().unwrap_err());
    let outcomes = answers[1..].iter().map(|answer| answer.as_ref().unwrap().outcome).collect::<Vec<_>>();
    assert_eq!(outcomes, ["created", "matched", "created"]);
    let streamed = caller.stream(&[Event::of("e@x.de", "1000"), Event::of("b@x.de", "1000")]).await;
    assert_too_large(streamed[0].as_ref().unwrap_err());
    assert_eq!(streamed[1].as_ref().unwrap().secondaries.len(), 2);

    events.extend([Event::of("new@x.de", "3000"), Event::of("d@x.de", "")]);
    let tables = database.raw().await;
    Components::of(&events).assert_tables(&tables).await;
    tables.close().await.unwrap();
    service.stop().await;
}

async fn a_larger_identity_from_before_is_still_answered(database: TestDatabase) {
    let service = Service::start(&database).await;
    let events: Vec<Event> = (0..6).map(|n| Event::of(&format!("e{n}@x.de"), "1000")).collect();
    service.caller().batch(Api::Grpc, &events).await.unwrap();
    service.stop().await;

    let service = Service::start_with(&database.url, &["--max-contacts", "3"]).await;
    let caller = service.caller();
    for api in Api::BOTH {
        let found = caller.identify(api, Some("e3@x.de"), None).await.unwrap();
        assert_eq!((found.outcome, found.secondaries.len()), ("matched", 5));
        assert_too_large(&caller.identify(api, Some("new@x.de"), Some("1000")).await.unwrap_err());
    }
    service.stop().await;
}

/// Each item links a new e-mail address of 254 bytes: the answers would take 130 MB.
async fn items_past_the_limit_of_an_answer_were_carried_out(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    for (round, api) in Api::BOTH.into_iter().enumerate() {
        let phone = format!("100{round}");
        let events: Vec<Event> = (0..1_000).map(|n| Event::of(&format!("{n:0>248}{round}@x.de"), &phone)).collect();
        let answers = caller.batch(api, &events).await.unwrap();
        let answered = answers.iter().take_while(|answer| answer.is_ok()).count();
        assert!((150..250).contains(&answered), "{answered}");
        for (place, answer) in answers[..answered].iter().enumerate() {
            assert_eq!(answer.as_ref().unwrap().emails.len(), place + 1);
        }
        for refusal in answers[answered..].iter().map(|answer| answer.as_ref().unwrap_err()) {
            assert_eq!((refusal.code, &*refusal.reason), (Code::ResourceExhausted, "ANSWER_TOO_LARGE"));
        }
        let last = caller.identify(api, events[999].email.as_deref(), None).await.unwrap();
        assert_eq!((last.outcome, last.emails.len()), ("matched", 1_000), "all were carried out");
    }
    service.stop().await;
}

/// Links and merges in one transaction: every answer shows what was known then, and nothing of later items.
async fn each_answer_of_a_batch_shows_its_own_moment(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.batch(Api::Grpc, &[Event::of("a@x.de", "1000"), Event::of("z@x.de", "2000")]).await.unwrap();
    let events = [
        Event::of("b@x.de", "1000"),
        Event::of("y@x.de", "2000"),
        Event::of("", "1000"),
        Event::of("a@x.de", "2000"),
        Event::of("c@x.de", "1000"),
    ];
    let answers = caller.batch(Api::Grpc, &events).await.unwrap();
    let shown = |reply: &Reply| (reply.outcome, reply.emails.join(" "), reply.phones.join(" "));
    let answers: Vec<_> = answers.iter().map(|answer| shown(answer.as_ref().unwrap())).collect();
    let expected = [
        ("linked", "a@x.de b@x.de", "1000"),
        ("linked", "z@x.de y@x.de", "2000"),
        ("matched", "a@x.de b@x.de", "1000"),
        ("merged", "a@x.de z@x.de b@x.de y@x.de", "1000 2000"),
        ("linked", "a@x.de z@x.de b@x.de y@x.de c@x.de", "1000 2000"),
    ];
    assert_eq!(answers, expected.map(|(outcome, emails, phones)| (outcome, emails.to_owned(), phones.to_owned())));
    service.stop().await;
}

/// The bytes of the answer are kept for an identity with many contacts. They are those of each API, and of no earlier
/// state, also if another replica changed the identity.
async fn an_answer_that_is_kept_ends_with_the_next_change(database: TestDatabase) {
    let (service, replica) = (Service::start(&database).await, Service::start(&database).await);
    let (caller, other) = (service.caller(), replica.caller());
    let mut events: Vec<Event> = (0..100).map(|n| Event::of(&format!("e{n}@x.de"), "1000")).collect();
    assert!(caller.batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
    let mut expected = Vec::from_iter(events.iter().map(|event| event.email.clone().unwrap_or_default()));
    for round in 0..3 {
        for _ in 0..2 {
            for api in Api::BOTH {
                for caller in [&caller, &other] {
                    let reply = caller.identify(api, None, Some("1000")).await.unwrap();
                    assert_eq!((reply.outcome, &reply.emails), ("matched", &expected), "{round}, {api:?}");
                    assert_eq!((&*reply.phones, reply.secondaries.len()), (&["1000".to_owned()][..], 99 + round));
                }
            }
        }
        let (email, api) = (format!("new{round}@x.de"), Api::BOTH[round % 2]);
        let writer = [&caller, &other][round % 2];
        let reply = writer.identify(api, Some(&email), Some("1000")).await.unwrap();
        expected.push(email);
        assert_eq!((reply.outcome, &reply.emails), ("linked", &expected));
        events.push(Event::of(&expected[100 + round], "1000"));
    }
    let tables = database.raw().await;
    Components::of(&events).assert_tables(&tables).await;
    tables.close().await.unwrap();
    service.stop().await;
    replica.stop().await;
}
