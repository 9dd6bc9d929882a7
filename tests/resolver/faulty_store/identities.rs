//! The identities that the faulty store knows.

use std::collections::BTreeSet;

use identity::domain::{
    Contact, ContactId, Identifier, IdentifierKind, Identity, Link, Observation, RootRow, Timestamp,
};
use identity::resolver::IdentifyRequest;

/// The contacts of an identity `largeN@x`.
pub(crate) const LARGE: i64 = 600;

/// The id of the first contact of `large0@x`.
pub(crate) const FIRST_LARGE: i64 = 900;

/// Added to the id of a contact, it gives the id of the deleted contact that it is linked to.
pub(crate) const DELETED: i64 = 1_000;

pub(crate) fn is_till(identifier: &Identifier) -> bool {
    identifier.value() == "till@x"
}

/// Those of these identifiers that are ignored.
pub(crate) fn ignored(identifiers: &[Identifier], ignores: bool) -> BTreeSet<Identifier> {
    identifiers.iter().filter(|identifier| ignores && is_till(identifier)).cloned().collect()
}

/// The identifier that leads to this root.
pub(crate) fn identifier_of(root: ContactId) -> Identifier {
    let value = match root.0 - FIRST_LARGE {
        large @ 0.. => format!("large{large}@x"),
        _ => format!("known{}@x", root.0),
    };
    Identifier::from_stored(IdentifierKind::Email, value)
}

/// The version of a root is its id.
pub(crate) fn root_row(root: ContactId) -> RootRow {
    RootRow { id: root, updated_at: Timestamp(root.0), is_deleted: false, linked_to: None }
}

/// The large identity that owns an identifier.
pub(crate) fn large_identity(identifier: &Identifier) -> Option<Identity> {
    let number: i64 = identifier.value().strip_prefix("large")?.strip_suffix("@x")?.parse().unwrap();
    let root = ContactId(FIRST_LARGE + number);
    let primary = Contact::new(root, [identifier.clone()], Timestamp(root.0), Link::Primary);
    let secondary = |n: i64| {
        let id = ContactId(root.0 * 10_000 + n);
        let other = Identifier::from_stored(IdentifierKind::Phone, id.0.to_string());
        Contact::new(id, [identifier.clone(), other], Timestamp(id.0), Link::SecondaryOf(root))
    };
    Identity::new(std::iter::once(primary).chain((1..LARGE).map(secondary)).collect())
}

pub(crate) fn observation(emails: &[&str]) -> IdentifyRequest {
    let emails = emails.iter().map(|email| Identifier::from_stored(IdentifierKind::Email, *email));
    Observation::new(emails).unwrap().into()
}
