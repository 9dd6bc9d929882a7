//! What an answer lists of an identity, within the limit of its bytes.

use std::collections::HashSet;

use super::slices::Slices;
use crate::domain::{Contact, ContactId, Identifier, IdentifierKind, IdentityState};
use crate::resolver::IdentifyError;

/// Bytes of an answer beside what it lists. It is more than enough for all other fields and the frame around them.
pub const ENVELOPE: usize = 1_024;

/// Contacts between two looks at the clock.
const STEP: usize = 256;

/// Up to so many contacts, a search through the values is faster than a set.
const FEW: usize = 8;

/// How many bytes the parts of an answer take, at most.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The bytes of an identifier's value.
    pub value: fn(&str) -> usize,
    /// The bytes of a contact's id.
    pub id: fn(i64) -> usize,
}

/// What an answer lists: the oldest contacts of an identity, as many as fit, and each distinct value that they carry.
#[derive(Debug)]
pub struct Listing<'a> {
    /// The id of the primary. 0 if it has none: see [`preview`](crate::domain::preview()).
    pub primary_contact_id: i64,
    /// E-mail addresses, the primary's first.
    pub emails: Vec<&'a str>,
    /// Phone numbers, the primary's first.
    pub phone_numbers: Vec<&'a str>,
    /// The ids of all other contacts that have one, the oldest first.
    pub secondary_contact_ids: Vec<i64>,
    /// How many contacts the identity has.
    pub contact_count: usize,
    /// Whether the identity has more contacts than the answer lists.
    pub is_truncated: bool,
}

impl<'a> Listing<'a> {
    /// Lists the contacts that fit into `room` bytes, and the primary in any case.
    pub fn new(identity: &'a IdentityState, sizes: Sizes, room: usize) -> Self {
        let mut lister = Lister::new(identity, identity.contacts(), sizes, room);
        while lister.list(STEP) {}
        lister.listing
    }

    /// Lists the same in slices.
    ///
    /// # Errors
    /// [`IdentifyError::DeadlineExceeded`].
    pub async fn in_slices(
        identity: &'a IdentityState,
        sizes: Sizes,
        room: usize,
        slices: &mut Slices,
    ) -> Result<Self, IdentifyError> {
        let mut lister = Lister::new(identity, identity.contacts(), sizes, room);
        while lister.list(STEP) {
            slices.pause().await?;
        }
        Ok(lister.listing)
    }

    fn values(&mut self, kind: IdentifierKind) -> &mut Vec<&'a str> {
        match kind {
            IdentifierKind::Email => &mut self.emails,
            IdentifierKind::Phone => &mut self.phone_numbers,
        }
    }
}

/// A listing in the making.
struct Lister<'a, I> {
    contacts: I,
    sizes: Sizes,
    room: usize,
    /// The values of the listing, if they are many.
    seen: Option<HashSet<&'a Identifier>>,
    listing: Listing<'a>,
}

impl<'a, I: Iterator<Item = &'a Contact>> Lister<'a, I> {
    fn new(identity: &'a IdentityState, contacts: I, sizes: Sizes, room: usize) -> Self {
        let contact_count = identity.contact_count();
        let listing = Listing {
            primary_contact_id: identity.primary().id.0,
            emails: Vec::new(),
            phone_numbers: Vec::new(),
            secondary_contact_ids: Vec::new(),
            contact_count,
            is_truncated: false,
        };
        Self { contacts, sizes, room, seen: (contact_count > FEW).then(HashSet::new), listing }
    }

    /// Lists so many more contacts. Returns whether there may be more that fit.
    fn list(&mut self, contacts: usize) -> bool {
        (0..contacts).all(|_| self.contacts.next().is_some_and(|contact| self.add(contact)))
    }

    /// Lists the contact if it fits. Returns whether it fits.
    fn add(&mut self, contact: &'a Contact) -> bool {
        let is_primary = contact.id.0 == self.listing.primary_contact_id;
        let mut bytes = (self.sizes.id)(contact.id.0);
        let new = contact.shown().filter(|identifier| !self.has(identifier));
        bytes += new.map(|identifier| (self.sizes.value)(identifier.value())).sum::<usize>();
        if bytes > self.room && !is_primary {
            self.listing.is_truncated = true;
            return false;
        }
        self.room = self.room.saturating_sub(bytes);
        for identifier in contact.shown() {
            if !self.has(identifier) {
                self.listing.values(identifier.kind()).push(identifier.value());
                if let Some(seen) = &mut self.seen {
                    seen.insert(identifier);
                }
            }
        }
        if !is_primary && contact.id != ContactId::UNKNOWN {
            self.listing.secondary_contact_ids.push(contact.id.0);
        }
        true
    }

    fn has(&self, identifier: &Identifier) -> bool {
        match &self.seen {
            Some(seen) => seen.contains(identifier),
            None => {
                let values = match identifier.kind() {
                    IdentifierKind::Email => &self.listing.emails,
                    IdentifierKind::Phone => &self.listing.phone_numbers,
                };
                values.contains(&identifier.value())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Identity, Link, Timestamp};

    const SIZES: Sizes = Sizes { value: str::len, id: |_| 10 };

    /// Contacts that share a phone number, each with an e-mail address of ten bytes.
    fn identity(contacts: i64) -> IdentityState {
        let contact = |id: i64| {
            let email = Identifier::from_stored(IdentifierKind::Email, format!("{id:05}@x.de"));
            let phone = Identifier::from_stored(IdentifierKind::Phone, "0000000000");
            let link = if id == 1 { Link::Primary } else { Link::SecondaryOf(ContactId(1)) };
            Contact::new(ContactId(id), [email, phone], Timestamp(id), link)
        };
        Identity::new((1..=contacts).map(contact).collect()).unwrap().into()
    }

    #[test]
    fn everything_is_listed_if_it_fits() {
        for contacts in [1, 2, 8, 9, 1_000] {
            let identity = identity(contacts);
            let listing = Listing::new(&identity, SIZES, usize::MAX);
            assert!(!listing.is_truncated);
            assert_eq!(listing.contact_count as i64, contacts);
            assert_eq!(listing.emails, identity.values(IdentifierKind::Email));
            assert_eq!(listing.phone_numbers, ["0000000000"]);
            assert_eq!(listing.secondary_contact_ids, (2..=contacts).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_ignored_is_listed_and_takes_room() {
        let email = Identifier::from_stored(IdentifierKind::Email, "a@x.de");
        let mut contact = Contact::new(ContactId(1), [email], Timestamp(1), Link::Primary);
        contact.ignored = [Identifier::from_stored(IdentifierKind::Phone, "0000000000")].into();
        let mut other = contact.clone();
        (other.id, other.link, other.identifiers) = (ContactId(2), Link::SecondaryOf(ContactId(1)), [].into());
        other.ignored = [Identifier::from_stored(IdentifierKind::Phone, "1111111111")].into();
        let identity = Identity::new(vec![contact, other]).unwrap().into();
        let all = Listing::new(&identity, SIZES, 46);
        assert_eq!((all.phone_numbers, all.is_truncated), (vec!["0000000000", "1111111111"], false));
        let some = Listing::new(&identity, SIZES, 45);
        assert_eq!((some.phone_numbers, some.is_truncated), (vec!["0000000000"], true));
    }

    /// The answer to a request that was not carried out has one.
    #[test]
    fn a_contact_without_an_id_is_counted_and_has_no_place_among_the_ids() {
        let stored = identity(2);
        let new = |link| {
            let email = Identifier::from_stored(IdentifierKind::Email, "new@x.de");
            Contact::new(ContactId::UNKNOWN, [email], Timestamp(i64::MAX), link)
        };
        let contacts = stored.contacts().cloned().chain([new(Link::SecondaryOf(ContactId(1)))]).collect();
        let linked = Identity::new(contacts).unwrap().into();
        let listing = Listing::new(&linked, SIZES, usize::MAX);
        assert_eq!((listing.primary_contact_id, listing.secondary_contact_ids), (1, vec![2]));
        assert_eq!((listing.contact_count, listing.emails[2], listing.is_truncated), (3, "new@x.de", false));
        let created = Identity::new(vec![new(Link::Primary)]).unwrap().into();
        let listing = Listing::new(&created, SIZES, usize::MAX);
        assert_eq!((listing.primary_contact_id, listing.secondary_contact_ids), (0, vec![]));
        assert_eq!((listing.contact_count, listing.emails), (1, vec!["new@x.de"]));
    }

    #[test]
    fn the_oldest_contacts_that_fit_are_listed_and_the_primary_in_any_case() {
        let identity = identity(1_000);
        for (room, listed) in [(0, 1), (30, 1), (49, 1), (50, 2), (30 + 20 * 500, 501), (30 + 20 * 999 - 1, 999)] {
            let listing = Listing::new(&identity, SIZES, room);
            assert!(listing.is_truncated, "{room}");
            assert_eq!((listing.emails.len(), listing.secondary_contact_ids.len() + 1), (listed, listed), "{room}");
            assert_eq!((listing.phone_numbers.len(), listing.contact_count), (1, 1_000));
        }
        assert!(!Listing::new(&identity, SIZES, 30 + 20 * 999).is_truncated);
    }
}
