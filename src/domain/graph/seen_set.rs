use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::contact::{ContactId, Timestamp};
use crate::domain::evidence::EvidenceOrigin;
use crate::domain::identifier::Identifier;
use crate::domain::note::Note;

/// The notes of some sets. Most sets have none.
pub type SetNotes = BTreeMap<SetName, Note>;

/// What names a set that connects identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetName {
    /// The oldest contact that carries exactly this set.
    Contact(ContactId),
    /// The id of a row of table `Evidence`.
    Stored(i64),
    /// No set of identifiers connects this contact with the primary. It is the oldest contact of those for which this
    /// is so. Only a link joins them: see [`SetOrigin::Link`].
    Link(ContactId),
}

/// What brought a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOrigin {
    /// An observation that inserted a contact.
    Contact,
    /// An observation that merged identities and inserted no contact.
    Merge,
    /// An observation whose identifiers one identity owned.
    Match,
    /// A link between rows: of an adopted table, or of contacts whose common identifier is ignored or deleted by now.
    /// The set consists of an identifier of each side.
    Link,
}

impl From<EvidenceOrigin> for SetOrigin {
    fn from(origin: EvidenceOrigin) -> Self {
        match origin {
            EvidenceOrigin::Merge => Self::Merge,
            EvidenceOrigin::Match => Self::Match,
        }
    }
}

/// A set of two or more identifiers that connects them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSet {
    /// Its name. It is unique in an identity.
    pub name: SetName,
    /// The identifiers, each once.
    pub identifiers: Arc<[Identifier]>,
    /// What brought it.
    pub origin: SetOrigin,
    /// Since when it connects them.
    pub seen_at: Timestamp,
}

/// A row of table `Evidence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSet {
    /// Its id.
    pub id: i64,
    /// The identifiers, each once.
    pub identifiers: Arc<[Identifier]>,
    /// What brought it.
    pub origin: EvidenceOrigin,
    /// When it was seen first.
    pub seen_at: Timestamp,
}
