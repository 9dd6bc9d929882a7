//! A shop's day: 20,000 realistic checkout events through HTTP, and the tables against the model.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use crate::harness::{Api, Backend, Checkouts, Components, Service, Suite, TestDatabase, check_variety, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Sqlite, Backend::Mysql]): a_day_of_checkouts);
}

async fn a_day_of_checkouts(database: TestDatabase) {
    let events = Arc::new(Checkouts::seeded(1885).take(20_000));
    assert_eq!(*events, Checkouts::seeded(1885).take(20_000), "the same seed gives the same stream");
    check_variety(&events);
    let service = Service::start(&database).await;
    let next = Arc::new(AtomicUsize::new(0));
    let mut tills = JoinSet::new();
    for _ in 0..32 {
        let (caller, events, next) = (service.caller(), Arc::clone(&events), Arc::clone(&next));
        tills.spawn(async move {
            let mut outcomes = HashSet::new();
            while let Some(event) = events.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = caller.identify(Api::Http, event.email.as_deref(), event.phone.as_deref()).await;
                outcomes.insert(answer.expect("an answer").outcome);
            }
            outcomes
        });
    }
    let outcomes: HashSet<&str> = tills.join_all().await.into_iter().flatten().collect();
    assert_eq!(outcomes, HashSet::from(["created", "matched", "linked", "merged"]));
    let tables = database.raw().await;
    Components::of(events.iter()).assert_tables(&tables).await;
    tables.close().await.unwrap();
    service.stop().await;
}
