//! `StreamIdentify`: everything sent without waiting, everything answered.

use std::time::Duration;

use futures::StreamExt;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use identity::proto::identity::v1::stream_identify_response::Result as OfStream;
use identity::proto::identity::v1::{IdentifyRequest, StreamIdentifyRequest};
use tokio::task::JoinSet;
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{
    Api, Backend, Checkouts, Components, Event, Process, Refusal, Reply, Server, Service, Suite, TestDatabase, register,
};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        ten_thousand_items,
        one_customer_in_the_order_sent,
        a_small_queue_holds_streams_back,
        batches_and_streams_end_as_components,
    );
    register!(suite.on(&[Backend::Sqlite]): who_does_not_read_costs_little);
    register!(suite.on_own_server(&[Backend::Postgres, Backend::Mysql]): the_last_messages_say_what_is_gone);
}

fn assert_contains(answer: &Reply, event: &Event) {
    assert!(event.email.iter().all(|email| answer.emails.contains(email)), "the answer has what was sent");
    assert!(event.phone.iter().all(|phone| answer.phones.contains(phone)), "the answer has what was sent");
}

/// New ones, known ones and, among them, bad ones.
async fn ten_thousand_items(database: TestDatabase) {
    let service = Service::start(&database).await;
    let new = |n| Event::of(&format!("e{n}@x.de"), &format!("1000{n}"));
    let events: Vec<Event> = (0..10_000)
        .map(|n| match n % 100 {
            50 => Event::of("nobody", ""),
            51..100 => new(n - 51),
            _ => new(n),
        })
        .collect();
    let answers = service.caller().stream(&events).await;
    for (n, (answer, event)) in answers.into_iter().zip(&events).enumerate() {
        match answer {
            Ok(answer) => {
                assert_contains(&answer, event);
                assert_eq!(answer.outcome, if n % 100 < 50 { "created" } else { "matched" });
            }
            Err(Refusal { code, fields, .. }) => {
                assert_eq!((n % 100, code, fields), (50, Code::InvalidArgument, vec!["email".to_owned()]))
            }
        }
    }
    let tables = database.raw().await;
    Components::of(events.iter().filter(|event| event.phone.is_some())).assert_tables(&tables).await;
    tables.close().await.unwrap();
    service.stop().await;
}

/// Each number comes to the customer in the order sent, though nobody waited.
async fn one_customer_in_the_order_sent(database: TestDatabase) {
    let service = Service::start(&database).await;
    let events: Vec<Event> = (0..300).map(|n| Event::of("lorraine@hillvalley.edu", &format!("555{}", n / 2))).collect();
    let answers: Vec<Reply> = service.caller().stream(&events).await.into_iter().map(Result::unwrap).collect();
    for (n, answer) in answers.iter().enumerate() {
        let expected = match n {
            0 => "created",
            _ if n % 2 == 0 => "linked",
            _ => "matched",
        };
        assert_eq!((answer.outcome, answer.phones.len()), (expected, n / 2 + 1));
        assert_eq!(answer.phones.last(), events[n].phone.as_ref());
    }
    service.stop().await;
}

async fn a_small_queue_holds_streams_back(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--queue-limit", "20"]).await;
    let mut streams = JoinSet::new();
    for stream in 0..4 {
        let caller = service.caller();
        streams.spawn(async move {
            // Half of them on a few customers, so that runs are longer than the queue.
            let email =
                |n| if n % 2 == 0 { format!("s{stream}-{n}@x.de") } else { format!("s{stream}-hot{}@x.de", n % 6) };
            let events: Vec<Event> = (0..400).map(|n| Event::of(&email(n), "")).collect();
            caller.stream(&events).await
        });
    }
    for answer in streams.join_all().await.into_iter().flatten() {
        answer.expect("held back, and not refused");
    }
    // There is room for others.
    service.caller().identify(Api::Http, Some("a@x.de"), None).await.unwrap();
    service.stop().await;
}

async fn batches_and_streams_end_as_components(database: TestDatabase) {
    let (one, other) = tokio::join!(Service::start(&database), Service::start(&database));
    let all = Checkouts::seeded(1885).take(1_600);
    let mut calls = JoinSet::new();
    for (worker, events) in all.chunks(100).enumerate() {
        let (caller, events) = ([&one, &other][worker % 2].caller(), events.to_vec());
        calls.spawn(async move {
            let answers = match worker / 2 % 3 {
                0 => caller.stream(&events).await,
                1 => caller.batch(Api::Grpc, &events).await.expect("no error"),
                _ => caller.batch(Api::Http, &events).await.expect("no error"),
            };
            answers.into_iter().for_each(|answer| drop(answer.expect("no error reaches a caller")));
        });
    }
    calls.join_all().await;
    let tables = database.raw().await;
    Components::of(&all).assert_tables(&tables).await;
    tables.close().await.unwrap();
    tokio::join!(one.stop(), other.stop());
}

/// Streams whose callers send all they can and take no answer: the service's memory is bounded.
async fn who_does_not_read_costs_little(database: TestDatabase) {
    let mut process = Process::start(&[("DATABASE_URL", &database.url), ("RUST_LOG", "info")]).await;
    let before = process.resident_mib();
    let mut open = Vec::new();
    for stream in 0..50 {
        let address = process.grpc;
        let items = futures::stream::iter(0..1_000_000).map(move |n| StreamIdentifyRequest {
            correlation_id: "x".repeat(200),
            request: Some(IdentifyRequest {
                email: Some(format!("s{stream}-{}@x.de", n % 5_000)),
                ..Default::default()
            }),
        });
        let mut client = IdentityServiceClient::connect(format!("http://{address}")).await.expect("a connection");
        open.push(client.stream_identify(items).await.expect("a stream"));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let resident = process.resident_mib();
    assert!(resident < before + 100, "{before} MiB, then {resident} MiB");
    process.caller().identify(Api::Grpc, Some("a@x.de"), None).await.expect("others are served");
    assert!(process.is_alive());
    drop(open);
}

/// First the database goes, then the service. Without the database an item fails, and the stream goes on.
async fn the_last_messages_say_what_is_gone(server: Server) {
    let process = Process::start(&[("DATABASE_URL", &server.url)]).await;
    let mut client = IdentityServiceClient::connect(format!("http://{}", process.grpc)).await.expect("a connection");
    let (items, sent) = futures::channel::mpsc::unbounded();
    let send = |email: &str| {
        let request = IdentifyRequest { email: Some(email.to_owned()), ..Default::default() };
        let item = StreamIdentifyRequest { correlation_id: email.to_owned(), request: Some(request) };
        items.unbounded_send(item).expect("the stream is open");
    };
    send("before@x.de");
    let mut answers = client.stream_identify(sent).await.expect("a stream").into_inner();
    let answer = answers.message().await.expect("no end").expect("an answer");
    assert!(matches!(answer.result, Some(OfStream::Response(_))), "{answer:?}");

    server.kill();
    send("after@x.de");
    let answer = answers.message().await.expect("no end").expect("an answer");
    let Some(OfStream::Error(error)) = answer.result else { panic!("without a database: {answer:?}") };
    assert_eq!(Code::from_i32(error.code), Code::Unavailable);
    assert!(error.message.starts_with("the database cannot be reached"), "{}", error.message);

    process.signal("-TERM");
    let end = answers.message().await.expect_err("the service ends");
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "the service is shutting down"));
    let details = end.get_error_details();
    assert_eq!(details.error_info().map(|info| &info.reason[..]), Some("SHUTTING_DOWN"));
    assert!(details.retry_info().is_some(), "another replica takes the stream");
}
