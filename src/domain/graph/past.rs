use super::history::History;
use crate::domain::contact::{Contact, ContactId, Link, Timestamp};
use crate::domain::identifier::Identifier;

/// An identity as it was at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastIdentity {
    /// Its contacts, the oldest (the primary) first. There is at least one. The links are those of the moment. What a
    /// row lost since is not known: `updated_at` is that of now, or the moment if that is earlier.
    pub contacts: Vec<Contact>,
    /// When it had last changed.
    pub updated_at: Timestamp,
}

impl History {
    /// Returns the identity that had this contact at a moment. `None` if the contact was not inserted yet, or deleted.
    pub fn identity_at(&self, contact: ContactId, at: Timestamp) -> Option<PastIdentity> {
        let place = self.place(contact).filter(|place| self.contacts[*place].is_there(Some(at)))?;
        self.group_at(self.joined.root_at(place, at), at)
    }

    /// Returns the identity that owned this identifier at a moment: a contact carried it.
    pub fn owner_at(&self, identifier: &Identifier, at: Timestamp) -> Option<PastIdentity> {
        let node = self.node(identifier)?;
        let there = self.contacts.iter().filter(|row| row.is_there(Some(at)));
        let is_owned = there.into_iter().any(|row| row.contact.identifiers.contains(identifier));
        is_owned.then(|| self.group_at(self.joined.root_at(node, at), at))?
    }

    /// Returns the identity of the rows that this node stood for.
    fn group_at(&self, group: usize, at: Timestamp) -> Option<PastIdentity> {
        let is_in = |place: usize| self.joined.root_at(place, at) == group;
        let there = (0..).zip(&self.contacts).filter(|(place, row)| row.is_there(Some(at)) && is_in(*place));
        let mut contacts: Vec<Contact> = there.map(|(_, row)| row.contact.clone()).collect();
        let primary = contacts.first()?.id;
        for (index, contact) in contacts.iter_mut().enumerate() {
            contact.link = if index == 0 { Link::Primary } else { Link::SecondaryOf(primary) };
            contact.updated_at = contact.updated_at.min(at);
        }
        let events = self.events.iter().take_while(|event| event.at <= at);
        let own = events.filter(|event| self.nodes_of(event.what).first().is_some_and(|node| is_in(*node)));
        let updated_at = own.last().map_or(contacts[0].created_at, |event| event.at);
        Some(PastIdentity { contacts, updated_at })
    }
}
