//! The result of planning: the changes to write, and the answers. [`plan`](super::plan()) makes it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::contact::{ContactId, ContactRef, Link, Timestamp};
use super::identifier::Identifier;
use super::identity::Identity;

/// What an observation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No identity owned an identifier: there is a new identity.
    Created,
    /// One identity owned all identifiers: nothing was written.
    Matched,
    /// One identity owned some identifiers, and now owns the others too.
    Linked,
    /// Several identities owned the identifiers, and are one identity now.
    Merged,
}

/// The answer for one observation: the complete identity, just after the observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<Id = ContactId> {
    /// What the observation did.
    pub outcome: Outcome,
    /// The identity that it belongs to.
    pub identity: Arc<Identity<Id>>,
}

/// A contact to insert. The store inserts contacts in the order of the plan, so that their ids ascend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewContact {
    /// The identifiers that it carries.
    pub identifiers: Arc<[Identifier]>,
    /// Its `createdAt`.
    pub created_at: Timestamp,
    /// Its `updatedAt`. It is later than `createdAt` if the same plan changed the identity again.
    pub updated_at: Timestamp,
    /// Its link after the plan. Its primary may be a contact of the same plan.
    pub link: Link<ContactRef>,
}

/// A stored contact whose link changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relink {
    /// The row.
    pub contact: ContactId,
    /// Its new link.
    pub link: Link<ContactRef>,
}

/// All rows that are linked to one row, to be linked to another. A merge moves an identity however large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The old root. Every row that is linked to it moves, deleted contacts included.
    pub from: ContactId,
    /// The primary that they are linked to from now on.
    pub to: ContactRef,
}

/// A merge to record. Without this record, nothing would show why two identities became one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The primary of the identity that survived.
    pub survivor: ContactRef,
    /// The primary of the identity that was absorbed.
    pub absorbed: ContactRef,
    /// The identifiers of the observation that the two identities owned.
    pub cause: Vec<Identifier>,
}

/// What to write for a list of observations, and the answer for each.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Contacts to insert, in this order.
    pub new_contacts: Vec<NewContact>,
    /// Identifiers that get an owner, with the contact that brought them. They are sorted, so that all transactions
    /// lock them in the same order.
    pub new_identifiers: Vec<(Identifier, ContactRef)>,
    /// Roots whose secondaries all move to another primary, by root. The store carries these out before the relinks.
    pub moves: Vec<Move>,
    /// Stored contacts whose link changes by themselves, including deleted contacts. One of them may be moved before.
    pub relinks: Vec<Relink>,
    /// Merges to record, in order.
    pub merges: Vec<Merge>,
    /// Stored primaries whose identity changes but whose link does not.
    pub touched: Vec<ContactId>,
    /// The `updatedAt` of every moved, relinked or touched row. It is later than the one that it replaces.
    pub updated_at: Timestamp,
    /// One answer for each observation, in order.
    pub(super) answers: Vec<Answer<ContactRef>>,
}

impl Plan {
    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.new_contacts.is_empty() && self.relinks.is_empty() && self.merges.is_empty()
    }

    /// Returns the stored contacts whose rows it writes, but for those that it moves. These include the root of every
    /// identity that it changes.
    pub fn written(&self) -> BTreeSet<ContactId> {
        self.relinks.iter().map(|relink| relink.contact).chain(self.touched.iter().copied()).collect()
    }

    /// Adds rows whose identities do not change. `newest` is their latest `updatedAt`, or `None` if the plan is later.
    pub fn touch_also(&mut self, rows: impl IntoIterator<Item = ContactId>, newest: Option<Timestamp>) {
        self.touched.extend(rows);
        self.touched.sort();
        self.updated_at = self.updated_at.after(newest);
    }

    /// Returns the plan of a repair. It has no observations, so it has no answers.
    pub fn from_repair(
        relinks: Vec<Relink>,
        merges: Vec<Merge>,
        new_identifiers: Vec<(Identifier, ContactRef)>,
        touched: Vec<ContactId>,
        updated_at: Timestamp,
    ) -> Self {
        Self {
            new_contacts: Vec::new(),
            new_identifiers,
            moves: Vec::new(),
            relinks,
            merges,
            touched,
            updated_at,
            answers: Vec::new(),
        }
    }

    /// Returns the answers. `ids` are the ids of the new contacts, in the order of [`Plan::new_contacts`].
    pub fn answers(&self, ids: &[ContactId]) -> Vec<Answer> {
        // Answers that show the same state of an identity share it.
        let mut resolved: HashMap<*const Identity<ContactRef>, Arc<Identity>> = HashMap::new();
        let resolve = |id: &ContactRef| match *id {
            ContactRef::Stored(id) => id,
            ContactRef::Planned(index) => ids[index],
        };
        self.answers
            .iter()
            .map(|answer| Answer {
                outcome: answer.outcome,
                identity: Arc::clone(
                    resolved
                        .entry(Arc::as_ptr(&answer.identity))
                        .or_insert_with(|| Arc::new(answer.identity.map_ids(resolve))),
                ),
            })
            .collect()
    }
}
