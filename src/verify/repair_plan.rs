//! Plans the repair of a damaged identity, without I/O.
//!
//! It does not guess. Contacts that are linked to each other, in any way, belong together. Live contacts that carry the
//! same identifier belong together; two values with one canonical form are the same identifier. The oldest live contact
//! among them is the primary. So there is only one correct result.

use std::collections::{BTreeMap, BTreeSet};

use super::connected::{ConnectedContacts, Rewrite};
use super::repairs::Repair;
use super::steps;
use crate::domain::{ContactId, ContactRef, Identifier, IdentifierKind, Link, Merge, Plan, Relink, Timestamp};
use crate::store::audit::StoredContact;

/// What a repair writes.
#[derive(Debug)]
pub(super) struct RepairPlan {
    pub(super) plan: Plan,
    /// The primary of the repaired identity, and when it was created.
    pub(super) primary: (Timestamp, ContactId),
    /// Identifiers whose row names the wrong contact, with that contact and the right one.
    pub(super) reassigned: Vec<(Identifier, ContactId, ContactId)>,
    /// Values to replace.
    pub(super) rewrites: Vec<Rewrite>,
    /// Rows of replaced values, with the contact that they name.
    pub(super) released: Vec<(Identifier, ContactId)>,
    /// Contacts that carry an ignored identifier of this kind, and are to show it only.
    pub(super) marks: Vec<(ContactId, IdentifierKind)>,
    /// The same changes, for the report.
    pub(super) repairs: Vec<Repair>,
}

impl RepairPlan {
    /// Returns the identifiers that get a new owner.
    pub(super) fn given(&self) -> impl Iterator<Item = &Identifier> {
        let new = self.plan.new_identifiers.iter().map(|(identifier, _)| identifier);
        new.chain(self.reassigned.iter().map(|(identifier, ..)| identifier))
    }

    /// Returns the identifiers whose row gets a new owner, or is deleted with the value that it names.
    pub(super) fn settled(&self) -> impl Iterator<Item = &Identifier> {
        self.given().chain(self.released.iter().map(|(identifier, _)| identifier))
    }
}

impl ConnectedContacts {
    /// Returns what to write, or `None` when all is well. `now` is the database's clock.
    pub(super) fn plan_repair(&self, now: Timestamp) -> Option<RepairPlan> {
        let primary = self.primary()?;
        let mut repairs = Vec::new();
        let relinks = self.relinks(primary, &mut repairs);
        let merges = self.merges(primary, &mut repairs);
        let released = self.rewritten(&mut repairs);
        let marked =
            |(contact, kind): &(ContactId, IdentifierKind)| Repair::Marked { kind: kind.name(), contact: contact.0 };
        repairs.extend(self.marks.iter().map(marked));
        let (new_identifiers, reassigned) = self.assignments(&mut repairs);
        if repairs.is_empty() {
            return None;
        }
        let is_relinked = relinks.iter().any(|relink| relink.contact == primary);
        let touched = if is_relinked { Vec::new() } else { vec![primary] };
        let newest = self.contacts.values().map(|contact| contact.updated_at).max();
        let updated_at = now.after(newest);
        let plan = Plan::from_repair(relinks, merges, new_identifiers, touched, updated_at);
        let (primary, rewrites) = (self.contacts[&primary].age(), self.rewrites.clone());
        let marks = self.marks.clone();
        Some(RepairPlan { plan, primary, reassigned, rewrites, released, marks, repairs })
    }

    /// Returns the `Identifier` rows of the replaced values that name one of these contacts.
    fn rewritten(&self, repairs: &mut Vec<Repair>) -> Vec<(Identifier, ContactId)> {
        repairs.extend(self.rewrites.iter().map(|rewrite| {
            let (contact, kind) = (rewrite.contact.0, rewrite.stored.kind().name());
            match rewrite.canonical {
                Some(_) => Repair::MadeCanonical { kind, contact },
                None => Repair::Cleared { kind, contact },
            }
        }));
        let stored: BTreeSet<&Identifier> = self.rewrites.iter().map(|rewrite| &rewrite.stored).collect();
        let owned = stored.into_iter().filter_map(|stored| Some((stored.clone(), self.owners.get(stored)?.id)));
        owned.filter(|(_, owner)| self.contacts.contains_key(owner)).collect()
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
        // The cluster that carries an identifier, `None` if several do.
        let mut carriers: BTreeMap<&Identifier, Option<ContactId>> = BTreeMap::new();
        for contact in self.live() {
            let cluster = clusters[&contact.id];
            steps::count(contact.identifiers.len());
            identities.entry(cluster).or_default().push(contact);
            for identifier in &contact.identifiers {
                let carrier = carriers.entry(identifier).or_insert(Some(cluster));
                *carrier = carrier.filter(|carrier| *carrier == cluster);
            }
        }
        identities.remove(&clusters[&primary]);
        let mut merges = Vec::new();
        for (cluster, contacts) in &identities {
            steps::count(contacts.len());
            let Some(oldest) = contacts.iter().min_by_key(|contact| contact.age()) else { continue };
            let carried: BTreeSet<&Identifier> = contacts.iter().flat_map(|contact| &contact.identifiers).collect();
            steps::count(carried.len());
            let elsewhere = |identifier: &&Identifier| {
                let owner = self.owners.get(identifier).map(|owner| owner.id);
                owner.is_some_and(|owner| clusters.get(&owner) != Some(cluster))
            };
            let shared = |identifier: &&Identifier| elsewhere(identifier) || carriers[*identifier].is_none();
            merges.push(Merge {
                survivor: ContactRef::Stored(primary),
                absorbed: ContactRef::Stored(oldest.id),
                cause: carried.into_iter().filter(shared).cloned().collect(),
                is_repair: true,
            });
            repairs.push(Repair::Merged { survivor: primary.0, absorbed: oldest.id.0 });
        }
        merges
    }

    /// Returns for each contact the representative of its cluster: the contacts that are linked to each other.
    fn clusters(&self) -> BTreeMap<ContactId, ContactId> {
        // A link may name a row that does not exist. Contacts with the same such link belong together too.
        let mut above: BTreeMap<ContactId, ContactId> = BTreeMap::new();
        fn top(above: &mut BTreeMap<ContactId, ContactId>, id: ContactId) -> ContactId {
            let mut top = id;
            while let Some(&next) = above.get(&top) {
                top = next;
                steps::count(1);
            }
            // The next search from here takes one step.
            let mut below = id;
            while below != top {
                below = above.insert(below, top).unwrap_or(top);
                steps::count(1);
            }
            top
        }
        for contact in self.contacts.values() {
            let (one, other) = (top(&mut above, contact.id), top(&mut above, contact.root()));
            if one != other {
                above.insert(one.max(other), one.min(other));
            }
        }
        self.contacts.keys().map(|id| (*id, top(&mut above, *id))).collect()
    }

    /// Returns new owners for the identifiers that live contacts carry but no live contact owns: the oldest each.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn assignments(
        &self,
        repairs: &mut Vec<Repair>,
    ) -> (Vec<(Identifier, ContactRef)>, Vec<(Identifier, ContactId, ContactId)>) {
        let mut oldest: BTreeMap<&Identifier, &StoredContact> = BTreeMap::new();
        for contact in self.live() {
            steps::count(contact.identifiers.len());
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
                Some(owner) if self.is_rightful(identifier, owner) => continue,
                Some(owner) => reassigned.push((identifier.clone(), owner.id, contact.id)),
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
    use crate::store::audit::{FoundOwner, Owner};

    /// A canonical address.
    fn email(name: &str) -> Identifier {
        stored(&format!("{name}@x.de"))
    }

    fn stored(value: &str) -> Identifier {
        Identifier::from_stored(IdentifierKind::Email, value)
    }

    /// A live contact whose age is its id, with this identifier and this link.
    fn contact(id: i64, name: &str, linked_to: Option<i64>) -> StoredContact {
        holder(id, email(name), linked_to)
    }

    /// The same with any value.
    fn holder(id: i64, identifier: Identifier, linked_to: Option<i64>) -> StoredContact {
        StoredContact {
            id: ContactId(id),
            identifiers: vec![identifier],
            shown: Vec::new(),
            is_holder: false,
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
            found.insert(contact.clone(), None);
            for identifier in contact.identifiers.iter().filter(|_| !contact.is_deleted) {
                let row = FoundOwner { root: contact.root(), is_deleted: false, carries: true, is_holder: false };
                found.owners.entry(identifier.clone()).or_insert(Owner { id: contact.id, found: Some(row) });
            }
        }
        found
    }

    fn repairs(contacts: &ConnectedContacts) -> Vec<String> {
        let planned = contacts.plan_repair(Timestamp(100));
        planned.map(|planned| planned.repairs.iter().map(Repair::describe_done).collect()).unwrap_or_default()
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
    #[test]
    fn a_blank_value_is_cleared_and_joins_nobody() {
        // The row of the blank value names contact 1.
        let strangers = connected(&[holder(1, stored(""), None), holder(2, stored(" "), None)]);
        assert!(strangers.contacts.values().all(|contact| contact.identifiers.is_empty()));
        let mut one = ConnectedContacts::default();
        one.insert(holder(1, stored(""), None), None);
        one.owners = strangers.owners;
        let planned = one.plan_repair(Timestamp(100)).expect("work");
        assert_eq!(planned.repairs, [Repair::Cleared { kind: "email", contact: 1 }]);
        assert_eq!(planned.released, [(stored(""), ContactId(1))]);
        assert_eq!(planned.rewrites, [Rewrite { contact: ContactId(1), stored: stored(""), canonical: None }]);
        assert!(planned.plan.merges.is_empty() && planned.plan.new_identifiers.is_empty());
    }

    #[test]
    fn a_value_becomes_canonical_and_its_row_follows() {
        let planned = connected(&[holder(1, stored("A@X.de "), None)]).plan_repair(Timestamp(100)).expect("work");
        let expected =
            [Repair::MadeCanonical { kind: "email", contact: 1 }, Repair::Assigned { kind: "email", contact: 1 }];
        assert_eq!(planned.repairs, expected);
        assert_eq!(planned.plan.new_identifiers, [(email("a"), ContactRef::Stored(ContactId(1)))]);
        assert_eq!(planned.released, [(stored("A@X.de "), ContactId(1))]);
        assert_eq!((planned.plan.touched, planned.primary), (vec![ContactId(1)], (Timestamp(1), ContactId(1))));
    }

    #[test]
    fn two_values_with_one_canonical_form_are_one_identifier() {
        let two = connected(&[holder(1, stored("A@X.de"), None), contact(2, "a", None)]);
        let planned = two.plan_repair(Timestamp(100)).expect("work");
        assert_eq!(planned.plan.merges.len(), 1);
        assert_eq!(planned.plan.merges[0].cause, [email("a")]);
        assert!(planned.repairs.contains(&Repair::Merged { survivor: 1, absorbed: 2 }));
        assert!(planned.reassigned.is_empty(), "2 owns it already");
    }

    /// Returns the steps of the plan for so many identities that carry the same identifier.
    fn steps_for_one_of(identities: i64) -> u64 {
        let one = |id: i64| {
            let own = email(&format!("own{id}"));
            StoredContact { identifiers: vec![own, email("shared")], ..holder(id, email("shared"), None) }
        };
        let contacts: Vec<StoredContact> = (1..=identities).map(one).collect();
        let contacts = connected(&contacts);
        let before = steps::counted();
        let planned = contacts.plan_repair(Timestamp(100)).expect("work");
        let others = usize::try_from(identities - 1).unwrap();
        assert_eq!((planned.plan.merges.len(), planned.plan.relinks.len()), (others, others));
        assert!(planned.plan.merges.iter().all(|merge| merge.cause == [email("shared")]));
        steps::counted() - before
    }

    /// The same for twice so many contacts that are linked to and fro: the links alone are a path of that length.
    fn steps_for_zigzag_of(contacts: i64) -> u64 {
        let one = |id: i64| contact(id, &format!("own{id}"), Some(2 * contacts + i64::from(id <= contacts) - id));
        let contacts = connected(&(1..2 * contacts).map(one).collect::<Vec<_>>());
        let before = steps::counted();
        contacts.plan_repair(Timestamp(100)).expect("work");
        steps::counted() - before
    }

    /// With work for each pair, twice as many would take four times the steps, and a large identity minutes.
    #[test]
    fn twice_as_many_contacts_take_twice_the_steps() {
        for steps in [steps_for_one_of, steps_for_zigzag_of] {
            let (some, twice) = (steps(500), steps(1_000));
            assert!(some >= 500 && twice <= 2 * some + some / 2, "{some} steps, and {twice}");
        }
    }

    #[test]
    fn a_malformed_value_is_left_alone() {
        let left = connected(&[holder(1, stored("new123"), None), holder(2, stored("new123"), Some(1))]);
        assert_eq!(repairs(&left), Vec::<String>::new());
    }
}
