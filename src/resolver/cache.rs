//! The identities that were read or written last, in memory. Clones share it.
//!
//! The service compares each copy before it uses it: its version with the row of its root
//! ([`Copies`](crate::domain::Copies)). Three things bound what can be wrong with a copy all the same:
//!
//! - A copy has the [`Epoch`] in which its contacts were read or written, and is used in that epoch only. A new
//!   connection may lead to a server without the last commits, on which a version can come again.
//! - A copy has an age: since its contacts were read. One that a transaction made of others is as old as the oldest of
//!   them. So what somebody changed by SQL without a later `updatedAt` of the root is seen within the maximum age.
//! - A copy of which the root is deleted, missing or not read is not kept.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tokio::time::Instant;

use crate::domain::{Contact, ContactId, Identifier, Identity, SetKey, Timestamp};
use crate::settings::CacheSettings;
use crate::store::Epoch;

/// Parts of the cache, each with a lock and a share of the room. An identity that is larger than a share is not kept.
const SHARDS: usize = 8;

/// Bytes for an entry: its key, its value, its place in the cache, and the next free place.
const ENTRY: u64 = 160;

/// Bytes for an identity without contacts, and for an allocation.
const IDENTITY: u64 = 160;
const ALLOCATION: u64 = 32;

/// See the module. Without room it keeps nothing.
#[derive(Clone)]
pub(super) struct IdentityCache(Option<Arc<Shared>>);

struct Shared {
    entries: Cache<Key, Entry, ByBytes, Hashing>,
    max_age: Duration,
    /// Part of every hash, so that callers cannot know which identifiers, or sets of them, have the same one.
    secret: u64,
    /// The latest epoch of a copy that was kept.
    epoch: Mutex<Option<Epoch>>,
}

/// The same in every run of the simulation, which seeds the secret.
type Hashing = BuildHasherDefault<DefaultHasher>;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    /// The hash of an identifier. If two have the same, the copy shows which of them it owns.
    Identifier(u64),
    Root(ContactId),
    /// A set of identifiers that no contact carries, with [`Shared::secret`].
    Set(SetKey, u64),
    /// All sets of the identity of this root.
    AllSets(ContactId),
}

#[derive(Clone)]
enum Entry {
    /// Where the copy is that owned the identifier.
    Root(ContactId),
    Copy(CachedIdentity),
    /// The set, or any, needs no write while its identity has this version: it is held, or the identity has too many.
    Settled {
        root: ContactId,
        version: Timestamp,
        read: ReadAt,
    },
}

/// A copy of an identity.
#[derive(Clone, Debug)]
pub(super) struct CachedIdentity {
    pub(super) identity: Arc<Identity>,
    pub(super) read: ReadAt,
    /// Its bytes. The cache wants them several times, and under a lock.
    bytes: u64,
}

/// Where and when the contacts of a copy were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadAt {
    pub(super) epoch: Epoch,
    /// From before the read began.
    pub(super) time: Instant,
}

impl IdentityCache {
    pub(super) fn new(settings: &CacheSettings) -> Self {
        if settings.cache_size == 0 || settings.cache_max_age.is_zero() {
            return Self(None);
        }
        let room = settings.cache_size as u64;
        let options = OptionsBuilder::new()
            .estimated_items_capacity(settings.cache_size / (ENTRY + IDENTITY) as usize)
            .weight_capacity(room)
            .shards(SHARDS)
            .build();
        let entries = options
            .map(|options| Cache::with_options(options, ByBytes, Hashing::default(), DefaultLifecycle::default()));
        let (max_age, secret) = (settings.cache_max_age, fastrand::u64(..));
        let shared = |entries| Shared { entries, max_age, secret, epoch: Mutex::default() };
        Self(entries.ok().map(|entries| Arc::new(shared(entries))))
    }

    /// Returns whether it keeps anything.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Returns the copy that owned this identifier, if it may be compared in this epoch.
    pub(super) fn find(&self, identifier: &Identifier, epoch: Epoch) -> Option<CachedIdentity> {
        let shared = self.0.as_ref()?;
        let Entry::Root(root) = shared.entries.get(&shared.key(identifier))? else { return None };
        shared.copy(root, epoch).filter(|copy| copy.identity.owns(identifier))
    }

    /// Returns the copy of the identity of this root, if it may be compared in this epoch.
    pub(super) fn find_root(&self, root: ContactId, epoch: Epoch) -> Option<CachedIdentity> {
        self.0.as_ref()?.copy(root, epoch)
    }

    /// Returns the copy of this version of an identity.
    pub(super) fn find_version(&self, root: ContactId, version: Timestamp, epoch: Epoch) -> Option<CachedIdentity> {
        let copy = self.0.as_ref()?.copy(root, epoch)?;
        (copy.identity.version_of_live_root() == Some((root, version))).then_some(copy)
    }

    /// Keeps a copy of an identity, unless there is a later one. `asked` are identifiers that were asked for, and that
    /// it owns.
    pub(super) fn put<'a>(
        &self,
        identity: &Arc<Identity>,
        read: ReadAt,
        asked: impl IntoIterator<Item = &'a Identifier>,
    ) {
        let (Some(shared), Some((root, version))) = (&self.0, identity.version_of_live_root()) else { return };
        if !shared.enter(read.epoch) {
            return;
        }
        let is_later = |kept: &CachedIdentity| (kept.identity.version(), kept.read.time) >= (version, read.time);
        if shared.peek(root).is_none_or(|kept| kept.read.epoch != read.epoch || !is_later(&kept)) {
            let copy = CachedIdentity { identity: Arc::clone(identity), read, bytes: bytes_of(identity) };
            shared.entries.insert(Key::Root(root), Entry::Copy(copy));
        }
        for identifier in asked {
            let key = shared.key(identifier);
            let is_known = matches!(shared.entries.peek(&key), Some(Entry::Root(known)) if known == root);
            if !is_known {
                shared.entries.insert(key, Entry::Root(root));
            }
        }
    }

    /// Returns whether a set of this identity, as it is, is known to need no write.
    ///
    /// Whatever deletes a stored set changes the version of its identity, so this cannot become wrong.
    pub(super) fn is_settled(&self, set: SetKey, identity: &Identity, epoch: Epoch) -> bool {
        let (Some(shared), Some(live_root)) = (&self.0, identity.version_of_live_root()) else { return false };
        [shared.set_key(set), Key::AllSets(live_root.0)].iter().any(|key| {
            let Some(Entry::Settled { root, version, read }) = shared.entries.get(key) else { return false };
            (root, version) == live_root && read.epoch == epoch && read.time.elapsed() < shared.max_age
        })
    }

    /// Remembers that a set of this identity, as it is, needs no write.
    pub(super) fn settle(&self, set: SetKey, identity: &Identity, read: ReadAt) {
        if let Some(shared) = &self.0 {
            shared.settle(shared.set_key(set), identity, read);
        }
    }

    /// Remembers that no set of this identity, as it is, needs a write: it has the maximum of sets.
    pub(super) fn settle_all(&self, identity: &Identity, read: ReadAt) {
        if let Some(shared) = &self.0 {
            shared.settle(Key::AllSets(identity.root()), identity, read);
        }
    }

    /// Forgets the copy of an identity that was changed.
    pub(super) fn forget(&self, root: ContactId) {
        if let Some(shared) = &self.0 {
            shared.entries.remove(&Key::Root(root));
        }
    }
}

impl Shared {
    fn key(&self, identifier: &Identifier) -> Key {
        Key::Identifier(Hashing::default().hash_one((self.secret, identifier)))
    }

    fn set_key(&self, set: SetKey) -> Key {
        Key::Set(set, self.secret)
    }

    fn settle(&self, key: Key, identity: &Identity, read: ReadAt) {
        let Some((root, version)) = identity.version_of_live_root() else { return };
        if self.enter(read.epoch) {
            self.entries.insert(key, Entry::Settled { root, version, read });
        }
    }

    /// Empties the cache if this is a later epoch than that of the copies. Returns false if it is an earlier one.
    ///
    /// It takes time to empty it, so it does not hold the lock meanwhile: other tasks would wait for it. A copy that
    /// one of them puts meanwhile can get lost, or stay with an earlier epoch, in which nobody looks for it.
    fn enter(&self, epoch: Epoch) -> bool {
        let before = {
            let mut present = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
            if present.is_some_and(|present| present > epoch) {
                return false;
            }
            present.replace(epoch)
        };
        if before.is_some_and(|before| before < epoch) {
            self.entries.clear();
        }
        true
    }

    fn peek(&self, root: ContactId) -> Option<CachedIdentity> {
        match self.entries.peek(&Key::Root(root))? {
            Entry::Copy(copy) => Some(copy),
            Entry::Root(_) | Entry::Settled { .. } => None,
        }
    }

    /// The copy of an identity, if it is of this epoch and young enough.
    fn copy(&self, root: ContactId, epoch: Epoch) -> Option<CachedIdentity> {
        let Entry::Copy(copy) = self.entries.get(&Key::Root(root))? else { return None };
        (copy.read.epoch == epoch && copy.read.time.elapsed() < self.max_age).then_some(copy)
    }
}

/// How many bytes an entry takes.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Entry> for ByBytes {
    fn weight(&self, _: &Key, entry: &Entry) -> u64 {
        match entry {
            Entry::Root(_) | Entry::Settled { .. } => ENTRY,
            Entry::Copy(copy) => ENTRY + copy.bytes,
        }
    }
}

/// About how many bytes an identity takes, and the index of its identifiers.
fn bytes_of(identity: &Identity) -> u64 {
    let handle = size_of::<Identifier>() as u64;
    let index = if identity.is_indexed() { 6 * handle } else { 3 * handle };
    let of_identifier = |identifier: &Identifier| handle + ALLOCATION + identifier.value().len() as u64 + index;
    let of_contact =
        |contact: &Contact| size_of::<Contact>() as u64 + ALLOCATION + contact.shown().map(of_identifier).sum::<u64>();
    IDENTITY + identity.contacts().iter().chain(identity.deleted()).map(of_contact).sum::<u64>()
}

#[cfg(test)]
mod tests {
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
}
