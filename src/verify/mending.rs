//! How a damaged identity is put right. Pure.
//!
//! Nothing is guessed: rows that are linked, however, belong together; so do live contacts that carry one
//! identifier; and of these the oldest live contact is the primary. That is what the rows say, and by the
//! rules of the service there is one way to say it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::domain::{ContactId, ContactRef, Identifier, Link, Merge, Plan, Relink, Timestamp};
use crate::store::inspect::{MAX_VALUE_BYTES, Owner, StoredContact};

/// Contacts that belong together, all of them, and who owns what the live ones carry.
#[derive(Debug, Default)]
pub(super) struct Neighbourhood {
    pub(super) contacts: BTreeMap<ContactId, StoredContact>,
    pub(super) owners: BTreeMap<Identifier, Owner>,
}

/// What to write.
#[derive(Debug)]
pub(super) struct Mending {
    pub(super) plan: Plan,
    /// Identifiers whose row names the wrong contact: that one, and the right one.
    pub(super) reassigned: Vec<(Identifier, ContactId, ContactId)>,
    /// The same in words.
    pub(super) repairs: Vec<Repair>,
}

/// Something that was put right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "repair", rename_all = "snake_case")]
pub enum Repair {
    /// A contact was made the primary of its identity.
    Promoted {
        /// The contact.
        contact: i64,
    },
    /// A contact was linked to its primary.
    Linked {
        /// The contact.
        contact: i64,
        /// The primary.
        primary: i64,
    },
    /// Two identities carried one identifier, and were merged; the merge is recorded.
    Merged {
        /// The primary of the one that stayed.
        survivor: i64,
        /// The primary of the other.
        absorbed: i64,
    },
    /// An identifier was given to the oldest contact that carries it.
    Assigned {
        /// What kind of identifier.
        kind: &'static str,
        /// The contact.
        contact: i64,
    },
    /// An identifier that no live contact carries was taken from its owner.
    Released {
        /// What kind of identifier.
        kind: String,
        /// The owner.
        contact: i64,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promoted { contact } => write!(f, "made {contact} the primary"),
            Self::Linked { contact, primary } => write!(f, "linked {contact} to {primary}"),
            Self::Merged { survivor, absorbed } => {
                write!(f, "merged the identity of {absorbed} into that of {survivor}")
            }
            Self::Assigned { kind, contact } => write!(f, "gave the {kind} to {contact}"),
            Self::Released { kind, contact } => write!(f, "took an identifier ({kind}) from {contact}"),
        }
    }
}

impl Neighbourhood {
    /// What to write, or nothing when all is well. `now` is the database's clock.
    pub(super) fn mend(&self, now: Timestamp) -> Option<Mending> {
        let primary = self.primary()?;
        let mut repairs = Vec::new();
        let relinks = self.relinks(primary, &mut repairs);
        let merges = self.merges(primary, &mut repairs);
        let (new_identifiers, reassigned) = self.assignments(&mut repairs);
        if repairs.is_empty() {
            return None;
        }
        let is_relinked = relinks.iter().any(|relink| relink.contact == primary);
        let touched = if is_relinked { Vec::new() } else { vec![primary] };
        let newest = self.contacts.values().map(|contact| contact.updated_at).max();
        let updated_at = newest.map_or(now, |newest| now.max(newest.next()));
        let plan = Plan::of_repair(relinks, merges, new_identifiers, touched, updated_at);
        Some(Mending { plan, reassigned, repairs })
    }

    fn live(&self) -> impl Iterator<Item = &StoredContact> {
        self.contacts.values().filter(|contact| !contact.is_deleted)
    }

    /// The oldest live contact; without any, the oldest that is linked to nobody, or else the oldest.
    fn primary(&self) -> Option<ContactId> {
        let rank = |contact: &&StoredContact| {
            (contact.is_deleted, contact.is_deleted && contact.linked_to.is_some(), contact.age())
        };
        self.contacts.values().min_by_key(rank).map(|contact| contact.id)
    }

    /// Every contact that is not linked as it should be; deleted ones too, so that no link is ever a chain.
    fn relinks(&self, primary: ContactId, repairs: &mut Vec<Repair>) -> Vec<Relink> {
        let mut relinks = Vec::new();
        for contact in self.contacts.values() {
            let (linked_to, link) = if contact.id == primary {
                (None, Link::Primary)
            } else {
                (Some(primary), Link::SecondaryOf(ContactRef::Stored(primary)))
            };
            if contact.linked_to != linked_to || contact.says_primary != linked_to.is_none() {
                relinks.push(Relink { contact: contact.id, link });
                repairs.push(match linked_to {
                    None => Repair::Promoted { contact: contact.id.0 },
                    Some(primary) => Repair::Linked { contact: contact.id.0, primary: primary.0 },
                });
            }
        }
        relinks
    }

    /// The identities, by their links alone, that an identifier joins: all become the primary's.
    fn merges(&self, primary: ContactId, repairs: &mut Vec<Repair>) -> Vec<Merge> {
        let clusters = self.clusters();
        let mut identities: BTreeMap<ContactId, Vec<&StoredContact>> = BTreeMap::new();
        for contact in self.live() {
            identities.entry(clusters[&contact.id]).or_default().push(contact);
        }
        identities.remove(&clusters[&primary]);
        let mut merges = Vec::new();
        for contacts in identities.values() {
            let Some(oldest) = contacts.iter().min_by_key(|contact| contact.age()) else { continue };
            let carried: BTreeSet<&Identifier> = contacts.iter().flat_map(|contact| &contact.identifiers).collect();
            let elsewhere = |identifier: &&Identifier| {
                let owner = self.owners.get(identifier).map(|owner| owner.id);
                owner.is_some_and(|owner| clusters.get(&owner) != Some(&clusters[&oldest.id]))
            };
            let shared = |identifier: &&Identifier| {
                let theirs = self.live().filter(|contact| clusters[&contact.id] != clusters[&oldest.id]);
                elsewhere(identifier) || theirs.flat_map(|contact| &contact.identifiers).any(|one| one == *identifier)
            };
            merges.push(Merge {
                survivor: ContactRef::Stored(primary),
                absorbed: ContactRef::Stored(oldest.id),
                cause: carried.into_iter().filter(shared).cloned().collect(),
            });
            repairs.push(Repair::Merged { survivor: primary.0, absorbed: oldest.id.0 });
        }
        merges
    }

    /// For each contact, one that stands for all that are linked to each other.
    fn clusters(&self) -> BTreeMap<ContactId, ContactId> {
        // Links may name rows that are not there; those join the contacts that name them all the same.
        let mut above: BTreeMap<ContactId, ContactId> = BTreeMap::new();
        fn top(above: &BTreeMap<ContactId, ContactId>, mut id: ContactId) -> ContactId {
            while let Some(&next) = above.get(&id) {
                id = next;
            }
            id
        }
        for contact in self.contacts.values() {
            let (one, other) = (top(&above, contact.id), top(&above, contact.root()));
            if one != other {
                above.insert(one.max(other), one.min(other));
            }
        }
        self.contacts.keys().map(|id| (*id, top(&above, *id))).collect()
    }

    /// Identifiers that live contacts carry and that no live contact owns: the oldest gets each.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn assignments(
        &self,
        repairs: &mut Vec<Repair>,
    ) -> (Vec<(Identifier, ContactRef)>, Vec<(Identifier, ContactId, ContactId)>) {
        let mut oldest: BTreeMap<&Identifier, &StoredContact> = BTreeMap::new();
        for contact in self.live() {
            for identifier in &contact.identifiers {
                let held = oldest.entry(identifier).or_insert(contact);
                if contact.age() < held.age() {
                    *held = contact;
                }
            }
        }
        let (mut new, mut reassigned) = (Vec::new(), Vec::new());
        for (identifier, contact) in oldest {
            match self.owners.get(identifier) {
                Some(owner) if owner.rightful_root().is_some() => continue,
                Some(owner) => reassigned.push((identifier.clone(), owner.id, contact.id)),
                None if identifier.value().len() > MAX_VALUE_BYTES => continue, // Nothing can own it.
                None => new.push((identifier.clone(), ContactRef::Stored(contact.id))),
            }
            repairs.push(Repair::Assigned { kind: identifier.kind().name(), contact: contact.id.0 });
        }
        (new, reassigned)
    }
}
