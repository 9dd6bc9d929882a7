use std::collections::BTreeMap;
use std::sync::Arc;

use super::contact::{Contact, ContactId, ContactRef, Link, Timestamp};
use super::identifier::Identifier;
use super::identity::Identity;
use super::identity_state::Joined;
use super::plan::{NewContact, PlannedIdentity, Relink};

/// An identity with the changes of a plan so far.
///
/// It keeps parts and copies no contact before the end, so a step costs the same however large the identity is.
pub(super) struct Draft {
    /// Its number: the index of the draft in the plan.
    number: usize,
    /// The stored identities, each with the number of the draft that it came with.
    stored: Vec<(usize, Arc<Identity>)>,
    /// The new contacts, in any order.
    new: Vec<NewMember>,
    /// The drafts that it absorbed, in order. Each is followed by those that it had absorbed itself.
    absorbed: Vec<usize>,
    contact_count: usize,
    /// The age of the oldest contact.
    primary: (Timestamp, ContactRef),
    /// The age of the youngest contact.
    newest: (Timestamp, ContactRef),
    /// Sets that are stored beside its contacts, with those of the plan. It begins at 0 if nobody has counted them.
    evidence: usize,
    is_changed: bool,
}

/// What [`Draft::link_rows`] adds to: moves of all rows from one primary to another, relinks, touched rows.
type LinkChanges<'a> = (&'a mut BTreeMap<ContactId, ContactRef>, &'a mut Vec<Relink>, &'a mut Vec<ContactId>);

/// A contact that the plan inserts.
struct NewMember {
    contact: Contact<ContactRef>,
    /// The number of the draft that it was added to.
    draft: usize,
    step: u32,
}

impl Draft {
    /// Returns the draft of an identity that is stored, with so many sets beside its contacts.
    pub(super) fn from_stored(number: usize, identity: &Arc<Identity>, evidence: usize) -> Self {
        let age = |contact: &Contact| (contact.created_at, ContactRef::Stored(contact.id));
        Self {
            number,
            stored: vec![(number, Arc::clone(identity))],
            new: Vec::new(),
            absorbed: Vec::new(),
            contact_count: identity.contacts().len(),
            primary: age(identity.primary()),
            newest: age(identity.newest()),
            evidence,
            is_changed: false,
        }
    }

    /// Returns the draft of a new identity.
    pub(super) fn from_new(number: usize, contact: Contact<ContactRef>, step: u32) -> Self {
        Self {
            number,
            stored: Vec::new(),
            absorbed: Vec::new(),
            contact_count: 1,
            primary: contact.age(),
            newest: contact.age(),
            new: vec![NewMember { contact, draft: number, step }],
            evidence: 0,
            is_changed: false,
        }
    }

    pub(super) fn contact_count(&self) -> usize {
        self.contact_count
    }

    /// Returns the age of the primary, the oldest contact.
    pub(super) fn primary(&self) -> (Timestamp, ContactRef) {
        self.primary
    }

    /// Returns the age of the youngest contact.
    pub(super) fn newest(&self) -> (Timestamp, ContactRef) {
        self.newest
    }

    /// Returns how many sets are stored beside its contacts, or will be by this plan.
    pub(super) fn evidence(&self) -> usize {
        self.evidence
    }

    /// Returns whether one of its contacts carries exactly these identifiers.
    pub(super) fn carries_set(&self, set: &[Identifier]) -> bool {
        self.stored.iter().any(|(_, identity)| identity.carries_set(set))
            || self.new.iter().any(|member| member.contact.carries_set(set))
    }

    /// Returns the oldest contact that carries this identifier.
    pub(super) fn carrier(&self, identifier: &Identifier) -> Option<ContactRef> {
        let stored = self.stored.iter().find_map(|(_, identity)| identity.carrier(identifier));
        let stored = stored.map(|contact| ContactRef::Stored(contact.id));
        stored.or_else(|| {
            let new = self.new.iter().map(|member| &member.contact);
            let carriers = new.filter(|contact| contact.identifiers.contains(identifier));
            carriers.min_by_key(|contact| contact.age()).map(|contact| contact.id)
        })
    }

    /// Returns whether contacts that lead to this root belong to it.
    pub(super) fn has_root(&self, root: ContactId) -> bool {
        self.stored.iter().any(|(_, identity)| identity.has_root(root))
    }

    /// Returns the roots of the stored identities that it consists of.
    pub(super) fn roots(&self) -> impl Iterator<Item = ContactId> {
        self.stored.iter().map(|(_, identity)| identity.root())
    }

    /// Counts a set that the plan stores. It changes the identity, so its root is written.
    pub(super) fn add_evidence(&mut self) {
        self.evidence += 1;
        self.is_changed = true;
    }

    /// Returns how many drafts it consists of.
    pub(super) fn drafts(&self) -> usize {
        1 + self.absorbed.len()
    }

    /// Adds a new contact.
    pub(super) fn add(&mut self, contact: Contact<ContactRef>, step: u32) {
        self.newest = self.newest.max(contact.age());
        self.new.push(NewMember { contact, draft: self.number, step });
        self.contact_count += 1;
        self.is_changed = true;
    }

    /// Adds all contacts of a draft whose primary is younger.
    pub(super) fn absorb(&mut self, mut other: Self) {
        self.absorbed.push(other.number);
        self.absorbed.append(&mut other.absorbed);
        self.stored.append(&mut other.stored);
        self.new.append(&mut other.new);
        self.contact_count += other.contact_count;
        self.evidence += other.evidence;
        self.newest = self.newest.max(other.newest);
        self.is_changed = true;
    }

    /// Returns when the latest of its rows was written, if the plan changes it.
    pub(super) fn latest_write(&self) -> Option<Timestamp> {
        if !self.is_changed {
            return None;
        }
        let stored = self.stored.iter().flat_map(|(_, identity)| identity.rows());
        let stored = stored.map(|row| row.updated_at.max(row.created_at));
        let new = self.new.iter().map(|member| member.contact.updated_at);
        stored.chain(new).max()
    }

    /// Compares the links of its rows with what they must be. Adds each difference to `moves` (rows that leave one
    /// primary for another) or to `relinks`, and the primary to `touched` if its link stays. Gives the new contacts
    /// their links.
    pub(super) fn link_rows(
        &self,
        updated_at: Timestamp,
        new_contacts: &mut [NewContact],
        (moves, relinks, touched): LinkChanges<'_>,
    ) {
        if !self.is_changed {
            return;
        }
        let (_, primary) = self.primary;
        let link_of = |id| if id == primary { Link::Primary } else { Link::SecondaryOf(primary) };
        for (row, is_root) in self.stored.iter().flat_map(|(_, identity)| rows_of(identity)) {
            let id = ContactRef::Stored(row.id);
            let link = link_of(id);
            let is_linked = match (row.link, link) {
                (Link::Primary, Link::Primary) => true,
                (Link::SecondaryOf(of), Link::SecondaryOf(primary)) => ContactRef::Stored(of) == primary,
                (Link::Primary, Link::SecondaryOf(_)) | (Link::SecondaryOf(_), Link::Primary) => false,
            };
            if !is_linked {
                match (row.link, link) {
                    // The identity has all rows that are linked to its root: they move together.
                    (Link::SecondaryOf(from), Link::SecondaryOf(to)) => {
                        moves.insert(from, to);
                        if is_root {
                            // It stands in for a row that does not exist. Others see the change by it.
                            relinks.push(Relink { contact: row.id, link });
                        }
                    }
                    _ => relinks.push(Relink { contact: row.id, link }),
                }
            } else if id == primary {
                touched.push(row.id);
            }
        }
        for id in self.new.iter().map(|member| member.contact.id) {
            let ContactRef::Planned(index) = id else { continue };
            let (new, link) = (&mut new_contacts[index], link_of(id));
            if new.link != link || id == primary {
                new.updated_at = updated_at;
            }
            new.link = link;
        }
    }

    /// Gives the drafts that it consists of places next to each other, its own first.
    pub(super) fn place(&self, places: &mut [u32]) {
        for (place, draft) in (0..).zip(std::iter::once(self.number).chain(self.absorbed.iter().copied())) {
            places[draft] = place;
        }
    }

    /// Returns the identity after all observations, with its rows as [`Self::link_rows`] changed them: what the tables
    /// hold after the commit.
    pub(super) fn into_planned(
        self,
        places: &[u32],
        updated_at: Timestamp,
        new_contacts: &[NewContact],
    ) -> PlannedIdentity {
        if let ([(_, identity)], false) = (&self.stored[..], self.is_changed) {
            return PlannedIdentity::Unchanged(Arc::clone(identity));
        }
        let (_, primary) = self.primary;
        let row_after = |row: &Contact| {
            let mut row = row.map_id(|id| ContactRef::Stored(*id));
            let link = if row.id == primary { Link::Primary } else { Link::SecondaryOf(primary) };
            if row.link != link || row.id == primary {
                row.updated_at = updated_at;
            }
            row.link = link;
            row
        };
        let (mut contacts, mut deleted) = (Vec::with_capacity(self.contact_count), Vec::new());
        for (draft, identity) in &self.stored {
            let joined = Joined { place: places[*draft], step: 0 };
            contacts.extend(identity.contacts().iter().map(|contact| (row_after(contact), joined)));
            deleted.extend(identity.deleted().iter().map(row_after));
        }
        let new = self.new.into_iter().map(|mut new| {
            if let ContactRef::Planned(index) = new.contact.id {
                (new.contact.link, new.contact.updated_at) = (new_contacts[index].link, new_contacts[index].updated_at);
            }
            (new.contact, Joined { place: places[new.draft], step: new.step })
        });
        contacts.extend(new);
        contacts.sort_by_key(|(contact, _)| contact.age()); // Stable, so runs that are sorted already cost little.
        PlannedIdentity::Changed { contacts, deleted }
    }
}

/// Returns all rows of an identity, and whether each is its root.
fn rows_of(identity: &Identity) -> impl Iterator<Item = (&Contact, bool)> {
    let root = identity.root();
    identity.rows().map(move |row| (row, row.id == root))
}
