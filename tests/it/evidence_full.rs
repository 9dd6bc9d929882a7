//! An identity with the maximum of sets.

use std::time::Duration;

use identity::domain::{Identifier, IdentifierKind, MAX_EVIDENCE, SetKey};
use identity::store::entity::contact_merge::MergeCause;
use identity::store::entity::evidence;
use sea_orm::{ActiveValue::Set, DatabaseConnection, EntityTrait, SqliteTransactionMode, TransactionOptions};
use sea_orm::{TransactionTrait, prelude::PaginatorTrait};

use crate::evidence::identify;
use crate::harness::{Api, Backend, Event, Service, Suite, TestDatabase, lock_row, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): a_full_identity_stores_only_the_sets_of_merges);
}

/// Gives the identity of contact 1 so many sets.
async fn fill(tables: &DatabaseConnection, sets: usize) {
    let set = |number: usize| {
        let identifier = Identifier::from_stored(IdentifierKind::Phone, number.to_string());
        evidence::ActiveModel {
            set_key: Set(SetKey::of(&[identifier]).as_bytes().to_vec()),
            contact_id: Set(1),
            origin: Set("match".to_owned()),
            identifiers: Set(MergeCause(Vec::new())),
            created_at: Set(chrono::DateTime::UNIX_EPOCH.naive_utc()),
            ..Default::default()
        }
    };
    let numbers: Vec<usize> = (0..sets).collect();
    for some in numbers.chunks(1_000) {
        let rows = some.iter().map(|number| set(*number));
        evidence::Entity::insert_many(rows).exec_without_returning(tables).await.expect("inserted");
    }
}

async fn a_full_identity_stores_only_the_sets_of_merges(database: TestDatabase) {
    let service = Service::start(&database).await;
    let (caller, tables) = (service.caller(), database.raw().await);
    let mut events: Vec<Event> = (0..110).map(|n| Event::of(&format!("e{n}@x.de"), "555000")).collect();
    events.extend((0..110).map(|n| Event::of("e0@x.de", &format!("77700{n}"))));
    for answer in caller.batch(Api::Grpc, &events).await.expect("answers") {
        answer.expect("an answer");
    }
    assert_eq!(identify(&caller, "other@x.de", "888888").await, "created");
    let count = async || evidence::Entity::find().count(&tables).await.expect("a number");
    let max = u64::try_from(MAX_EVIDENCE).expect("a number");
    fill(&tables, MAX_EVIDENCE - 1).await;
    for phone in ["777001", "777001"] {
        assert_eq!(identify(&caller, "e1@x.de", phone).await, "matched");
        assert_eq!(count().await, max, "the last that is stored");
    }
    assert_eq!(identify(&caller, "e1@x.de", "777002").await, "matched");
    assert_eq!(count().await, max);

    // It is known to be full: a further one takes no transaction, and so waits for no lock.
    let mode = (database.backend == Backend::Sqlite).then_some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: mode, ..Default::default() };
    let lock = tables.begin_with_options(options).await.expect("a transaction");
    if database.backend != Backend::Sqlite {
        lock_row(&lock, 1).await;
    }
    for (email, phone) in [("e1@x.de", "777003"), ("e2@x.de", "777004"), ("e1@x.de", "777002")] {
        let answer = caller.identify_within(Duration::from_secs(9), Api::Grpc, Some(email), Some(phone)).await;
        assert_eq!(answer.expect("an answer").outcome, "matched");
    }
    lock.rollback().await.expect("ended");
    assert_eq!(count().await, max);

    assert_eq!(identify(&caller, "other@x.de", "777001").await, "merged");
    assert_eq!(count().await, max + 1, "there are fewer merges than contacts");
    service.stop().await;
    tables.close().await.expect("closed");
}
