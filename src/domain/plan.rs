//! The result of planning: the changes to write, and the answers. [`plan`](super::plan()) makes it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::contact::{Contact, ContactId, ContactRef, Link, Timestamp};
use super::evidence::{EvidenceOrigin, NewEvidence, SetKey};
use super::identifier::Identifier;
use super::identity::Identity;
use super::identity_state::{IdentityState, Joined};

/// What an observation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No identity owned an identifier: there is a new identity.
    Created,
    /// One identity owned all identifiers: there is no new contact. At most the set of the identifiers was stored.
    Matched,
    /// One identity owned some identifiers, and now owns the others too.
    Linked,
    /// Several identities owned the identifiers, and are one identity now.
    Merged,
}

/// The answer for one observation: the complete identity, just after the observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the observation did.
    pub outcome: Outcome,
    /// The identity that it belongs to.
    pub identity: IdentityState,
    /// The identifiers of the observation that are ignored. The observation was handled as if it did not have them.
    pub ignored: Vec<Identifier>,
}

/// Why an observation is refused. It changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The identity would be too large.
    #[error(transparent)]
    TooLarge(#[from] IdentityTooLarge),
    /// The observation has only identifiers that are ignored, so it says nothing about anybody.
    #[error("all identifiers of the request are ignored: they belong to no customer")]
    OnlyIgnored,
}

/// An observation would make an identity of more contacts than an identity may have. It changes nothing.
///
/// Deleted contacts do not count. An identity that has more contacts already is still answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the identity would have more than {limit} contacts")]
pub struct IdentityTooLarge {
    /// Maximum contacts of an identity.
    pub limit: usize,
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
    /// The identifiers of the observation that the two identities owned. Of a repair, those that both had.
    pub cause: Vec<Identifier>,
    /// Whether a repair made it. Its cause was not seen in one observation.
    pub is_repair: bool,
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
    /// Sets to store beside the contacts, by key: all transactions insert them in the same order.
    pub new_evidence: Vec<NewEvidence>,
    /// Stored primaries whose identity changes but whose link does not.
    pub touched: Vec<ContactId>,
    /// The `updatedAt` of every moved, relinked or touched row. It is later than the one that it replaces.
    pub updated_at: Timestamp,
    /// The roots of the stored identities whose sets the plan stores.
    pub(super) evidence_roots: BTreeSet<ContactId>,
    /// One for each observation, in order.
    pub(super) answers: Vec<Result<PlannedAnswer, Refusal>>,
    /// The identities after all observations. `None` for one that another absorbed.
    pub(super) identities: Vec<Option<PlannedIdentity>>,
}

/// The answer for an observation, before the new contacts have ids.
#[derive(Clone, Debug)]
pub(super) struct PlannedAnswer {
    pub(super) outcome: Outcome,
    /// The index in [`Plan::identities`].
    pub(super) identity: usize,
    /// What it shows of the identity: see [`IdentityState::after_step`].
    pub(super) contact_count: usize,
    pub(super) places: Range<u32>,
    pub(super) step: u32,
    /// See [`Answer::ignored`].
    pub(super) ignored: Vec<Identifier>,
}

/// An identity after all observations.
#[derive(Clone, Debug)]
pub(super) enum PlannedIdentity {
    /// It did not change.
    Unchanged(Arc<Identity>),
    /// It did. Its rows are as the plan leaves them.
    Changed {
        /// Sorted by age.
        contacts: Vec<(Contact<ContactRef>, Joined)>,
        /// In any order.
        deleted: Vec<Contact<ContactRef>>,
    },
}

impl Plan {
    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.new_contacts.is_empty()
            && self.relinks.is_empty()
            && self.merges.is_empty()
            && self.new_evidence.is_empty()
    }

    /// Returns the sets of which it has to be known under the locks whether they are stored, and the roots of the
    /// identities whose sets have to be counted: a MATCHED may bring a set that is known already. A merge cannot, as
    /// long as the tables are sound, so its set is among them only if `is_damaged`.
    pub fn evidence_to_look_up(&self, is_damaged: bool) -> (Vec<SetKey>, &BTreeSet<ContactId>) {
        let may_be_known = |new: &&NewEvidence| is_damaged || new.origin == EvidenceOrigin::Match;
        (self.new_evidence.iter().filter(may_be_known).map(|new| new.key).collect(), &self.evidence_roots)
    }

    /// Returns the plan that stores these sets, and nothing else.
    pub fn from_evidence(
        mut new_evidence: Vec<NewEvidence>,
        touched: impl IntoIterator<Item = ContactId>,
        updated_at: Timestamp,
    ) -> Self {
        new_evidence.sort_by_key(|new| new.key);
        let touched = touched.into_iter().collect();
        Self { new_evidence, ..Self::from_repair(Vec::new(), Vec::new(), Vec::new(), touched, updated_at) }
    }

    /// Returns the stored contacts whose rows it writes, but for those that it only moves. These include the root
    /// ([`Identity::root`]) of every identity that it changes.
    pub fn written(&self) -> BTreeSet<ContactId> {
        self.relinks.iter().map(|relink| relink.contact).chain(self.touched.iter().copied()).collect()
    }

    /// Returns whether the observation at this position changes nothing because it is refused.
    pub fn is_refused(&self, observation: usize) -> bool {
        self.answers.get(observation).is_some_and(Result::is_err)
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
            new_evidence: Vec::new(),
            touched,
            updated_at,
            evidence_roots: BTreeSet::new(),
            answers: Vec::new(),
            identities: Vec::new(),
        }
    }

    /// Returns one answer for each observation, in order. `ids` are the ids of the new contacts, in the order of
    /// [`Plan::new_contacts`].
    pub fn answers(&self, ids: &[ContactId]) -> Vec<Result<Answer, Refusal>> {
        let resolve = |id: &ContactRef| match *id {
            ContactRef::Stored(id) => id,
            ContactRef::Planned(index) => ids[index],
        };
        let mut identities: Vec<_> = self.identities.iter().map(|_| None).collect();
        let answer = |answer: &Result<PlannedAnswer, Refusal>| {
            let answer = answer.as_ref().map_err(|error| *error)?;
            let Some(planned) = &self.identities[answer.identity] else { unreachable!("it is absorbed by another") };
            let resolved = identities[answer.identity].get_or_insert_with(|| ResolvedIdentity::new(planned, resolve));
            let ignored = answer.ignored.clone();
            Ok(Answer { outcome: answer.outcome, identity: resolved.state(planned, answer), ignored })
        };
        self.answers.iter().map(answer).collect()
    }
}

/// An identity after all observations, whose contacts have ids.
struct ResolvedIdentity {
    identity: Arc<Identity>,
    /// For states before the last one.
    joined: Option<Arc<[Joined]>>,
}

impl ResolvedIdentity {
    fn new(planned: &PlannedIdentity, resolve: impl Fn(&ContactRef) -> ContactId) -> Self {
        let identity = match planned {
            PlannedIdentity::Unchanged(identity) => Arc::clone(identity),
            PlannedIdentity::Changed { contacts, deleted } => {
                let contacts = contacts.iter().map(|(contact, _)| contact.map_id(&resolve));
                let deleted = deleted.iter().map(|contact| contact.map_id(&resolve));
                Arc::new(Identity::from_sorted(contacts.collect()).with_deleted(deleted.collect()))
            }
        };
        Self { identity, joined: None }
    }

    /// Returns the identity as the answer shows it.
    fn state(&mut self, planned: &PlannedIdentity, answer: &PlannedAnswer) -> IdentityState {
        match planned {
            // An identity only grows, so with all of its contacts it is the last one.
            PlannedIdentity::Changed { contacts, .. } if contacts.len() > answer.contact_count => {
                let joined = || contacts.iter().map(|(_, joined)| *joined).collect();
                let joined = Arc::clone(self.joined.get_or_insert_with(joined));
                let after = (answer.places.clone(), answer.step);
                IdentityState::after_step(Arc::clone(&self.identity), joined, answer.contact_count, after)
            }
            PlannedIdentity::Changed { .. } | PlannedIdentity::Unchanged(_) => Arc::clone(&self.identity).into(),
        }
    }
}
