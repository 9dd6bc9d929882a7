//! Reads of the past: what fails one of them harms no other.

use std::time::Duration;

use identity::domain::{ContactId, Identifier, IdentifierKind, Timestamp};
use identity::resolver::{IdentifyError, ReadGraph, Reserved, Resolver};

use crate::faults::{cache_settings, deadline, queue_settings};
use crate::faulty_store::{FIRST_LARGE, Fault, FaultyStore, LARGE, Step};

fn start(store: FaultyStore) -> Resolver {
    Resolver::start(store.with_epoch(), queue_settings(1_000), cache_settings())
}

/// How many contacts the identity of this one has.
async fn contacts(resolver: &Resolver, contact: i64) -> Result<usize, IdentifyError> {
    let count = |read: identity::store::HistoryRead| read.identity.map_or(0, |rows| rows.contacts.len());
    resolver.read_history(Reserved::default(), ContactId(contact), deadline(), count).await
}

fn email(value: &str) -> Identifier {
    Identifier::from_stored(IdentifierKind::Email, value)
}

#[tokio::test(start_paused = true)]
async fn a_fault_fails_one_read() {
    for (fault, error) in [
        (Fault::Panic, IdentifyError::Internal),
        (Fault::Rejected, IdentifyError::Internal),
        (Fault::TooSlow, IdentifyError::DeadlineExceeded),
        (Fault::CutShort, IdentifyError::Unavailable),
    ] {
        let is_poison = |identifiers: &[Identifier]| identifiers.iter().any(|one| one.value() == "known7@x");
        let resolver = start(FaultyStore::new(move |step, identifiers, _| {
            (step == Step::Read && is_poison(identifiers)).then_some(fault)
        }));
        for _ in 0..3 {
            assert_eq!(contacts(&resolver, 7).await, Err(error));
            assert_eq!(contacts(&resolver, 1).await, Ok(1));
            let (one, at) = (vec![email("known7@x")], Timestamp(10));
            let failed = resolver.look_up_at(Reserved::default(), one, at, deadline()).await;
            assert_eq!(failed.map(|found| found.unknown), Err(error));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_is_tried_again() {
    let resolver = start(FaultyStore::new(|_, _, before| (before < 3).then_some(Fault::LostRace)));
    assert_eq!(contacts(&resolver, 1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn work_that_panics_fails_one_read() {
    let resolver = start(FaultyStore::new(|_, _, _| None));
    for contact in [1, FIRST_LARGE] {
        let work = |_: identity::store::HistoryRead| -> () { panic!("a fault") };
        let failed = resolver.read_history(Reserved::default(), ContactId(contact), deadline(), work).await;
        assert_eq!(failed, Err(IdentifyError::Internal));
        assert_eq!(contacts(&resolver, 1).await, Ok(1), "the lanes go on");
    }
    assert_eq!(contacts(&resolver, FIRST_LARGE).await, Ok(usize::try_from(LARGE).unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_read_ends_at_its_deadline() {
    let resolver = start(FaultyStore::slow(Duration::from_secs(60), Duration::from_secs(60)));
    assert_eq!(contacts(&resolver, 1).await, Err(IdentifyError::DeadlineExceeded));
}

#[tokio::test(start_paused = true)]
async fn who_owned_identifiers_comes_in_order() {
    for store in [FaultyStore::new(|_, _, _| None).with_epoch(), FaultyStore::new(|_, _, _| None)] {
        let resolver = Resolver::start(store, queue_settings(1_000), cache_settings());
        let asked = ["known3@x", "nobody@x", "known1@x", "known3@x", "known9@x"].map(email).to_vec();
        // The contacts were inserted at the moments of their ids.
        let found = resolver.look_up_at(Reserved::default(), asked, Timestamp(5), deadline()).await.unwrap();
        let owners: Vec<ContactId> = found.identities.iter().map(|one| one.contacts[0].id).collect();
        assert_eq!(owners, [ContactId(3), ContactId(1)]);
        assert_eq!(found.unknown, [email("nobody@x"), email("known9@x")]);
        assert!(found.now > Timestamp(5) && !found.is_too_large);
        let nobody = resolver.look_up_at(Reserved::default(), vec![email("nobody@x")], Timestamp(5), deadline()).await;
        assert_eq!(nobody.unwrap().now, found.now, "the clock is read in any case");
    }
}
