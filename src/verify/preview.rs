//! What `--plan` remembers: which joins and repairs were printed, and who would get which identifier.
//!
//! A repair sees what earlier repairs wrote, and a plan writes nothing. So two identities whose values are both not
//! canonical, and become equal, are found here. It remembers some bytes for each damaged value, never the value.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use super::repair_plan::RepairPlan;
use super::repairs::Repair;
use crate::domain::{ContactId, Identifier, Timestamp};

/// The memory of a run of `verify --plan`.
#[derive(Debug, Default)]
pub(super) struct Preview {
    hasher: RandomState,
    /// The primary that would get an identifier (its hash), and when that primary was created.
    new_owners: HashMap<u64, (Timestamp, ContactId)>,
    /// The hashes of the joins that were printed.
    joined: HashSet<u64>,
    /// The hashes of the repairs that were printed under a finding.
    printed: HashSet<u64>,
    /// The hashes of the identifiers whose row gets a new owner, or is deleted.
    settled: HashSet<u64>,
}

impl Preview {
    /// Returns the joins that this plan adds to those of earlier plans.
    pub(super) fn joins(&mut self, plan: &RepairPlan) -> Vec<Repair> {
        let merged = plan.repairs.iter().filter(|repair| matches!(repair, Repair::Merged { .. })).cloned();
        let mut joins: Vec<Repair> = merged.collect();
        for identifier in plan.given() {
            joins.extend(self.note_new_owner(identifier, plan.primary));
        }
        joins.into_iter().filter(|join| self.joined.insert(self.hasher.hash_one(join))).collect()
    }

    /// Returns those of these repairs that were not printed yet.
    pub(super) fn unprinted(&mut self, repairs: Vec<Repair>) -> Vec<Repair> {
        repairs.into_iter().filter(|repair| self.printed.insert(self.hasher.hash_one(repair))).collect()
    }

    /// Remembers whose rows this plan settles.
    pub(super) fn note_settled(&mut self, plan: &RepairPlan) {
        for identifier in plan.settled() {
            let hash = self.row_hash(identifier.kind().name(), identifier.value().as_bytes());
            self.settled.insert(hash);
        }
    }

    /// Returns whether an earlier plan settles the row of this identifier.
    pub(super) fn is_settled(&self, kind: &str, value: &[u8]) -> bool {
        self.settled.contains(&self.row_hash(kind, value))
    }

    fn row_hash(&self, kind: &str, value: &[u8]) -> u64 {
        self.hasher.hash_one((kind, value))
    }

    /// Remembers which primary gets this identifier. Returns a join if another identity would get it too.
    fn note_new_owner(&mut self, identifier: &Identifier, primary: (Timestamp, ContactId)) -> Option<Repair> {
        match self.new_owners.entry(self.hasher.hash_one(identifier)) {
            Entry::Vacant(free) => {
                free.insert(primary);
                None
            }
            Entry::Occupied(taken) => {
                let (older, newer) = (primary.min(*taken.get()), primary.max(*taken.get()));
                (older != newer).then_some(Repair::Merged { survivor: older.1.0, absorbed: newer.1.0 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::IdentifierKind;
    use crate::store::audit::StoredContact;
    use crate::verify::connected::ConnectedContacts;

    /// The plan for a lone contact with this e-mail, which has no row in `Identifier`.
    fn lone(id: i64, value: &str) -> RepairPlan {
        let mut found = ConnectedContacts::default();
        let contact = StoredContact {
            id: ContactId(id),
            identifiers: vec![Identifier::from_stored(IdentifierKind::Email, value)],
            shown: Vec::new(),
            is_holder: false,
            linked_to: None,
            says_primary: true,
            created_at: Timestamp(100 - id),
            updated_at: Timestamp(100),
            is_deleted: false,
        };
        found.insert(contact, None);
        found.plan_repair(Timestamp(100)).expect("work")
    }

    #[test]
    fn identities_that_would_get_one_identifier_are_joined_once() {
        let mut preview = Preview::default();
        assert_eq!(preview.joins(&lone(1, "A@x.de")), []);
        assert_eq!(preview.joins(&lone(1, "A@x.de")), [], "the same identity");
        assert_eq!(preview.joins(&lone(2, "b@x.de")), []);
        let join = Repair::Merged { survivor: 3, absorbed: 1 };
        assert_eq!(preview.joins(&lone(3, "a@X.de")), [join], "the older one survives");
        assert_eq!(preview.joins(&lone(3, "a@X.de")), [], "printed already");
    }

    #[test]
    fn a_repair_is_printed_once() {
        let mut preview = Preview::default();
        let repair = |contact| Repair::Promoted { contact };
        assert_eq!(preview.unprinted(vec![repair(1), repair(2)]), [repair(1), repair(2)]);
        assert_eq!(preview.unprinted(vec![repair(2), repair(3)]), [repair(3)]);
    }
}
