//! The kinds of broken invariants.
//!
//! To add one: a variant of [`Finding`] here, its check in `check.rs`, its repair in `repair_plan.rs` (if there is only
//! one way to repair it), and a line of `BROKEN` in `tests/it/verify/invariants.rs`.

use std::fmt;

use serde::Serialize;

/// A broken invariant.
///
/// It names a row by its id, and an identifier only by its kind: the value is personal data and must not be in a
/// report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// `linkPrecedence` and `linkedId` contradict each other: two primaries, or none.
    Precedence {
        /// The contact.
        contact: i64,
        /// Its `linkedId`.
        linked_to: Option<i64>,
    },
    /// A link to a contact that does not exist.
    LinkToNobody {
        /// The contact.
        contact: i64,
        /// Its `linkedId`.
        linked_to: i64,
    },
    /// A link to a contact that is a secondary: a chain, or a link to itself.
    LinkNotFlat {
        /// The contact.
        contact: i64,
        /// Its `linkedId`.
        linked_to: i64,
    },
    /// A contact that is older than its primary.
    PrimaryNotOldest {
        /// The older contact.
        contact: i64,
        /// Its primary.
        primary: i64,
    },
    /// A live contact carries a blank text (empty, or white space and format characters) in place of NULL.
    Blank {
        /// The contact.
        contact: i64,
        /// The kind of the identifier.
        kind: &'static str,
    },
    /// A live contact carries a value that is not canonical by the rules in force: no request finds it.
    NotCanonical {
        /// The contact.
        contact: i64,
        /// The kind of the identifier.
        kind: &'static str,
    },
    /// A live contact carries a value that is no identifier of its kind. Nothing can be made of it.
    Malformed {
        /// The contact.
        contact: i64,
        /// The kind of the identifier.
        kind: &'static str,
    },
    /// A live contact carries no identifier.
    NoIdentifier {
        /// The contact.
        contact: i64,
    },
    /// A live contact carries an identifier that no contact of its identity owns.
    NotOwned {
        /// The contact.
        contact: i64,
        /// The kind of the identifier.
        kind: &'static str,
    },
    /// A live contact carries an identifier that another identity owns.
    OwnedTwice {
        /// The contact.
        contact: i64,
        /// The kind of the identifier.
        kind: &'static str,
        /// The contact of the other identity.
        owner: i64,
    },
    /// The row of an ignored identifier does not name this holder: a process of an older version, or somebody by SQL,
    /// has freed it. It joins customers, unless another holder has it.
    IgnoredNotHeld {
        /// The row that holds it.
        contact: i64,
        /// The kind of the identifier.
        kind: &'static str,
    },
    /// A live contact carries an identifier that is ignored: it is not marked as one that only shows it.
    IgnoredCarried {
        /// The contact.
        contact: i64,
        /// The kind of the identifier.
        kind: &'static str,
        /// The row that holds the identifier.
        holder: i64,
    },
    /// An identifier is owned by a contact that does not exist.
    OwnerMissing {
        /// The kind of the identifier.
        kind: String,
        /// The contact that its row names.
        owner: i64,
    },
    /// An identifier is owned by a contact that does not carry it.
    OwnerWithout {
        /// The kind of the identifier.
        kind: String,
        /// The contact that its row names.
        owner: i64,
    },
    /// A merge names a contact that does not exist.
    MergeOfNobody {
        /// The merge.
        merge: i64,
        /// The contact that it names.
        contact: i64,
    },
    /// A row of `Evidence` that cannot be read, or that is no set of two identifiers or more.
    EvidenceUnreadable {
        /// The row.
        evidence: i64,
    },
    /// A row of `Evidence` with the key of another set.
    EvidenceKey {
        /// The row.
        evidence: i64,
    },
    /// A row of `Evidence` with an identifier that nobody owns.
    EvidenceOfNobody {
        /// The row.
        evidence: i64,
    },
    /// A row of `Evidence` whose identifiers belong to several identities.
    EvidenceOfSeveral {
        /// The row.
        evidence: i64,
    },
    /// A row of `Evidence` whose contact does not belong to the identity of its identifiers.
    EvidenceElsewhere {
        /// The row.
        evidence: i64,
        /// The contact that it names.
        contact: i64,
    },
    /// A merge whose contacts belong to two identities.
    MergeUndone {
        /// The merge.
        merge: i64,
        /// The contact that was a primary before and after the merge.
        survivor: i64,
        /// The contact that was a primary before the merge.
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
                write!(f, "contact {contact} is linked to {linked_to}, which is a secondary")
            }
            Self::PrimaryNotOldest { contact, primary } => {
                write!(f, "contact {contact} is older than its primary {primary}")
            }
            Self::Blank { contact, kind } => write!(f, "contact {contact}: its {kind} is blank"),
            Self::NotCanonical { contact, kind } => {
                write!(f, "contact {contact}: its {kind} is not canonical, so no request finds it")
            }
            Self::Malformed { contact, kind } => {
                write!(
                    f,
                    "contact {contact}: its {kind} is malformed, which cannot be repaired: correct it or set NULL"
                )
            }
            Self::NoIdentifier { contact } => {
                write!(f, "contact {contact} carries no identifier, which cannot be repaired: set its deletedAt")
            }
            Self::NotOwned { contact, kind } => {
                write!(f, "contact {contact}: no contact of its identity owns its {kind}")
            }
            Self::OwnedTwice { contact, kind, owner } => {
                write!(f, "contact {contact}: its {kind} is owned by another identity, through contact {owner}")
            }
            Self::IgnoredNotHeld { contact, kind } => {
                write!(f, "contact {contact} should hold an ignored {kind}, and its row does not name it")
            }
            Self::IgnoredCarried { contact, kind, holder } => {
                write!(f, "contact {contact} carries a {kind} that is ignored ({holder} holds it)")
            }
            Self::OwnerMissing { kind, owner } => {
                write!(f, "identifier: contact {owner} owns an identifier ({kind}) and does not exist")
            }
            Self::OwnerWithout { kind, owner } => {
                write!(f, "identifier: contact {owner} owns an identifier ({kind}) that it does not carry")
            }
            Self::MergeOfNobody { merge, contact } => {
                write!(f, "merge {merge} names contact {contact}, which does not exist")
            }
            Self::EvidenceUnreadable { evidence } => write!(f, "evidence {evidence} is no set of identifiers"),
            Self::EvidenceKey { evidence } => write!(f, "evidence {evidence} has the key of another set"),
            Self::EvidenceOfNobody { evidence } => {
                write!(f, "evidence {evidence} has an identifier that nobody owns")
            }
            Self::EvidenceOfSeveral { evidence } => {
                write!(f, "evidence {evidence}: its identifiers belong to several identities")
            }
            Self::EvidenceElsewhere { evidence, contact } => {
                write!(
                    f,
                    "evidence {evidence} names contact {contact}, which is not of the identity of its identifiers"
                )
            }
            Self::MergeUndone { merge, survivor, absorbed } => {
                write!(f, "merge {merge}: contacts {survivor} and {absorbed} belong to two identities")
            }
        }
    }
}
