//! `BatchIdentify`: in order, whole, and beside bad items.

use std::collections::HashSet;

use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::{Api, Components, Event, Reply, Service, Suite, TestDatabase, query, register};

pub fn register(suite: &mut Suite) {
    suite.on_all("batch::the_worked_example_grpc", |database| the_worked_example(database, Api::Grpc));
    suite.on_all("batch::the_worked_example_http", |database| the_worked_example(database, Api::Http));
    register!(suite.on_all():
        a_thousand_new_and_again,
        later_items_build_on_earlier_ones,
        a_batch_needs_room_for_all,
        overlapping_batches_end_as_components,
    );
}

async fn the_worked_example(database: TestDatabase, api: Api) {
    let service = Service::start(&database).await;
    let [lorraine, mcfly, george, biff] =
        ["lorraine", "mcfly", "george", "biffsucks"].map(|n| format!("{n}@hillvalley.edu"));
    let bad = || Event::of("nobody", "call me");
    let events = [
        Event::of(&lorraine, "123456"),
        Event::of(&mcfly, "123456"),
        bad(),
        Event::of("", "123456"),
        Event::of(&mcfly, ""),
        Event::of(&lorraine, ""),
        Event::of(&mcfly, "123456"),
        Event::of(&george, "919191"),
        Event::of("", ""),
        Event::of(&biff, "717171"),
        Event::of(&george, "717171"),
    ];
    let mut answers = service.caller().batch(api, &events).await.unwrap();
    for at in [8, 2] {
        let refusal = answers.remove(at).unwrap_err();
        assert_eq!((refusal.code, refusal.fields.len()), (Code::InvalidArgument, 2));
    }
    let answers: Vec<Reply> = answers.into_iter().map(Result::unwrap).collect();
    let reply = |outcome, primary, emails: &[&String], phones: &[&str], secondaries: &[i64]| Reply {
        outcome,
        primary,
        emails: emails.iter().map(|email| (*email).clone()).collect(),
        phones: phones.iter().map(|phone| (*phone).to_owned()).collect(),
        secondaries: secondaries.to_vec(),
    };
    let both = |outcome| reply(outcome, 1, &[&lorraine, &mcfly], &["123456"], &[2]);
    let expected = [
        reply("created", 1, &[&lorraine], &["123456"], &[]),
        both("linked"),
        both("matched"),
        both("matched"),
        both("matched"),
        both("matched"),
        reply("created", 3, &[&george], &["919191"], &[]),
        reply("created", 4, &[&biff], &["717171"], &[]),
        reply("merged", 3, &[&george, &biff], &["919191", "717171"], &[4]),
    ];
    assert_eq!(answers, expected);
    let tables = database.raw().await;
    let good: Vec<_> =
        events.into_iter().filter(|event| event.email.as_deref().is_some_and(|e| e != "nobody")).collect();
    Components::of(&good).assert_tables(&tables).await;
    tables.close().await.unwrap();
    service.stop().await;
}

async fn a_thousand_new_and_again(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let events: Vec<Event> = (0..1_000).map(|n| Event::of(&format!("e{n}@x.de"), &format!("1000{n}"))).collect();
    let answers = caller.batch(Api::Grpc, &events).await.unwrap();
    let ids: Vec<i64> = answers
        .into_iter()
        .map(Result::unwrap)
        .inspect(|a| assert_eq!(a.outcome, "created"))
        .map(|a| a.primary)
        .collect();
    assert!(ids.is_sorted(), "in the order of the list");
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 1_000);
    for api in Api::BOTH {
        let again = caller.batch(api, &events).await.unwrap();
        for (answer, id) in again.into_iter().map(Result::unwrap).zip(&ids) {
            assert_eq!((answer.outcome, answer.primary), ("matched", *id));
        }
        let too_many = [&events[..], &events[..1]].concat();
        assert_eq!(caller.batch(api, &too_many).await.unwrap_err().code, Code::InvalidArgument);
        assert_eq!(caller.batch(api, &[]).await.unwrap_err().code, Code::InvalidArgument);
    }
    let tables = database.raw().await;
    assert_eq!(query(&tables, r#"SELECT "id" FROM "Contact""#).await.len(), 1_000);
    tables.close().await.unwrap();
    service.stop().await;
}

/// Each item after the first 300 touches what an earlier item of the same batch did, many pieces and
/// transactions before it; between them are customers who were there before.
async fn later_items_build_on_earlier_ones(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let known: Vec<Event> = (0..100).map(|n| Event::of(&format!("known{n}@x.de"), "")).collect();
    caller.batch(Api::Grpc, &known).await.unwrap();
    let mut events: Vec<Event> = (0..300).map(|n| Event::of(&format!("e{n}@x.de"), &format!("2000{n}"))).collect();
    events.extend(known.iter().cloned());
    // Brings a number to a known customer, whom the next item asks for.
    events.extend((0..100).flat_map(|n| {
        [Event::of(&format!("known{n}@x.de"), &format!("3000{n}")), Event::of(&format!("known{n}@x.de"), "")]
    }));
    // Joins what the first item brought with all the others.
    events.extend((1..200).map(|n| Event::of("e0@x.de", &format!("2000{n}"))));
    events.push(Event::of("", "2000199"));
    let answers: Vec<Reply> = caller.batch(Api::Http, &events).await.unwrap().into_iter().map(Result::unwrap).collect();
    let outcomes = |range: std::ops::Range<usize>| answers[range].iter().map(|answer| answer.outcome);
    assert!(outcomes(0..300).all(|outcome| outcome == "created"));
    assert!(outcomes(300..400).all(|outcome| outcome == "matched"));
    for pair in answers[400..600].chunks(2) {
        assert_eq!((pair[0].outcome, pair[1].outcome), ("linked", "matched"));
        assert_eq!(pair[0].phones, pair[1].phones);
    }
    for (joined, answer) in answers[600..799].iter().enumerate() {
        assert_eq!((answer.outcome, answer.secondaries.len()), ("merged", joined + 1));
    }
    assert_eq!((answers[799].outcome, answers[799].emails.len()), ("matched", 200));
    let tables = database.raw().await;
    Components::of(known.iter().chain(&events)).assert_tables(&tables).await;
    tables.close().await.unwrap();
    service.stop().await;
}

async fn a_batch_needs_room_for_all(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--queue-limit", "100"]).await;
    let caller = service.caller();
    // Longer than the whole queue: it has to itself what there is.
    let events: Vec<Event> = (0..300).map(|n| Event::of(&format!("e{n}@x.de"), "")).collect();
    assert!(caller.batch(Api::Grpc, &events).await.unwrap().iter().all(Result::is_ok));
    let mut calls = JoinSet::new();
    for batch in 0..20 {
        let caller = caller.clone();
        let events: Vec<Event> = (0..60).map(|n| Event::of(&format!("b{batch}-{n}@x.de"), "")).collect();
        calls.spawn(async move { caller.batch(Api::BOTH[batch % 2], &events).await });
    }
    for answer in calls.join_all().await {
        match answer {
            Ok(answers) => assert!(answers.iter().all(Result::is_ok)),
            Err(refusal) => assert_eq!((refusal.code, refusal.retry), (Code::ResourceExhausted, true)),
        }
    }
    let tables = database.raw().await;
    let rows = query(&tables, r#"SELECT "id" FROM "Contact""#).await.len();
    assert_eq!((rows - 300) % 60, 0, "a batch that was refused did nothing");
    tables.close().await.unwrap();
    service.stop().await;
}

/// Batches that share identifiers, in all orders, over two replicas and both apis.
async fn overlapping_batches_end_as_components(database: TestDatabase) {
    let (one, other) = tokio::join!(Service::start(&database), Service::start(&database));
    let mut calls = JoinSet::new();
    for worker in 0..8 {
        let caller = [&one, &other][worker % 2].caller();
        calls.spawn(async move {
            let mut random = fastrand::Rng::with_seed(worker as u64);
            let mut sent = Vec::new();
            for _ in 0..3 {
                let any = |random: &mut fastrand::Rng| {
                    let (email, phone) =
                        (format!("e{}@x.de", random.u32(0..800)), format!("1{}", random.u32(1_000..1_800)));
                    match random.u32(0..10) {
                        0..4 => Event::of(&email, ""),
                        4..8 => Event::of("", &phone),
                        _ => Event::of(&email, &phone),
                    }
                };
                let events: Vec<Event> = (0..150).map(|_| any(&mut random)).collect();
                let answers = caller.batch(Api::BOTH[random.usize(0..2)], &events).await.expect("no error");
                for (answer, event) in answers.into_iter().zip(&events) {
                    let answer = answer.expect("no error reaches a caller");
                    assert!(event.email.iter().all(|email| answer.emails.contains(email)));
                    assert!(event.phone.iter().all(|phone| answer.phones.contains(phone)));
                }
                sent.extend(events);
            }
            sent
        });
    }
    let events: Vec<Event> = calls.join_all().await.into_iter().flatten().collect();
    let tables = database.raw().await;
    Components::of(&events).assert_tables(&tables).await;
    tables.close().await.unwrap();
    tokio::join!(one.stop(), other.stop());
}
