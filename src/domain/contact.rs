use std::sync::Arc;

use super::identifier::Identifier;

/// The `id` of a row of table `Contact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContactId(pub i64);

impl ContactId {
    /// The id of a contact that has no row: see [`preview`](super::preview()). The ids of rows are positive.
    pub const UNKNOWN: Self = Self(0);
}

/// A time of the database's clock, in microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Returns the next time that the tables can store: a microsecond later.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns this time, or the next time after `newest` if that is later. It is the `updatedAt` of a row that had
    /// `newest` before.
    pub fn after(self, newest: Option<Self>) -> Self {
        newest.map_or(self, |newest| self.max(newest.next()))
    }
}

/// A reference to a contact in a plan. A planned contact has no id: it gets one when the store inserts it.
///
/// Planned contacts sort after stored contacts and in the order of insertion, as their ids will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContactRef {
    /// A contact with a row.
    Stored(ContactId),
    /// The index of the contact in [`Plan::new_contacts`](super::Plan::new_contacts).
    Planned(usize),
}

/// The place of a contact in its identity: `linkPrecedence` and `linkedId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link<Id = ContactId> {
    /// The identity's oldest contact.
    Primary,
    /// Any other contact, with the primary of its identity. A link never points to a secondary.
    SecondaryOf(Id),
}

/// One observation that brought something new: a row of table `Contact`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact<Id = ContactId> {
    /// The id of its row.
    pub id: Id,
    /// The identifiers that it joins customers by: those of the observation that are not ignored.
    pub identifiers: Arc<[Identifier]>,
    /// The identifiers of its row that are ignored: an operator ignored them after the contact was inserted. They are
    /// shown, and join nobody.
    pub ignored: Arc<[Identifier]>,
    /// When it was inserted. The age of a contact is this, then `id`.
    pub created_at: Timestamp,
    /// When the row last changed. On a primary: when its identity last changed.
    pub updated_at: Timestamp,
    /// Its link, as stored in the row.
    pub link: Link<Id>,
}

impl<Id> Contact<Id> {
    /// Returns a contact as it is when it is created: not changed since.
    pub fn new(id: Id, identifiers: impl Into<Arc<[Identifier]>>, created_at: Timestamp, link: Link<Id>) -> Self {
        let ignored = Arc::default();
        Self { id, identifiers: identifiers.into(), ignored, created_at, updated_at: created_at, link }
    }

    /// Returns all identifiers of its row, also those that are ignored. An answer shows them all.
    pub fn shown(&self) -> impl Iterator<Item = &Identifier> {
        self.identifiers.iter().chain(self.ignored.iter())
    }

    /// Returns whether it carries exactly these identifiers. Each of them is given once.
    pub(super) fn carries_set(&self, set: &[Identifier]) -> bool {
        self.identifiers.len() == set.len() && set.iter().all(|identifier| self.identifiers.contains(identifier))
    }
}

impl<Id: Copy + Ord> Contact<Id> {
    /// Returns the key that sorts contacts by age, the oldest first.
    pub fn age(&self) -> (Timestamp, Id) {
        (self.created_at, self.id)
    }
}

impl<Id> Contact<Id> {
    /// Returns the same contact with other ids.
    pub(super) fn map_id<To>(&self, map: impl Fn(&Id) -> To) -> Contact<To> {
        Contact {
            id: map(&self.id),
            identifiers: Arc::clone(&self.identifiers),
            ignored: Arc::clone(&self.ignored),
            created_at: self.created_at,
            updated_at: self.updated_at,
            link: match &self.link {
                Link::Primary => Link::Primary,
                Link::SecondaryOf(primary) => Link::SecondaryOf(map(primary)),
            },
        }
    }
}
