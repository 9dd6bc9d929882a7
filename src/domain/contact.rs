use std::sync::Arc;

use super::Identifier;

/// The `id` of a row of table `Contact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContactId(pub i64);

/// A moment by the database's clock, in microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The next moment that the tables can tell from this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// This moment, or the next after `newest` if that is later: the `updatedAt` of a row that has one.
    pub fn after(self, newest: Option<Self>) -> Self {
        newest.map_or(self, |newest| self.max(newest.next()))
    }
}

/// A contact while a change is planned: one that has a row, or one that gets its row, and with it its
/// id, when the plan is carried out.
///
/// Planned contacts sort after stored ones and in the order of their insertion, as their ids will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContactRef {
    /// A row.
    Stored(ContactId),
    /// The n-th contact, from 0, of [`Plan::new_contacts`](super::Plan::new_contacts).
    Planned(usize),
}

/// Where a contact stands in its identity: `linkPrecedence` and `linkedId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link<Id = ContactId> {
    /// The identity's oldest contact.
    Primary,
    /// Any other, with the identity's primary (never a chain).
    SecondaryOf(Id),
}

/// One observation that brought something new: a row of table `Contact`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact<Id = ContactId> {
    /// Its row.
    pub id: Id,
    /// What the observation carried, all of it.
    pub identifiers: Arc<[Identifier]>,
    /// When it was inserted. Age, everywhere, is this and then `id`.
    pub created_at: Timestamp,
    /// When the row last changed or, on a primary, its identity.
    pub updated_at: Timestamp,
    /// Its link as the row has it.
    pub link: Link<Id>,
}

impl<Id: Copy + Ord> Contact<Id> {
    /// What contacts are ordered by: the oldest first.
    pub fn age(&self) -> (Timestamp, Id) {
        (self.created_at, self.id)
    }
}

impl<Id> Contact<Id> {
    /// The same contact with its ids replaced.
    pub(super) fn map_id<To>(&self, map: impl Fn(&Id) -> To) -> Contact<To> {
        Contact {
            id: map(&self.id),
            identifiers: Arc::clone(&self.identifiers),
            created_at: self.created_at,
            updated_at: self.updated_at,
            link: match &self.link {
                Link::Primary => Link::Primary,
                Link::SecondaryOf(primary) => Link::SecondaryOf(map(primary)),
            },
        }
    }
}
