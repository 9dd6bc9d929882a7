//! What can be wrong with the tables.

use std::fmt;

use serde::Serialize;

/// A broken invariant. Names rows by their ids and identifiers by their kind alone: values are personal
/// data, and reports travel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// `linkPrecedence` says the opposite of `linkedId`: two primaries, or none.
    Precedence {
        /// The contact.
        contact: i64,
        /// Its `linkedId`.
        linked_to: Option<i64>,
    },
    /// A link to a contact that is not there.
    LinkToNobody {
        /// The contact.
        contact: i64,
        /// Its `linkedId`.
        linked_to: i64,
    },
    /// A link to a contact that is linked itself: a chain, or to itself.
    LinkNotFlat {
        /// The contact.
        contact: i64,
        /// Its `linkedId`.
        linked_to: i64,
    },
    /// A live contact whose primary is deleted: its identity has none.
    PrimaryDeleted {
        /// The contact.
        contact: i64,
        /// Its `linkedId`.
        primary: i64,
    },
    /// A contact that is older than its primary.
    PrimaryNotOldest {
        /// The older one.
        contact: i64,
        /// Its primary.
        primary: i64,
    },
    /// A live contact carries an identifier that no live contact owns.
    NotOwned {
        /// The contact.
        contact: i64,
        /// What kind of identifier.
        kind: &'static str,
    },
    /// A live contact carries an identifier that another identity owns.
    OwnedTwice {
        /// The contact.
        contact: i64,
        /// What kind of identifier.
        kind: &'static str,
        /// The contact of the other identity.
        owner: i64,
    },
    /// An identifier is owned by a contact that is not there.
    OwnerMissing {
        /// What kind of identifier.
        kind: String,
        /// The contact that its row names.
        owner: i64,
    },
    /// An identifier is owned by a deleted contact.
    OwnerDeleted {
        /// What kind of identifier.
        kind: String,
        /// The contact that its row names.
        owner: i64,
    },
    /// An identifier is owned by a contact that does not carry it.
    OwnerWithout {
        /// What kind of identifier.
        kind: String,
        /// The contact that its row names.
        owner: i64,
    },
    /// A merge names a contact that is not there.
    MergeOfNobody {
        /// The merge.
        merge: i64,
        /// Whom it names.
        contact: i64,
    },
    /// A merge whose contacts are of two identities.
    MergeUndone {
        /// The merge.
        merge: i64,
        /// The contact that was primary and stayed it.
        survivor: i64,
        /// The contact that was primary until then.
        absorbed: i64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Precedence { contact, linked_to: None } => {
                write!(f, "contact {contact} is called secondary, but has no link")
            }
            Self::Precedence { contact, linked_to: Some(to) } => {
                write!(f, "contact {contact} is called primary, but is linked to {to}")
            }
            Self::LinkToNobody { contact, linked_to } => {
                write!(f, "contact {contact} is linked to {linked_to}, which does not exist")
            }
            Self::LinkNotFlat { contact, linked_to } if contact == linked_to => {
                write!(f, "contact {contact} is linked to itself")
            }
            Self::LinkNotFlat { contact, linked_to } => {
                write!(f, "contact {contact} is linked to {linked_to}, which is linked itself")
            }
            Self::PrimaryDeleted { contact, primary } => {
                write!(f, "contact {contact} has no primary: {primary} is deleted")
            }
            Self::PrimaryNotOldest { contact, primary } => {
                write!(f, "contact {contact} is older than its primary {primary}")
            }
            Self::NotOwned { contact, kind } => write!(f, "contact {contact}: no live contact owns its {kind}"),
            Self::OwnedTwice { contact, kind, owner } => {
                write!(f, "contact {contact}: its {kind} is owned by another identity, through contact {owner}")
            }
            Self::OwnerMissing { kind, owner } => {
                write!(f, "identifier: contact {owner} owns an identifier ({kind}) and does not exist")
            }
            Self::OwnerDeleted { kind, owner } => {
                write!(f, "identifier: contact {owner} owns an identifier ({kind}) and is deleted")
            }
            Self::OwnerWithout { kind, owner } => {
                write!(f, "identifier: contact {owner} owns an identifier ({kind}) that it does not carry")
            }
            Self::MergeOfNobody { merge, contact } => {
                write!(f, "merge {merge} names contact {contact}, which does not exist")
            }
            Self::MergeUndone { merge, survivor, absorbed } => {
                write!(f, "merge {merge}: contacts {survivor} and {absorbed} are of two identities")
            }
        }
    }
}
