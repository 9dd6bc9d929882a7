use std::collections::HashSet;

use super::{Contact, ContactId, Identifier, IdentifierKind, Link, Timestamp};

/// All live contacts that belong to one customer. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity<Id = ContactId> {
    /// Sorted by age.
    contacts: Vec<Contact<Id>>,
    /// In any order.
    deleted: Vec<Contact<Id>>,
}

impl<Id: Copy + Ord> Identity<Id> {
    /// The identity these contacts make, or `None` of none.
    pub fn new(mut contacts: Vec<Contact<Id>>) -> Option<Self> {
        contacts.sort_by_key(Contact::age);
        (!contacts.is_empty()).then_some(Self { contacts, deleted: Vec::new() })
    }

    /// The identity with the contacts that were deleted from it.
    ///
    /// They are in no answer, but stay linked to the primary whoever that is: what they were the first to
    /// bring, a live contact may carry as well, and is found through them.
    pub fn with_deleted(self, deleted: Vec<Contact<Id>>) -> Self {
        Self { deleted, ..self }
    }

    /// An identity of one contact.
    pub(super) fn of(contact: Contact<Id>) -> Self {
        Self { contacts: vec![contact], deleted: Vec::new() }
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

    /// Every row: the contacts, and those that were deleted.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Contact<Id>> {
        self.contacts.iter().chain(&self.deleted)
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
        self.deleted.extend(other.deleted);
        self.contacts.sort_by_key(Contact::age);
    }
}

impl<Id> Identity<Id> {
    /// The same identity with the ids of its contacts replaced, which must not change their order.
    pub(super) fn map_ids<To>(&self, map: impl Fn(&Id) -> To) -> Identity<To> {
        let mapped = |contacts: &[Contact<Id>]| contacts.iter().map(|contact| contact.map_id(&map)).collect();
        Identity { contacts: mapped(&self.contacts), deleted: mapped(&self.deleted) }
    }
}

impl Identity {
    /// The row that stands for the identity, and that whoever changes the identity must lock: the one
    /// that all others are linked to, also when it was deleted and the oldest live contact stands in for
    /// it. Where that row is gone altogether, the oldest live contact's.
    pub fn root(&self) -> ContactId {
        self.root_row().id
    }

    /// When the root's row was last written. Every change of the identity writes that row, and later: as long
    /// as it says the same, nothing has changed.
    pub fn version(&self) -> Timestamp {
        self.root_row().updated_at
    }

    /// The row that the others are linked to, where it is not among those that were read: it is gone altogether,
    /// or was missed.
    pub fn missing_root(&self) -> Option<ContactId> {
        let Link::SecondaryOf(root) = self.primary().link else { return None };
        self.row(root).is_none().then_some(root)
    }

    fn root_row(&self) -> &Contact {
        let Link::SecondaryOf(root) = self.primary().link else { return self.primary() };
        self.row(root).unwrap_or(self.primary())
    }

    fn row(&self, id: ContactId) -> Option<&Contact> {
        self.rows().find(|contact| contact.id == id)
    }
}
