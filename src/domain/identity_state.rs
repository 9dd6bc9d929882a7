use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::contact::Contact;
use super::identifier::IdentifierKind;
use super::identity::{Identity, distinct_values};

/// An identity as it was just after an observation. It is never empty.
///
/// A plan changes an identity step by step, and each answer shows the identity after its own step. A state is small
/// however large the identity is: all states share one list, the contacts after the last step, and each state knows
/// which of them it shows.
#[derive(Clone)]
pub struct IdentityState {
    identity: Arc<Identity>,
    contact_count: usize,
    /// `None` if the state shows all contacts.
    shown: Option<Shown>,
}

/// Which contacts of the list a state shows.
#[derive(Clone)]
struct Shown {
    /// One for each contact of the identity, in order.
    joined: Arc<[Joined]>,
    /// The drafts that were part of the identity.
    places: Range<u32>,
    step: u32,
}

/// How a contact became part of an identity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    /// The place of the draft that the contact came with. Drafts that merge have places next to each other.
    pub(super) place: u32,
    /// The step that added the contact to its draft. 0 for a stored contact.
    pub(super) step: u32,
}

/// Tells states apart while they exist. Two states with equal keys show the same contacts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StateKey {
    /// The address of the list.
    identity: usize,
    shown: Option<(Range<u32>, u32)>,
}

impl IdentityState {
    /// Returns the state after a step, of which the identity shows `contact_count` contacts. `places` are the drafts
    /// that were part of it by then.
    pub(super) fn after_step(
        identity: Arc<Identity>,
        joined: Arc<[Joined]>,
        contact_count: usize,
        (places, step): (Range<u32>, u32),
    ) -> Self {
        Self { identity, contact_count, shown: Some(Shown { joined, places, step }) }
    }

    /// Returns the number of contacts.
    pub fn contact_count(&self) -> usize {
        self.contact_count
    }

    /// Returns all contacts, the oldest (the primary) first.
    pub fn contacts(&self) -> impl Iterator<Item = &Contact> + Clone {
        let shown = self.shown.as_ref();
        let is_shown = move |index: usize| shown.is_none_or(|shown| shown.contains(index));
        let contacts = self.identity.contacts().iter().enumerate();
        let contacts = contacts.filter(move |(index, _)| is_shown(*index)).map(|(_, contact)| contact);
        contacts.take(self.contact_count) // The rest of a long list has nothing to show.
    }

    /// Returns the primary: the oldest contact, by `createdAt`, then by `id`.
    pub fn primary(&self) -> &Contact {
        self.contacts().next().unwrap_or(self.identity.primary())
    }

    /// Returns each distinct value of a kind: those of the primary first, then by the age of the contact that brought
    /// them.
    pub fn values(&self, kind: IdentifierKind) -> Vec<&str> {
        distinct_values(self.contacts(), self.contact_count, kind)
    }

    /// Returns the identity, if this state shows all of it.
    pub fn whole(&self) -> Option<&Identity> {
        self.shown.is_none().then_some(&self.identity)
    }

    /// Returns the list of contacts that this state has in memory. Other states may share it.
    pub fn list(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Returns the key of this state.
    pub fn key(&self) -> StateKey {
        let shown = self.shown.as_ref().map(|shown| (shown.places.clone(), shown.step));
        StateKey { identity: Arc::as_ptr(&self.identity).addr(), shown }
    }
}

impl Shown {
    fn contains(&self, index: usize) -> bool {
        let Joined { place, step } = self.joined[index];
        step <= self.step && self.places.contains(&place)
    }
}

impl From<Arc<Identity>> for IdentityState {
    fn from(identity: Arc<Identity>) -> Self {
        Self { contact_count: identity.contacts().len(), identity, shown: None }
    }
}

impl From<Identity> for IdentityState {
    fn from(identity: Identity) -> Self {
        Arc::new(identity).into()
    }
}

impl PartialEq for IdentityState {
    fn eq(&self, other: &Self) -> bool {
        self.contact_count == other.contact_count && self.contacts().eq(other.contacts())
    }
}

impl Eq for IdentityState {}

impl fmt::Debug for IdentityState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.contacts()).finish()
    }
}
