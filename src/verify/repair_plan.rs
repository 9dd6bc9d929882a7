//! How a damaged identity is put right. Pure.
//!
//! Nothing is guessed: rows that are linked, however, belong together; so do live contacts that carry one
//! identifier; and of these the oldest live contact is the primary. That is what the rows say, and by the
//! rules of the service there is one way to say it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::domain::{ContactId, ContactRef, Identifier, Link, Merge, Plan, Relink, Timestamp};
use crate::store::audit::{MAX_VALUE_BYTES, Owner, StoredContact};

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
        let updated_at = now.after(newest);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::IdentifierKind;
    use crate::store::audit::FoundOwner;

    fn email(value: &str) -> Identifier {
        Identifier::from_stored(IdentifierKind::Email, value)
    }

    /// A live contact as old as its id, that carries this and is linked to that.
    fn contact(id: i64, value: &str, linked_to: Option<i64>) -> StoredContact {
        StoredContact {
            id: ContactId(id),
            identifiers: vec![email(value)],
            linked_to: linked_to.map(ContactId),
            says_primary: linked_to.is_none(),
            created_at: Timestamp(id),
            updated_at: Timestamp(id),
            is_deleted: false,
        }
    }

    fn deleted(contact: StoredContact) -> StoredContact {
        StoredContact { is_deleted: true, ..contact }
    }

    /// Each identifier is owned by the first live contact that carries it.
    fn neighbourhood(contacts: &[StoredContact]) -> Neighbourhood {
        let mut found = Neighbourhood::default();
        for contact in contacts {
            found.contacts.insert(contact.id, contact.clone());
            for identifier in contact.identifiers.iter().filter(|_| !contact.is_deleted) {
                let row = FoundOwner { root: contact.root(), is_deleted: false, carries: true };
                found.owners.entry(identifier.clone()).or_insert(Owner { id: contact.id, found: Some(row) });
            }
        }
        found
    }

    fn repairs(neighbourhood: &Neighbourhood) -> Vec<String> {
        let mending = neighbourhood.mend(Timestamp(100));
        mending.map(|mending| mending.repairs.iter().map(Repair::to_string).collect()).unwrap_or_default()
    }

    #[test]
    fn what_is_whole_is_left_alone() {
        let gone = deleted(contact(1, "a", Some(2)));
        let whole = neighbourhood(&[gone, contact(2, "b", None), contact(3, "c", Some(2))]);
        assert_eq!(repairs(&whole), Vec::<String>::new());
    }

    #[test]
    fn a_circle_gets_its_oldest_as_primary() {
        let circle = neighbourhood(&[contact(1, "a", Some(3)), contact(2, "b", Some(1)), contact(3, "c", Some(2))]);
        assert_eq!(repairs(&circle), ["made 1 the primary", "linked 3 to 1"]);
    }

    #[test]
    fn those_who_miss_the_same_primary_stay_together() {
        let left = neighbourhood(&[contact(8, "a", Some(7)), contact(9, "b", Some(7))]);
        assert_eq!(repairs(&left), ["made 8 the primary", "linked 9 to 8"]);
    }

    #[test]
    fn deleted_contacts_follow_but_never_lead() {
        let left = neighbourhood(&[deleted(contact(1, "a", None)), contact(2, "b", Some(1)), contact(3, "c", Some(1))]);
        assert_eq!(repairs(&left), ["linked 1 to 2", "made 2 the primary", "linked 3 to 2"]);
        let all_gone =
            [deleted(contact(1, "a", None)), deleted(contact(2, "b", Some(1))), deleted(contact(3, "c", Some(2)))];
        assert_eq!(repairs(&neighbourhood(&all_gone)), ["linked 3 to 1"]);
    }

    #[test]
    fn whoever_carries_the_same_is_merged_with_the_oldest() {
        let three = neighbourhood(&[contact(1, "a", None), contact(2, "a", None), contact(3, "a", None)]);
        let mending = three.mend(Timestamp(100)).expect("work");
        let merged: Vec<_> = mending.plan.merges.iter().map(|merge| (merge.survivor, merge.absorbed)).collect();
        let stored = |id| ContactRef::Stored(ContactId(id));
        assert_eq!(merged, [(stored(1), stored(2)), (stored(1), stored(3))]);
        assert!(mending.plan.merges.iter().all(|merge| merge.cause == [email("a")]));
        assert_eq!((mending.plan.touched, mending.plan.updated_at), (vec![ContactId(1)], Timestamp(100)));
    }

    #[test]
    fn an_identifier_goes_to_the_oldest_who_carries_it() {
        let mut shared = neighbourhood(&[contact(1, "a", None), contact(2, "b", Some(1)), contact(3, "b", Some(1))]);
        shared.owners.remove(&email("b"));
        let mending = shared.mend(Timestamp(100)).expect("work");
        assert_eq!(mending.plan.new_identifiers, [(email("b"), ContactRef::Stored(ContactId(2)))]);
        shared.owners.insert(email("b"), Owner { id: ContactId(7), found: None });
        let mending = shared.mend(Timestamp(100)).expect("work");
        assert_eq!(mending.reassigned, [(email("b"), ContactId(7), ContactId(2))]);
    }
}
