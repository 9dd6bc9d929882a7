use std::collections::HashSet;

use super::{Contact, ContactId, Identifier, IdentifierKind, Link};

/// All live contacts that belong to one customer. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity<Id = ContactId> {
    /// Sorted by age.
    contacts: Vec<Contact<Id>>,
}

impl<Id: Copy + Ord> Identity<Id> {
    /// The identity these contacts make, or `None` of none.
    pub fn new(mut contacts: Vec<Contact<Id>>) -> Option<Self> {
        contacts.sort_by_key(Contact::age);
        (!contacts.is_empty()).then_some(Self { contacts })
    }

    /// An identity of one contact.
    pub(super) fn of(contact: Contact<Id>) -> Self {
        Self { contacts: vec![contact] }
    }

    /// The primary: the oldest contact, smallest `createdAt`, then smallest `id`.
    pub fn primary(&self) -> &Contact<Id> {
        &self.contacts[0]
    }

    /// All the others, the oldest first.
    pub fn secondaries(&self) -> &[Contact<Id>] {
        &self.contacts[1..]
    }

    /// Every contact, the oldest (so the primary) first.
    pub fn contacts(&self) -> &[Contact<Id>] {
        &self.contacts
    }

    /// Each distinct value of a kind: the primary's own first, then by the age of the contact that
    /// brought it.
    pub fn values(&self, kind: IdentifierKind) -> Vec<&str> {
        let carried = self.contacts.iter().flat_map(|contact| contact.identifiers.iter());
        let values = carried.filter(|identifier| identifier.kind() == kind).map(Identifier::value);
        if self.contacts.len() == 1 {
            return values.collect(); // Most identities; a contact carries nothing twice.
        }
        let mut seen = HashSet::with_capacity(self.contacts.len());
        values.filter(|value| seen.insert(*value)).collect()
    }

    pub(super) fn newest(&self) -> &Contact<Id> {
        &self.contacts[self.contacts.len() - 1]
    }

    pub(super) fn add(&mut self, contact: Contact<Id>) {
        self.absorb(Self::of(contact));
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.contacts.extend(other.contacts);
        self.contacts.sort_by_key(Contact::age);
    }
}

impl<Id> Identity<Id> {
    /// The same identity with the ids of its contacts replaced, which must not change their order.
    pub(super) fn map_ids<To>(&self, map: impl Fn(&Id) -> To) -> Identity<To> {
        Identity { contacts: self.contacts.iter().map(|contact| contact.map_id(&map)).collect() }
    }
}

impl Identity {
    /// The row that stands for the identity, and that whoever changes the identity must lock: its
    /// primary's, also when that one was deleted and the oldest live contact stands in for it.
    pub fn root(&self) -> ContactId {
        match self.primary().link {
            Link::Primary => self.primary().id,
            Link::SecondaryOf(primary) => primary,
        }
    }
}
