use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::OnceLock;

use super::contact::{Contact, ContactId, Link, Timestamp};
use super::encodings::Encodings;
use super::identifier::{Identifier, IdentifierKind};

/// All live contacts of one customer. It is never empty. Exactly one contact is the primary: the oldest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Sorted by age.
    contacts: Vec<Contact>,
    /// In any order.
    deleted: Vec<Contact>,
    index: Index,
    encodings: Encodings,
}

/// From so many contacts on, an identity gets an index to say what it owns.
const INDEXED_FROM: usize = 16;

/// From so many contacts on, an identity keeps what the APIs made of it. With fewer, the time to make it again is less
/// than the memory is worth.
const ENCODED_FROM: usize = 64;

/// The identifiers of an identity, each with the contacts that carry it, made when they are needed first. It is no part
/// of what identities are compared by.
#[derive(Default)]
struct Index(OnceLock<HashMap<Identifier, Carriers>>);

/// The places of contacts in the list of an identity, in order. Most identifiers are carried by one.
#[derive(Clone, Debug)]
enum Carriers {
    One(u32),
    Many(Vec<u32>),
}

impl Identity {
    /// Returns the identity of these contacts, or `None` if there are none.
    pub fn new(mut contacts: Vec<Contact>) -> Option<Self> {
        contacts.sort_by_key(Contact::age);
        (!contacts.is_empty()).then(|| Self::from_sorted(contacts))
    }

    /// Returns the identity with its deleted contacts.
    ///
    /// Deleted contacts are in no answer, but they stay linked to the primary. A live contact may carry an identifier
    /// that a deleted contact brought first. A read finds the live contact through the deleted one.
    pub fn with_deleted(self, deleted: Vec<Contact>) -> Self {
        Self { deleted, ..self }
    }

    /// Returns the identity of contacts that are sorted by age. There is at least one.
    pub(super) fn from_sorted(contacts: Vec<Contact>) -> Self {
        debug_assert!(!contacts.is_empty() && contacts.is_sorted_by_key(Contact::age));
        Self { contacts, deleted: Vec::new(), index: Index::default(), encodings: Encodings::default() }
    }

    /// Returns the primary: the oldest contact, by `createdAt`, then by `id`.
    pub fn primary(&self) -> &Contact {
        &self.contacts[0]
    }

    /// Returns all other contacts, the oldest first.
    pub fn secondaries(&self) -> &[Contact] {
        &self.contacts[1..]
    }

    /// Returns all contacts, the oldest (the primary) first.
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    /// Returns whether it has this contact, and the contact is not deleted.
    pub fn has_contact(&self, id: ContactId) -> bool {
        self.contacts.iter().any(|contact| contact.id == id)
    }

    /// Returns all rows: the contacts and the deleted contacts.
    pub fn rows(&self) -> impl Iterator<Item = &Contact> {
        self.contacts.iter().chain(&self.deleted)
    }

    /// Returns the deleted contacts, in any order.
    pub fn deleted(&self) -> &[Contact] {
        &self.deleted
    }

    /// Returns whether it owns this identifier: a live contact carries it, and it is not ignored there.
    pub fn owns(&self, identifier: &Identifier) -> bool {
        if !self.is_indexed() {
            return self.contacts.iter().any(|contact| contact.identifiers.contains(identifier));
        }
        self.index().contains_key(identifier)
    }

    /// Returns how many contacts [`Self::carries_set`] compares at most.
    pub fn carriers_to_compare(&self, set: &[Identifier]) -> usize {
        if !self.is_indexed() {
            return self.contacts.len();
        }
        let carriers = |identifier| self.index().get(identifier).map_or(0, |places| places.places().len());
        set.iter().map(carriers).min().unwrap_or_default()
    }

    /// Returns whether one contact carries exactly these identifiers. Each of them is given once.
    pub fn carries_set(&self, set: &[Identifier]) -> bool {
        let is_it = |contact: &Contact| contact.carries_set(set);
        if !self.is_indexed() {
            return self.contacts.iter().any(is_it);
        }
        let carriers = set.iter().map(|identifier| self.index().get(identifier).map_or(&[][..], Carriers::places));
        let fewest = carriers.min_by_key(|places| places.len());
        fewest.unwrap_or_default().iter().any(|place| is_it(&self.contacts[*place as usize]))
    }

    /// Returns the oldest contact that carries this identifier.
    pub fn carrier(&self, identifier: &Identifier) -> Option<&Contact> {
        if !self.is_indexed() {
            return self.contacts.iter().find(|contact| contact.identifiers.contains(identifier));
        }
        let first = *self.index().get(identifier)?.places().first()?;
        Some(&self.contacts[first as usize])
    }

    /// Returns whether it has an index of its identifiers in memory, once they are asked for.
    pub fn is_indexed(&self) -> bool {
        self.contacts.len() >= INDEXED_FROM
    }

    /// Returns whether what the APIs make of it is worth its memory.
    pub fn keeps_encodings(&self) -> bool {
        self.contacts.len() >= ENCODED_FROM
    }

    /// Returns what the APIs made of it.
    pub fn encodings(&self) -> &Encodings {
        &self.encodings
    }

    fn index(&self) -> &HashMap<Identifier, Carriers> {
        self.index.0.get_or_init(|| {
            let mut carriers = HashMap::with_capacity(self.contacts.len());
            for (place, contact) in (0..).zip(&self.contacts) {
                for identifier in contact.identifiers.iter() {
                    match carriers.entry(identifier.clone()) {
                        Entry::Vacant(vacant) => drop(vacant.insert(Carriers::One(place))),
                        Entry::Occupied(mut occupied) => occupied.get_mut().push(place),
                    }
                }
            }
            carriers
        })
    }

    /// Returns each distinct value of a kind: those of the primary first, then by the age of the contact that brought
    /// them.
    pub fn values(&self, kind: IdentifierKind) -> Vec<&str> {
        distinct_values(self.contacts.iter(), self.contacts.len(), kind)
    }

    /// Returns the youngest contact.
    pub(super) fn newest(&self) -> &Contact {
        &self.contacts[self.contacts.len() - 1]
    }

    /// Returns the root: the row that represents the identity. A transaction must lock it to change the identity.
    ///
    /// It is the row that all others are linked to, also if that contact is deleted. If the row does not exist, the
    /// root is the oldest live contact.
    pub fn root(&self) -> ContactId {
        self.root_row().id
    }

    /// Returns the `updatedAt` of the root. Every change of the identity makes it later, so an equal version means that
    /// nothing has changed.
    pub fn version(&self) -> Timestamp {
        self.root_row().updated_at
    }

    /// Returns the root and the [version](Self::version), if the root is a live contact. Then its row alone says if a
    /// copy of the identity is still right: see `copies.rs`.
    pub fn version_of_live_root(&self) -> Option<(ContactId, Timestamp)> {
        (self.primary().link == Link::Primary).then(|| (self.primary().id, self.primary().updated_at))
    }

    /// Returns whether a contact that leads to this root belongs to the identity.
    pub fn has_root(&self, root: ContactId) -> bool {
        self.root() == root || self.missing_root() == Some(root)
    }

    /// Returns the row that the others are linked to, if the read did not find it. Either the row does not exist, or
    /// the read missed it.
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

impl Carriers {
    fn push(&mut self, place: u32) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, place]),
            Self::Many(places) => places.push(place),
        }
    }

    fn places(&self) -> &[u32] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Many(places) => places,
        }
    }
}

impl Clone for Index {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Index {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Index {}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// Returns each distinct value of a kind that these contacts show, in order. There are `count` contacts.
pub(super) fn distinct_values<'a, Id: 'a>(
    contacts: impl Iterator<Item = &'a Contact<Id>>,
    count: usize,
    kind: IdentifierKind,
) -> Vec<&'a str> {
    let shown = contacts.flat_map(Contact::shown);
    let values = shown.filter(|identifier| identifier.kind() == kind).map(Identifier::value);
    if count == 1 {
        return values.collect(); // The common case. One contact carries no value twice.
    }
    let mut seen = HashSet::with_capacity(count);
    values.filter(|value| seen.insert(*value)).collect()
}
