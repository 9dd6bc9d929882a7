//! Many callers at once: never a duplicate, never a split customer, and no error.

use std::collections::BTreeSet;
use std::sync::Arc;

use fastrand::Rng;
use tokio::task::JoinSet;

use crate::harness::{Api, Backend, Components, Event, Reply, Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        the_same_first_request_makes_one_contact,
        one_email_makes_one_identity,
        a_chain_of_strangers_becomes_one,
    );
    register!(suite.on(&Backend::SERVERS): random_requests_end_as_components);
}

/// Two replicas over one database: half of the callers ask each.
struct Replicas([Service; 2]);

impl Replicas {
    /// On a busy machine all connections together can take longer than a statement may by default.
    async fn start(database: &TestDatabase) -> Self {
        let start = || Service::start_with(&database.url, &["--database-timeout=10s"]);
        let (one, other) = tokio::join!(start(), start());
        Self([one, other])
    }

    /// Sends all at once, each through another replica and another api than the one before.
    async fn send_all(&self, events: &[Event]) -> Vec<Reply> {
        let callers = [self.0[0].caller(), self.0[1].caller()];
        let mut calls = JoinSet::new();
        for (number, event) in events.iter().cloned().enumerate() {
            let (caller, api) = (callers[number % 2].clone(), Api::BOTH[number / 2 % 2]);
            calls.spawn(async move { caller.identify(api, event.email.as_deref(), event.phone.as_deref()).await });
        }
        calls.join_all().await.into_iter().map(|answer| answer.expect("no error reaches a caller")).collect()
    }

    async fn stop(self) {
        let [one, other] = self.0;
        tokio::join!(one.stop(), other.stop());
    }
}

fn event(email: impl Into<String>, phone: impl Into<String>) -> Event {
    Event { email: Some(email.into()), phone: Some(phone.into()) }
}

async fn the_same_first_request_makes_one_contact(database: TestDatabase) {
    let replicas = Replicas::start(&database).await;
    let events = vec![event("lorraine@hillvalley.edu", "123456"); 50];
    let answers = replicas.send_all(&events).await;
    assert_eq!(answers.iter().filter(|answer| answer.outcome == "created").count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.outcome == "matched").count(), 49);
    assert!(answers.iter().all(|answer| answer.primary == answers[0].primary && answer.secondaries.is_empty()));
    let tables = database.raw().await;
    Components::of(&events).assert_tables(&tables).await;
    tables.close().await.unwrap();
    replicas.stop().await;
}

async fn one_email_makes_one_identity(database: TestDatabase) {
    let replicas = Replicas::start(&database).await;
    let events: Vec<Event> = (0..50).map(|n| event("lorraine@hillvalley.edu", format!("555{n}"))).collect();
    let answers = replicas.send_all(&events).await;
    assert_eq!(answers.iter().filter(|answer| answer.outcome == "created").count(), 1);
    // One at a time, each brings its phone number to those before it.
    let sizes: BTreeSet<usize> = answers.iter().map(|answer| answer.phones.len()).collect();
    assert_eq!(sizes, (1..=50).collect());
    let last = answers.iter().max_by_key(|answer| answer.phones.len()).unwrap();
    assert_eq!((last.emails.len(), last.secondaries.len()), (1, 49));
    let tables = database.raw().await;
    Components::of(&events).assert_tables(&tables).await;
    tables.close().await.unwrap();
    replicas.stop().await;
}

/// Each request shares its e-mail with the one before and its phone number with the one after.
async fn a_chain_of_strangers_becomes_one(database: TestDatabase) {
    let replicas = Replicas::start(&database).await;
    let events: Vec<Event> =
        (0..80_u32).map(|n| event(format!("e{}@x.de", n / 2), format!("1{}", n.div_ceil(2)))).collect();
    replicas.send_all(&events).await;
    let components = Components::of(&events);
    assert_eq!(components.len(), 1);
    let tables = database.raw().await;
    components.assert_tables(&tables).await;
    tables.close().await.unwrap();
    replicas.stop().await;
}

/// 4,000 requests over 3,000 identifiers from 64 workers on two replicas.
async fn random_requests_end_as_components(database: TestDatabase) {
    let replicas = Arc::new(Replicas::start(&database).await);
    let mut workers = JoinSet::new();
    for worker in 0..64 {
        let replicas = Arc::clone(&replicas);
        workers.spawn(async move {
            let mut random = Rng::with_seed(worker as u64);
            let caller = replicas.0[worker % 2].caller();
            let mut sent = Vec::new();
            for _ in 0..4_000 / 64 {
                let email = format!("e{}@x.de", random.u32(0..1_500));
                let phone = random.u32(100_000..101_500).to_string();
                let (email, phone) = match random.u32(0..10) {
                    0..4 => (Some(email), None),
                    4..8 => (None, Some(phone)),
                    _ => (Some(email), Some(phone)),
                };
                let api = Api::BOTH[random.usize(0..2)];
                let answer = caller.identify(api, email.as_deref(), phone.as_deref()).await;
                let answer = answer.expect("no error reaches a caller");
                assert!(email.iter().all(|email| answer.emails.contains(email)), "the answer has what was sent");
                assert!(phone.iter().all(|phone| answer.phones.contains(phone)), "the answer has what was sent");
                sent.push(Event { email, phone });
            }
            sent
        });
    }
    let events: Vec<Event> = workers.join_all().await.into_iter().flatten().collect();
    let tables = database.raw().await;
    Components::of(&events).assert_tables(&tables).await;
    tables.close().await.unwrap();
    Arc::into_inner(replicas).expect("the workers are done").stop().await;
}
