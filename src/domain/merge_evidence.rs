//! The sets of merges that a version without evidence recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::contact::{Contact, ContactId, ContactRef};
use super::evidence::{EvidenceOrigin, NewEvidence, SetKey};
use super::identifier::Identifier;
use super::snapshot::Snapshot;

/// Returns the sets of these causes of merges that no contact carries, each with the root of its identity. They were
/// recorded by a version that knew no evidence.
///
/// A cause is left out if its identifiers do not belong to one identity (any more). Those that are ignored belong to
/// nobody.
pub fn sets_of_merges(known: &Snapshot, causes: &[Vec<Identifier>]) -> Vec<(ContactId, NewEvidence)> {
    let mut sets = BTreeMap::new();
    for cause in causes.iter().filter(|cause| cause.len() > 1) {
        let mut owned = cause.iter().filter(|identifier| !known.ignores(identifier));
        let Some(owner) = owned.next().and_then(|first| known.sole_owner_of(first)) else { continue };
        let is_of_owner = |one: &Identifier| known.sole_owner_of(one).is_some_and(|other| Arc::ptr_eq(owner, other));
        let shows = |contact: &Contact| {
            contact.shown().count() == cause.len() && contact.shown().all(|one| cause.contains(one))
        };
        if !owned.all(is_of_owner) || owner.contacts().iter().any(shows) {
            continue;
        }
        let Some(contact) = cause.iter().find_map(|one| owner.carrier(one)) else { continue };
        let (key, contact) = (SetKey::of(cause), ContactRef::Stored(contact.id));
        let (identifiers, origin) = (cause.as_slice().into(), EvidenceOrigin::Merge);
        let new = NewEvidence { key, identifiers, contact, origin, replaces: false };
        sets.insert(key, (owner.root(), new));
    }
    sets.into_values().collect()
}

/// Returns whether one request can have had the identifiers of this cause. Those of older versions had one of each kind
/// at most. A repair by such a version recorded all identifiers that both identities had.
pub fn is_of_one_request(cause: &[Identifier]) -> bool {
    let kinds: BTreeSet<_> = cause.iter().map(Identifier::kind).collect();
    kinds.len() == cause.len()
}

#[cfg(test)]
mod tests {
    use super::super::{IdentifierKind, Identity, Link, Timestamp};
    use super::*;

    fn email(value: &str) -> Identifier {
        Identifier::from_stored(IdentifierKind::Email, value)
    }

    fn identity(first: i64, sets: &[&[&str]]) -> Identity {
        let contact = |(id, set): (i64, &&[&str])| {
            let identifiers: Vec<Identifier> = set.iter().map(|value| email(value)).collect();
            let link = if id == first { Link::Primary } else { Link::SecondaryOf(ContactId(first)) };
            Contact::new(ContactId(id), identifiers, Timestamp(id), link)
        };
        Identity::new((first..).zip(sets).map(contact).collect()).unwrap()
    }

    #[test]
    fn a_request_has_one_identifier_of_each_kind() {
        let phone = Identifier::from_stored(IdentifierKind::Phone, "1");
        assert!(is_of_one_request(&[email("a"), phone.clone()]) && is_of_one_request(std::slice::from_ref(&phone)));
        assert!(!is_of_one_request(&[email("a"), email("b")]) && !is_of_one_request(&[email("a"), phone, email("b")]));
    }

    #[test]
    fn only_sets_of_one_identity_that_no_contact_carries_are_stored() {
        let known = Snapshot::new(vec![identity(1, &[&["a", "b"], &["c"], &["d"]]), identity(7, &[&["z"]])]);
        let known = known.with_ignored([email("till")].into());
        let causes = [&["a", "b"][..], &["c"], &["a", "z"], &["a", "nobody"], &["c", "b"], &["d", "till"], &["b", "c"]];
        let causes = causes.map(|cause| cause.iter().map(|value| email(value)).collect::<Vec<_>>());
        let mut found: Vec<(i64, Vec<&str>, ContactRef)> = Vec::new();
        let sets = sets_of_merges(&known, &causes);
        for (root, new) in &sets {
            let mut values: Vec<&str> = new.identifiers.iter().map(Identifier::value).collect();
            values.sort_unstable();
            found.push((root.0, values, new.contact));
        }
        found.sort();
        let found: Vec<(i64, Vec<&str>)> = found.into_iter().map(|(root, values, _)| (root, values)).collect();
        assert_eq!(found, [(1, vec!["b", "c"]), (1, vec!["d", "till"])]);
    }
}
