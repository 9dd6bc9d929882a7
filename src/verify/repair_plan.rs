//! Plans the repair of a damaged identity, without I/O.
//!
//! It does not guess. Contacts that are linked to each other, in any way, belong together. Live contacts that carry the
//! same identifier belong together. The oldest live contact among them is the primary. So there is only one correct
//! result.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::domain::{ContactId, ContactRef, Identifier, Link, Merge, Plan, Relink, Timestamp};
use crate::store::audit::{MAX_VALUE_BYTES, Owner, StoredContact};

/// All contacts that belong together, and the owners of the identifiers that the live ones carry.
#[derive(Debug, Default)]
pub(super) struct ConnectedContacts {
    pub(super) contacts: BTreeMap<ContactId, StoredContact>,
    pub(super) owners: BTreeMap<Identifier, Owner>,
}

/// What a repair writes.
#[derive(Debug)]
pub(super) struct RepairPlan {
    pub(super) plan: Plan,
    /// Identifiers whose row names the wrong contact, with that contact and the right one.
    pub(super) reassigned: Vec<(Identifier, ContactId, ContactId)>,
    /// The same changes, for the report.
    pub(super) repairs: Vec<Repair>,
}

/// A change that a repair made.
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
    /// Two identities that carried the same identifier were merged, and the merge was recorded.
    Merged {
        /// The primary of the identity that remains.
        survivor: i64,
        /// The primary of the other identity.
        absorbed: i64,
    },
    /// The oldest contact that carries an identifier became its owner.
    Assigned {
        /// The kind of the identifier.
        kind: &'static str,
        /// The contact.
        contact: i64,
    },
    /// An identifier that no live contact carries lost its owner.
    Released {
        /// The kind of the identifier.
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

impl ConnectedContacts {
    /// Returns what to write, or `None` when all is well. `now` is the database's clock.
    pub(super) fn plan_repair(&self, now: Timestamp) -> Option<RepairPlan> {
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
        let plan = Plan::from_repair(relinks, merges, new_identifiers, touched, updated_at);
        Some(RepairPlan { plan, reassigned, repairs })
    }

    fn live(&self) -> impl Iterator<Item = &StoredContact> {
        self.contacts.values().filter(|contact| !contact.is_deleted)
    }

    /// Returns the oldest live contact. Without live contacts: the oldest without a link, or else the oldest.
    fn primary(&self) -> Option<ContactId> {
        let rank = |contact: &&StoredContact| {
            (contact.is_deleted, contact.is_deleted && contact.linked_to.is_some(), contact.age())
        };
        self.contacts.values().min_by_key(rank).map(|contact| contact.id)
    }

    /// Returns the contacts with a wrong link. Deleted contacts count too, so that no link is ever a chain.
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

    /// Returns the merges to record: identities that have no links to each other but share an identifier.
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

    /// Returns for each contact the representative of its cluster: the contacts that are linked to each other.
    fn clusters(&self) -> BTreeMap<ContactId, ContactId> {
        // A link may name a row that does not exist. Contacts with the same such link belong together too.
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

    /// Returns new owners for the identifiers that live contacts carry but no live contact owns: the oldest each.
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
                None if identifier.value().len() > MAX_VALUE_BYTES => continue, // Too long for an owner.
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

    /// A live contact whose age is its id, with this identifier and this link.
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
    fn connected(contacts: &[StoredContact]) -> ConnectedContacts {
        let mut found = ConnectedContacts::default();
        for contact in contacts {
            found.contacts.insert(contact.id, contact.clone());
            for identifier in contact.identifiers.iter().filter(|_| !contact.is_deleted) {
                let row = FoundOwner { root: contact.root(), is_deleted: false, carries: true };
                found.owners.entry(identifier.clone()).or_insert(Owner { id: contact.id, found: Some(row) });
            }
        }
        found
    }

    fn repairs(contacts: &ConnectedContacts) -> Vec<String> {
        let planned = contacts.plan_repair(Timestamp(100));
        planned.map(|planned| planned.repairs.iter().map(Repair::to_string).collect()).unwrap_or_default()
    }

    #[test]
    fn an_undamaged_identity_is_left_alone() {
        let gone = deleted(contact(1, "a", Some(2)));
        let undamaged = connected(&[gone, contact(2, "b", None), contact(3, "c", Some(2))]);
        assert_eq!(repairs(&undamaged), Vec::<String>::new());
    }

    #[test]
    fn a_circle_gets_its_oldest_as_primary() {
        let circle = connected(&[contact(1, "a", Some(3)), contact(2, "b", Some(1)), contact(3, "c", Some(2))]);
        assert_eq!(repairs(&circle), ["made 1 the primary", "linked 3 to 1"]);
    }

    #[test]
    fn those_who_miss_the_same_primary_stay_together() {
        let left = connected(&[contact(8, "a", Some(7)), contact(9, "b", Some(7))]);
        assert_eq!(repairs(&left), ["made 8 the primary", "linked 9 to 8"]);
    }

    #[test]
    fn deleted_contacts_follow_but_never_lead() {
        let left = connected(&[deleted(contact(1, "a", None)), contact(2, "b", Some(1)), contact(3, "c", Some(1))]);
        assert_eq!(repairs(&left), ["linked 1 to 2", "made 2 the primary", "linked 3 to 2"]);
        let all_gone =
            [deleted(contact(1, "a", None)), deleted(contact(2, "b", Some(1))), deleted(contact(3, "c", Some(2)))];
        assert_eq!(repairs(&connected(&all_gone)), ["linked 3 to 1"]);
    }

    #[test]
    fn identities_that_carry_the_same_are_merged_with_the_oldest() {
        let three = connected(&[contact(1, "a", None), contact(2, "a", None), contact(3, "a", None)]);
        let planned = three.plan_repair(Timestamp(100)).expect("work");
        let merged: Vec<_> = planned.plan.merges.iter().map(|merge| (merge.survivor, merge.absorbed)).collect();
        let stored = |id| ContactRef::Stored(ContactId(id));
        assert_eq!(merged, [(stored(1), stored(2)), (stored(1), stored(3))]);
        assert!(planned.plan.merges.iter().all(|merge| merge.cause == [email("a")]));
        assert_eq!((planned.plan.touched, planned.plan.updated_at), (vec![ContactId(1)], Timestamp(100)));
    }

    #[test]
    fn an_identifier_goes_to_the_oldest_who_carries_it() {
        let mut shared = connected(&[contact(1, "a", None), contact(2, "b", Some(1)), contact(3, "b", Some(1))]);
        shared.owners.remove(&email("b"));
        let planned = shared.plan_repair(Timestamp(100)).expect("work");
        assert_eq!(planned.plan.new_identifiers, [(email("b"), ContactRef::Stored(ContactId(2)))]);
        shared.owners.insert(email("b"), Owner { id: ContactId(7), found: None });
        let planned = shared.plan_repair(Timestamp(100)).expect("work");
        assert_eq!(planned.reassigned, [(email("b"), ContactId(7), ContactId(2))]);
    }
}
