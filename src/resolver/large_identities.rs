//! Which identities are large, so that their jobs do not share a statement with those of others.
//!
//! A statement about an identity of 10,000 contacts takes tens of milliseconds, and every job that shares it waits for
//! it. Nobody knows the size of an identity before it is read. So a read that is shared ends early if it meets a large
//! one, and this memory keeps later jobs from sharing with it.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::{ContactId, Identifier, Identity};

/// From so many contacts on, an identity is large.
const LARGE: usize = 500;

/// Maximum identifiers that it remembers. Each takes some 16 bytes.
const MAX_IDENTIFIERS: usize = 100_000;

/// Maximum identifiers of one identity, so that a huge one does not displace all others.
const MAX_IDENTIFIERS_OF_ONE: usize = 20_000;

/// What makes jobs share a statement: the root of their large identity.
pub(super) type LargeRoot = ContactId;

/// Returns whether an identity is large.
pub(super) fn is_large(identity: &Identity) -> bool {
    identity.contacts().len() >= LARGE
}

/// The identifiers of large identities, as last read. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct LargeIdentities(Arc<LargeIdentitiesState>);

#[derive(Debug, Default)]
struct LargeIdentitiesState {
    /// Whether there is any: nearly always there is none, and then a request pays no more than this.
    is_any: AtomicBool,
    hasher: RandomState,
    memory: RwLock<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// By the hash of an identifier.
    roots: HashMap<u64, LargeRoot>,
    /// The oldest first.
    identities: VecDeque<Remembered>,
}

#[derive(Debug)]
struct Remembered {
    root: LargeRoot,
    contacts: usize,
}

impl LargeIdentities {
    /// Returns the root of the large identity that one of these identifiers belongs to.
    pub(super) fn find(&self, identifiers: &[Identifier]) -> Option<LargeRoot> {
        if !self.0.is_any.load(Ordering::Relaxed) {
            return None;
        }
        let memory = self.0.memory.read().unwrap_or_else(PoisonError::into_inner);
        identifiers.iter().find_map(|identifier| memory.roots.get(&self.hash(identifier)).copied())
    }

    /// Remembers a large identity as it was just read, and that these identifiers lead to it.
    pub(super) fn note(&self, identity: &Identity, requested: &[Identifier]) {
        let (root, contacts) = (identity.root(), identity.contacts().len());
        if self.is_as_remembered(root, contacts, requested) {
            return;
        }
        let identifiers = identity.contacts().iter().flat_map(|contact| contact.identifiers.iter());
        let mut hashes: Vec<u64> = identifiers.map(|identifier| self.hash(identifier)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.truncate(MAX_IDENTIFIERS_OF_ONE);
        self.remember(root, contacts, hashes, requested);
    }

    /// Remembers that these identifiers lead to a large identity that was not read to its end.
    pub(super) fn note_root(&self, root: LargeRoot, requested: &[Identifier]) {
        self.remember(root, 0, Vec::new(), requested);
    }

    /// Remembers that a statement about these identifiers alone took too long: their identity must be huge.
    ///
    /// If one of them belongs to a large identity already, they keep its root, and so still share a statement with its
    /// other identifiers.
    pub(super) fn note_slow(&self, requested: &[Identifier]) {
        let Some(first) = requested.first().filter(|_| self.find(requested).is_none()) else { return };
        // Nobody knows the root. A number that no row has stands in for it until a read succeeds.
        let root = ContactId(-(self.hash(first) as i64 & i64::MAX));
        self.remember(root, 0, Vec::new(), requested);
    }

    fn is_as_remembered(&self, root: LargeRoot, contacts: usize, requested: &[Identifier]) -> bool {
        let memory = self.0.memory.read().unwrap_or_else(PoisonError::into_inner);
        memory.identities.iter().any(|one| (one.root, one.contacts) == (root, contacts))
            && requested.iter().all(|identifier| memory.roots.contains_key(&self.hash(identifier)))
    }

    fn remember(&self, root: LargeRoot, contacts: usize, mut hashes: Vec<u64>, requested: &[Identifier]) {
        hashes.extend(requested.iter().map(|identifier| self.hash(identifier)));
        let mut memory = self.0.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.forget(|one| one.root == root);
        memory.roots.extend(hashes.into_iter().map(|hash| (hash, root)));
        memory.identities.push_back(Remembered { root, contacts });
        while memory.roots.len() > MAX_IDENTIFIERS {
            let oldest = memory.identities.front().map(|one| one.root);
            memory.forget(|one| Some(one.root) == oldest);
        }
        self.0.is_any.store(true, Ordering::Relaxed);
    }

    /// Forgets an identity that turned out not to be large any more.
    pub(super) fn forget(&self, root: LargeRoot) {
        let mut memory = self.0.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.forget(|one| one.root == root);
        self.0.is_any.store(!memory.identities.is_empty(), Ordering::Relaxed);
    }

    fn hash(&self, identifier: &Identifier) -> u64 {
        self.0.hasher.hash_one(identifier)
    }
}

impl Memory {
    fn forget(&mut self, which: impl Fn(&Remembered) -> bool) {
        let Self { roots, identities } = self;
        identities.retain(|one| {
            let is_kept = !which(one);
            if !is_kept {
                roots.retain(|_, root| *root != one.root);
            }
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Contact, IdentifierKind, Link, Timestamp};

    fn email(root: i64, number: usize) -> Identifier {
        Identifier::from_stored(IdentifierKind::Email, format!("{number}@{root}"))
    }

    fn identity(root: i64, contacts: usize) -> Identity {
        let contact = |number: usize| {
            let id = root + i64::try_from(number).unwrap();
            let link = if number == 0 { Link::Primary } else { Link::SecondaryOf(ContactId(root)) };
            Contact::new(ContactId(id), [email(root, number)], Timestamp(id), link)
        };
        Identity::new((0..contacts).map(contact).collect()).unwrap()
    }

    #[test]
    fn all_identifiers_of_a_large_identity_are_known_and_no_others() {
        let large = LargeIdentities::default();
        assert!(!is_large(&identity(1, LARGE - 1)) && is_large(&identity(1, LARGE)));
        assert_eq!(large.find(&[email(1, 0)]), None);
        large.note(&identity(1_000_000, LARGE), &[]);
        large.note(&identity(2_000_000, LARGE + 1), &[]);
        let find = |root, number| large.find(&[email(7, 7), email(root, number)]);
        assert_eq!(find(1_000_000, LARGE - 1), Some(ContactId(1_000_000)));
        assert_eq!(find(2_000_000, LARGE), Some(ContactId(2_000_000)));
        assert_eq!(find(2_000_000, LARGE + 1), None);
        large.note(&identity(2_000_000, LARGE + 2), &[email(3, 3)]);
        assert_eq!(find(2_000_000, LARGE + 1), Some(ContactId(2_000_000)), "it has grown");
        assert_eq!(find(3, 3), Some(ContactId(2_000_000)), "it was looked up by that");
        large.note_slow(&[email(4, 4), email(5, 5)]);
        assert!(find(4, 4).is_some() && find(4, 4) == find(5, 5));
        large.forget(ContactId(1_000_000));
        assert_eq!(find(1_000_000, 0), None);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go_first() {
        let large = LargeIdentities::default();
        for root in 1..=12 {
            large.note(&identity(root * 1_000_000, MAX_IDENTIFIERS_OF_ONE / 2), &[]);
        }
        let memory = large.0.memory.read().unwrap();
        assert!(memory.roots.len() <= MAX_IDENTIFIERS);
        let roots: Vec<i64> = memory.identities.iter().map(|one| one.root.0 / 1_000_000).collect();
        assert_eq!(roots, (3..=12).collect::<Vec<_>>());
    }
}
