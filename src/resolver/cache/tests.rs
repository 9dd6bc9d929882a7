use tokio::time::advance;

use super::*;
use crate::domain::{IdentifierKind, Link};

const MAX_AGE: Duration = Duration::from_secs(60);
const FIRST: Epoch = Epoch { generation: 0, connections: 1 };

fn cache(cache_size: usize) -> IdentityCache {
    IdentityCache::new(&CacheSettings { cache_size, cache_max_age: MAX_AGE })
}

fn email(value: &str) -> Identifier {
    Identifier::from_stored(IdentifierKind::Email, value)
}

fn identity(root: i64, version: i64, values: &[&str]) -> Arc<Identity> {
    let identifiers: Vec<Identifier> = values.iter().map(|value| email(value)).collect();
    let contact = Contact::new(ContactId(root), identifiers, Timestamp(version), Link::Primary);
    Arc::new(Identity::new(vec![contact]).unwrap())
}

fn now(epoch: Epoch) -> ReadAt {
    ReadAt { epoch, time: Instant::now() }
}

fn put(cache: &IdentityCache, identity: &Arc<Identity>, read: ReadAt) {
    cache.put(identity, read, identity.contacts()[0].identifiers.iter());
}

fn version(cache: &IdentityCache, value: &str, epoch: Epoch) -> Option<i64> {
    cache.find(&email(value), epoch).map(|copy| copy.identity.version().0)
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_found_by_each_identifier_that_led_to_it() {
    let cache = cache(1 << 20);
    let one = identity(1, 10, &["a@x", "b@x"]);
    cache.put(&one, now(FIRST), [&email("a@x")]);
    assert_eq!((version(&cache, "a@x", FIRST), version(&cache, "b@x", FIRST)), (Some(10), None));
    assert!(cache.find_version(ContactId(1), Timestamp(10), FIRST).is_some());
    assert!(cache.find_version(ContactId(1), Timestamp(11), FIRST).is_none());
    // The identifier belongs to another identity by now.
    cache.put(&identity(1, 11, &["b@x"]), now(FIRST), []);
    assert_eq!(version(&cache, "a@x", FIRST), None, "the copy does not own it");
    cache.forget(ContactId(1));
    assert!(cache.find_version(ContactId(1), Timestamp(11), FIRST).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_later_copy_is_not_replaced_by_an_earlier_one() {
    let cache = cache(1 << 20);
    let early = now(FIRST);
    advance(MAX_AGE / 2).await;
    put(&cache, &identity(1, 20, &["a@x"]), now(FIRST));
    put(&cache, &identity(1, 10, &["a@x"]), now(FIRST));
    put(&cache, &identity(1, 20, &["a@x"]), early);
    advance(MAX_AGE / 2).await;
    assert_eq!(version(&cache, "a@x", FIRST), Some(20), "of the later read");
}

#[tokio::test(start_paused = true)]
async fn a_copy_has_an_end() {
    let cache = cache(1 << 20);
    put(&cache, &identity(1, 10, &["a@x"]), now(FIRST));
    advance(MAX_AGE - Duration::from_millis(1)).await;
    assert_eq!(version(&cache, "a@x", FIRST), Some(10));
    advance(Duration::from_millis(1)).await;
    assert_eq!(version(&cache, "a@x", FIRST), None);
    assert!(cache.find_version(ContactId(1), Timestamp(10), FIRST).is_none());
    put(&cache, &identity(1, 10, &["a@x"]), now(FIRST));
    assert_eq!(version(&cache, "a@x", FIRST), Some(10), "read again");
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_ends_all_copies_and_earlier_ones_do_not_come_in() {
    for next in [Epoch { connections: 2, ..FIRST }, Epoch { generation: 1, connections: 1 }] {
        let cache = cache(1 << 20);
        put(&cache, &identity(1, 10, &["a@x"]), now(FIRST));
        put(&cache, &identity(2, 10, &["b@x"]), now(FIRST));
        assert_eq!(version(&cache, "a@x", next), None, "nothing was put since");
        put(&cache, &identity(1, 9, &["a@x"]), now(next));
        assert_eq!((version(&cache, "a@x", next), version(&cache, "b@x", next)), (Some(9), None));
        put(&cache, &identity(2, 10, &["b@x"]), now(FIRST));
        assert_eq!((version(&cache, "b@x", next), version(&cache, "b@x", FIRST)), (None, None));
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_without_a_live_root_is_not_kept() {
    let cache = cache(1 << 20);
    let link = Link::SecondaryOf(ContactId(1));
    let live = Contact::new(ContactId(2), [email("a@x")], Timestamp(20), link);
    let root = Contact::new(ContactId(1), [email("a@x")], Timestamp(10), Link::Primary);
    let torn = Identity::new(vec![live]).unwrap();
    for one in [torn.clone(), torn.with_deleted(vec![root])] {
        put(&cache, &Arc::new(one), now(FIRST));
        assert!(version(&cache, "a@x", FIRST).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_a_copy_are_counted_once() {
    let cache = cache(1 << 20);
    let one = identity(1, 10, &["a@x", "b@x"]);
    cache.put(&one, now(FIRST), [&email("a@x")]);
    let shared = cache.0.as_ref().unwrap();
    assert_eq!(shared.entries.weight(), ENTRY + ENTRY + bytes_of(&one), "the identifier, and the copy");
    let counted = Entry::Copy(CachedIdentity { identity: one, read: now(FIRST), bytes: 7 });
    assert_eq!(ByBytes.weight(&Key::Root(ContactId(1)), &counted), ENTRY + 7, "not counted again");
}

#[tokio::test(start_paused = true)]
async fn a_set_is_settled_for_one_version_in_one_epoch_and_for_a_while() {
    let cache = cache(1 << 20);
    let (set, one) = (SetKey::of(&[email("a@x"), email("b@x")]), identity(1, 10, &["a@x", "b@x"]));
    assert!(!cache.is_settled(set, &one, FIRST));
    cache.settle(set, &one, now(FIRST));
    assert!(cache.is_settled(set, &one, FIRST));
    assert!(!cache.is_settled(SetKey::of(&[email("a@x")]), &one, FIRST));
    for other in [identity(1, 11, &["a@x", "b@x"]), identity(2, 10, &["a@x", "b@x"])] {
        assert!(!cache.is_settled(set, &other, FIRST));
    }
    assert!(!cache.is_settled(set, &one, Epoch { connections: 2, ..FIRST }));
    advance(MAX_AGE).await;
    assert!(!cache.is_settled(set, &one, FIRST));
}

#[tokio::test(start_paused = true)]
async fn all_sets_of_a_full_identity_are_settled_while_it_has_its_version() {
    let cache = cache(1 << 20);
    let (one, other) = (identity(1, 10, &["a@x", "b@x"]), identity(2, 10, &["c@x"]));
    let sets = [["a@x", "b@x"], ["a@x", "d@x"]].map(|set| SetKey::of(&set.map(email)));
    cache.settle_all(&one, now(FIRST));
    assert!(sets.iter().all(|set| cache.is_settled(*set, &one, FIRST)));
    assert!(!cache.is_settled(sets[0], &other, FIRST));
    assert!(!cache.is_settled(sets[0], &identity(1, 11, &["a@x", "b@x"]), FIRST), "a set can have been deleted");
    assert!(!cache.is_settled(sets[0], &one, Epoch { connections: 2, ..FIRST }));
}

/// The places of sets in the cache must not be known to those who choose the sets.
#[test]
fn the_hash_of_a_set_has_the_secret() {
    let set = SetKey::of(&[email("a@x"), email("b@x")]);
    let hash = |cache: &IdentityCache| Hashing::default().hash_one(cache.0.as_ref().unwrap().set_key(set));
    assert_ne!(hash(&cache(1 << 20)), hash(&cache(1 << 20)));
}

#[test]
fn what_is_ignored_has_its_weight() {
    let carried = identity(1, 10, &["a@x", "b@x"]);
    let mut contact = carried.contacts()[0].clone();
    contact.ignored = std::mem::replace(&mut contact.identifiers, [].into());
    assert_eq!(bytes_of(&Identity::new(vec![contact]).unwrap()), bytes_of(&carried));
}

#[tokio::test(start_paused = true)]
async fn it_takes_no_more_room_than_it_may() {
    let room = 1 << 20;
    let cache = cache(room);
    for root in 0..20_000 {
        put(&cache, &identity(root, 10, &[&format!("{root}@x")]), now(FIRST));
    }
    let shared = cache.0.as_ref().unwrap();
    assert!(shared.entries.weight() <= room as u64, "{}", shared.entries.weight());
    assert!(shared.entries.weight() >= room as u64 / 2, "{}", shared.entries.weight());
    let off = self::cache(0);
    put(&off, &identity(1, 10, &["a@x"]), now(FIRST));
    assert!(!off.is_on() && off.find(&email("a@x"), FIRST).is_none());
}
