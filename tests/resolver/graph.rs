//! Reads of the graph: their lanes, and their places in the queue.

use std::time::Duration;

use futures::future::{join, join_all};
use identity::domain::{ContactId, Identifier, IdentifierKind};
use identity::resolver::{Identify, IdentifyError, ReadGraph, Reserved, Resolver};
use tokio::time::{Instant, sleep, timeout};

use crate::faults::{cache_settings, deadline, queue_settings};
use crate::faulty_store::{FIRST_LARGE, FaultyStore, LARGE, Step, observation};

const STATEMENT: Duration = Duration::from_millis(100);

fn start(store: &FaultyStore, queue_limit: usize) -> Resolver {
    Resolver::start(store.clone(), queue_settings(queue_limit), cache_settings())
}

async fn contacts(resolver: &Resolver, contact: i64) -> usize {
    let identity = resolver.identity_of(Reserved::default(), ContactId(contact), deadline()).await.unwrap();
    identity.unwrap().contacts().len()
}

/// The read of a large identity takes a second, and a crowd asks for several of them.
#[tokio::test(start_paused = true)]
async fn a_crowd_that_asks_for_large_identities_holds_up_no_small_one() {
    let resolver = start(&FaultyStore::slow(Duration::from_millis(1), Duration::from_secs(1)).with_epoch(), 1_000);
    for _ in 0..2 {
        let crowd = join_all((0..20).map(|n| contacts(&resolver, FIRST_LARGE + n % 5)));
        let small = async {
            sleep(Duration::from_millis(10)).await;
            let begun = Instant::now();
            for contact in 1..10 {
                assert_eq!(contacts(&resolver, contact).await, 1);
            }
            begun.elapsed()
        };
        let (large, took) = join(crowd, small).await;
        assert!(large.iter().all(|contacts| *contacts == usize::try_from(LARGE).unwrap()));
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
}

/// A page takes dozens of statements, and each call for one holds the lane for lists.
#[tokio::test(start_paused = true)]
async fn a_page_that_nobody_waits_for_ends_with_its_statement() {
    let store = FaultyStore::slow(STATEMENT, STATEMENT).with_epoch();
    let resolver = start(&store, 1_000);
    let page = resolver.list_identities(Reserved::default(), None, 10, deadline());
    assert!(timeout(STATEMENT / 2, page).await.is_err(), "the caller leaves");
    sleep(STATEMENT * 100).await;
    assert_eq!(store.count(Step::Read), 1);
    let page = resolver.list_identities(Reserved::default(), None, 10, deadline()).await.unwrap();
    assert_eq!(page.identities.len(), 10);
    assert!(store.count(Step::Read) > 3, "a page takes several statements");
}

/// Where one server proves nothing, the look-up under locks is the one that takes long.
#[tokio::test(start_paused = true)]
async fn a_look_up_under_locks_has_its_places() {
    let mut store = FaultyStore::torn();
    store.set_latency(STATEMENT);
    let resolver = start(&store, 4);
    let known = |n: i64| Identifier::from_stored(IdentifierKind::Email, format!("known{n}@x"));
    let look_up = resolver.look_up(Reserved::default(), (1..=4).map(known).collect(), deadline());
    let other = async {
        sleep(STATEMENT * 3 / 2).await; // After the look-up without locks.
        resolver.identify(observation(&["known9@x"]), deadline()).await.map(|_| ())
    };
    let (found, other) = join(look_up, other).await;
    assert_eq!(found.unwrap().identities.len(), 4);
    assert_eq!(other, Err(IdentifyError::Overloaded));
    assert!(resolver.reserve(identity::resolver::Caller::Unknown, deadline()).is_ok(), "the places are free again");
}
