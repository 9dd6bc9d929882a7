//! The changes of a repair, for the report.

use serde::Serialize;

/// A change that a repair made, or would make.
///
/// Like a [`Finding`](super::Finding) it names rows and kinds, never values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "repair", rename_all = "snake_case")]
pub enum Repair {
    /// A contact becomes the primary of its identity.
    Promoted {
        /// The contact.
        contact: i64,
    },
    /// A contact is linked to its primary.
    Linked {
        /// The contact.
        contact: i64,
        /// The primary.
        primary: i64,
    },
    /// Two identities that carry the same identifier are merged, and the merge is recorded.
    Merged {
        /// The primary of the identity that remains.
        survivor: i64,
        /// The primary of the other identity.
        absorbed: i64,
    },
    /// The oldest contact that carries an identifier becomes its owner.
    Assigned {
        /// The kind of the identifier.
        kind: &'static str,
        /// The contact.
        contact: i64,
    },
    /// An identifier that no live contact carries loses its owner.
    Released {
        /// The kind of the identifier.
        kind: String,
        /// The owner.
        contact: i64,
    },
    /// An ignored identifier is held again: it joins nobody.
    Held {
        /// The kind of the identifier.
        kind: &'static str,
        /// The row that holds it.
        contact: i64,
    },
    /// A contact shows an ignored identifier from now on, and does not carry it.
    Marked {
        /// The kind of the identifier.
        kind: &'static str,
        /// The contact.
        contact: i64,
    },
    /// A value is replaced by its canonical form.
    MadeCanonical {
        /// The kind of the identifier.
        kind: &'static str,
        /// The contact.
        contact: i64,
    },
    /// A row of `Evidence` is deleted.
    EvidenceDeleted {
        /// The row.
        evidence: i64,
    },
    /// A set of identifiers is stored anew, with its key and a contact of its identity.
    EvidenceReplaced {
        /// The row that it had.
        evidence: i64,
    },
    /// A blank value is replaced by NULL.
    Cleared {
        /// The kind of the identifier.
        kind: &'static str,
        /// The contact.
        contact: i64,
    },
}

impl Repair {
    /// Returns a line that says what was done.
    pub fn describe_done(&self) -> String {
        self.sentence(|_, past| past.to_owned())
    }

    /// Returns a line that says what a repair would do.
    pub fn describe_planned(&self) -> String {
        self.sentence(|infinitive, _| format!("would {infinitive}"))
    }

    fn sentence(&self, verb: impl Fn(&str, &str) -> String) -> String {
        match self {
            Self::Promoted { contact } => format!("{} {contact} the primary", verb("make", "made")),
            Self::Linked { contact, primary } => format!("{} {contact} to {primary}", verb("link", "linked")),
            Self::Merged { survivor, absorbed } => {
                format!("{} the identity of {absorbed} into that of {survivor}", verb("merge", "merged"))
            }
            Self::Assigned { kind, contact } => format!("{} the {kind} to {contact}", verb("give", "gave")),
            Self::Released { kind, contact } => {
                format!("{} an identifier ({kind}) from {contact}", verb("take", "took"))
            }
            Self::Held { kind, contact } => {
                format!("{} the ignored {kind} of {contact} from everybody else", verb("take", "took"))
            }
            Self::Marked { kind, contact } => {
                format!("{} the {kind} of {contact} as ignored", verb("mark", "marked"))
            }
            Self::MadeCanonical { kind, contact } => {
                format!("{} the {kind} of {contact} canonical", verb("make", "made"))
            }
            Self::EvidenceDeleted { evidence } => format!("{} evidence {evidence}", verb("delete", "deleted")),
            Self::EvidenceReplaced { evidence } => {
                format!("{} the set of evidence {evidence} anew", verb("store", "stored"))
            }
            Self::Cleared { kind, contact } => format!("{} the blank {kind} of {contact}", verb("clear", "cleared")),
        }
    }
}
