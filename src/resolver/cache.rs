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

/// Bytes for an entry: its key, its value and its place in the cache, about 120, and as much as the tables of the cache
/// have to spare: they grow by doubling.
const ENTRY: u64 = 208;

/// Bytes for an identity without contacts, and for an allocation.
const IDENTITY: u64 = 160;
const ALLOCATION: u64 = 32;

/// Bytes for the id of a contact in an answer, and the answers of an identity that are kept: one for each API.
const ENCODED_ID: u64 = 8;
const ENCODINGS: u64 = 2;

/// See the module. Without room it keeps nothing.
#[derive(Clone)]
pub(super) struct IdentityCache(Option<Arc<CacheState>>);

struct CacheState {
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
    /// A set of identifiers that no contact carries, with [`CacheState::secret`].
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
        let shared = |entries| CacheState { entries, max_age, secret, epoch: Mutex::default() };
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

impl CacheState {
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

/// About how many bytes an identity takes, with the index of its identifiers, and its answers if it keeps them.
fn bytes_of(identity: &Identity) -> u64 {
    let handle = size_of::<Identifier>() as u64;
    let index = if identity.is_indexed() { 6 * handle } else { 3 * handle };
    let of_identifier = |identifier: &Identifier| handle + ALLOCATION + identifier.value().len() as u64 + index;
    let of_contact =
        |contact: &Contact| size_of::<Contact>() as u64 + ALLOCATION + contact.shown().map(of_identifier).sum::<u64>();
    let encoded = |contact: &Contact| ENCODED_ID + contact.shown().map(|one| one.value().len() as u64 + 3).sum::<u64>();
    let encodings = if identity.keeps_encodings() { ENCODINGS } else { 0 };
    IDENTITY
        + identity.contacts().iter().chain(identity.deleted()).map(of_contact).sum::<u64>()
        + encodings * identity.contacts().iter().map(encoded).sum::<u64>()
}

#[cfg(test)]
mod tests;
