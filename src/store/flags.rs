//! The bits of `Contact.flags`: what a row is besides a contact.
//!
//! An **ignored** identifier (a till's phone number, `0000000000`) joins nobody. Its row in `Identifier` names a
//! *holder*: a row of `Contact` that is soft-deleted, has [`HOLDER`], and holds the identifier and nothing else. So the
//! look-up that every request makes shows it, and the primary key of `Identifier` keeps everybody from owning it.
//!
//! The contacts of the identity that owned it keep the value, because it is what the customer gave. Each gets the bit
//! of [`ignored`] for the column: the contact shows the value, and does not carry it.

use crate::domain::{Identifier, IdentifierKind};

/// The row is no contact: it holds an ignored identifier.
pub const HOLDER: i16 = 4;

/// Returns the bit of a contact that shows an identifier of this kind, and does not carry it: nobody is joined by it.
pub const fn ignored(kind: IdentifierKind) -> i16 {
    match kind {
        IdentifierKind::Email => 16,
        IdentifierKind::Phone => 32,
    }
}

/// Splits the identifiers of a contact with these flags into those that it carries and those that it only shows.
pub(super) fn split(identifiers: Vec<Identifier>, flags: i16) -> (Vec<Identifier>, Vec<Identifier>) {
    if flags == 0 {
        return (identifiers, Vec::new());
    }
    identifiers.into_iter().partition(|identifier| flags & ignored(identifier.kind()) == 0)
}
