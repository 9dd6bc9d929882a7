use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::contact::ContactId;
use super::identifier::Identifier;
use super::identity::Identity;

/// What is known of some identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookUp {
    /// The identities that own any of them, each once, in the order of the first identifier of each.
    pub identities: Vec<Arc<Identity>>,
    /// The identifiers that none of these identities owns, in order.
    pub unknown: Vec<Identifier>,
}

impl LookUp {
    /// Puts together who owns each identifier.
    ///
    /// The owners can come from reads at several moments. Of two reads of one identity, the later one counts. An
    /// identity that another one has absorbed by its later read is left out: the other one has all of its contacts. An
    /// identifier without an owner at an earlier read is not unknown if a later read shows who owns it. So no two of
    /// the identities have a contact in common.
    pub fn new(owners: Vec<(Identifier, Option<Arc<Identity>>)>) -> Self {
        let mut latest: HashMap<ContactId, &Arc<Identity>> = HashMap::new();
        for identity in owners.iter().filter_map(|(_, owner)| owner.as_ref()) {
            let kept = latest.entry(identity.root()).or_insert(identity);
            if identity.version() > kept.version() {
                *kept = identity;
            }
        }
        let absorbed = absorbed_roots(&latest);
        let survivor = |identity: &Arc<Identity>| {
            let mut root = identity.root();
            let mut seen = HashSet::new();
            while let Some(next) = absorbed.get(&root).filter(|_| seen.insert(root)) {
                root = *next;
            }
            latest.get(&root).copied().unwrap_or(identity).clone()
        };
        let mut found = Self::default();
        let mut listed = HashSet::new();
        let mut without = Vec::new();
        for (identifier, owner) in &owners {
            match owner.as_ref().map(survivor) {
                Some(identity) if listed.insert(identity.root()) => found.identities.push(identity),
                Some(_) => {}
                None => without.push(identifier),
            }
        }
        let mut owned = HashSet::new();
        if !without.is_empty() {
            let asked: HashSet<&Identifier> = without.iter().copied().collect();
            for identity in &found.identities {
                let shown = identity.contacts().iter().flat_map(|contact| contact.identifiers.iter());
                let shown: Vec<&Identifier> = shown.filter(|identifier| asked.contains(identifier)).collect();
                owned.extend(shown.into_iter().filter(|identifier| identity.owns(identifier)).cloned());
            }
        }
        found.unknown = without.into_iter().filter(|identifier| !owned.contains(*identifier)).cloned().collect();
        found
    }
}

/// Returns the roots that are a contact of another of these identities, each with the root of that one.
fn absorbed_roots(identities: &HashMap<ContactId, &Arc<Identity>>) -> HashMap<ContactId, ContactId> {
    if identities.len() < 2 {
        return HashMap::new();
    }
    let by = |identity: &Arc<Identity>| {
        let root = identity.root();
        let others = identity.rows().map(|contact| contact.id).filter(move |id| *id != root);
        others.filter(|id| identities.contains_key(id)).map(|id| (id, root)).collect::<Vec<_>>()
    };
    identities.values().flat_map(|identity| by(identity)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Contact, IdentifierKind, Link, Timestamp};

    fn email(value: &str) -> Identifier {
        Identifier::from_stored(IdentifierKind::Email, value)
    }

    /// Contacts `(id, value)`, of which the first is the root, at a version.
    fn identity(version: i64, contacts: &[(i64, &str)]) -> Arc<Identity> {
        let root = ContactId(contacts[0].0);
        let contact = |(id, value): &(i64, &str)| {
            let link = if *id == root.0 { Link::Primary } else { Link::SecondaryOf(root) };
            let contact = Contact::new(ContactId(*id), [email(value)], Timestamp(*id), link);
            Contact { updated_at: Timestamp(version), ..contact }
        };
        Arc::new(Identity::new(contacts.iter().map(contact).collect()).unwrap())
    }

    fn look_up(owners: &[(&str, Option<&Arc<Identity>>)]) -> LookUp {
        LookUp::new(owners.iter().map(|(value, owner)| (email(value), owner.cloned())).collect())
    }

    #[test]
    fn each_identity_comes_once_and_in_order() {
        let (one, other) = (identity(10, &[(1, "a"), (2, "b")]), identity(10, &[(3, "c")]));
        let found = look_up(&[("c", Some(&other)), ("x", None), ("a", Some(&one)), ("b", Some(&one)), ("y", None)]);
        assert_eq!(found.identities, [other, one]);
        assert_eq!(found.unknown, [email("x"), email("y")]);
        assert_eq!(look_up(&[]), LookUp::default());
    }

    #[test]
    fn of_two_reads_the_later_one_counts() {
        let before = identity(10, &[(1, "a")]);
        let after = identity(11, &[(1, "a"), (5, "b")]);
        for owners in [[("a", Some(&before)), ("b", Some(&after))], [("b", Some(&after)), ("a", Some(&before))]] {
            assert_eq!(look_up(&owners).identities, std::slice::from_ref(&after));
        }
        let found = look_up(&[("b", None), ("a", Some(&after))]);
        assert_eq!((found.identities, found.unknown), (vec![after], vec![]), "a later read shows its owner");
    }

    #[test]
    fn an_absorbed_identity_is_shown_as_its_survivor_also_through_others() {
        let first = identity(30, &[(1, "a"), (2, "b"), (3, "c")]);
        let second = identity(20, &[(2, "b"), (3, "c")]);
        let third = identity(10, &[(3, "c")]);
        let other = identity(10, &[(9, "z")]);
        let found = look_up(&[("c", Some(&third)), ("b", Some(&second)), ("z", Some(&other)), ("a", Some(&first))]);
        assert_eq!(found.identities, [first.clone(), other]);
        // Without the last, each knows the next.
        let found = look_up(&[("c", Some(&third)), ("b", Some(&second))]);
        assert_eq!(found.identities, [second]);
    }

    #[test]
    fn damaged_rows_end() {
        let one = identity(10, &[(1, "a"), (2, "b")]);
        let other = identity(10, &[(2, "b"), (1, "a")]);
        assert!(!look_up(&[("a", Some(&one)), ("b", Some(&other))]).identities.is_empty());
    }
}
