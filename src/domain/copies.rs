//! Reads by version: when a copy of an identity in memory may answer, and what else has to be read.
//!
//! Every change of an identity writes its root's row with a later `updatedAt`, its version. No version is ever used for
//! two contents. So the service compares each copy before it uses it: as long as the root's row says the same version,
//! and is neither deleted nor linked, the identity is what it was, and it still owns every identifier that it owned.
//!
//! The rows that are compared come from one consistent read, so what these functions return is the state at one moment:
//! that of the read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::contact::{ContactId, Timestamp};
use super::identifier::Identifier;
use super::identity::Identity;
use super::snapshot::Snapshot;

/// What the row of a root says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootRow {
    /// The row.
    pub id: ContactId,
    /// Its `updatedAt`.
    pub updated_at: Timestamp,
    /// Whether the contact is soft-deleted.
    pub is_deleted: bool,
    /// The row that it is linked to: another identity has absorbed it.
    pub linked_to: Option<ContactId>,
}

impl RootRow {
    /// Returns the version of its identity, or `None` if the row does not lead one (any more).
    fn version(&self) -> Option<Timestamp> {
        (!self.is_deleted && self.linked_to.is_none()).then_some(self.updated_at)
    }

    /// Returns whether a copy of the identity that this row leads is still right.
    pub fn proves(&self, copy: &Identity) -> bool {
        let version = self.version().map(|version| (self.id, version));
        version.is_some() && copy.version_of_live_root() == version
    }
}

/// Copies of identities in memory, each with an identifier that it owned. They answer only after a look at the rows of
/// their roots.
#[derive(Debug, Default)]
pub struct Copies {
    copies: Vec<(Identifier, Arc<Identity>)>,
}

impl Copies {
    /// Adds a copy that owned this identifier.
    pub fn add(&mut self, identifier: Identifier, copy: Arc<Identity>) {
        self.copies.push((identifier, copy));
    }

    /// Returns the roots of the copies, each once, in order.
    pub fn roots(&self) -> Vec<ContactId> {
        let mut roots: Vec<ContactId> = self.copies.iter().map(|(_, copy)| copy.root()).collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Compares the copies with the rows of their roots.
    pub fn compare(self, rows: &[RootRow]) -> ComparedCopies {
        let versions: HashMap<ContactId, Timestamp> =
            rows.iter().filter_map(|row| Some((row.id, row.version()?))).collect();
        let is_current = |copy: &Arc<Identity>| {
            copy.version_of_live_root().is_some_and(|(root, version)| versions.get(&root) == Some(&version))
        };
        let (current, changed): (Vec<_>, Vec<_>) = self.copies.into_iter().partition(|(_, copy)| is_current(copy));
        let mut changed: Vec<ContactId> = changed.iter().map(|(_, copy)| copy.root()).collect();
        changed.sort_unstable();
        changed.dedup();
        ComparedCopies { current: snapshot(current), changed }
    }
}

/// What the rows of their roots say about copies.
#[derive(Debug)]
pub struct ComparedCopies {
    /// The copies that are right, as the owners of their identifiers.
    pub current: Snapshot,
    /// The roots of the copies that are not right any more, each once, in order.
    pub changed: Vec<ContactId>,
}

/// The row of an identifier, with what the contact that it names and the root of that contact say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRow {
    /// The identifier.
    pub identifier: Identifier,
    /// The contact that it names.
    pub contact: ContactId,
    /// Whether that contact is soft-deleted.
    pub is_deleted: bool,
    /// Whether that contact says that the identifier is ignored. Then it leads to nobody.
    pub is_ignored: bool,
    /// The root of that contact, if its row exists.
    pub root: Option<RootRow>,
}

/// The identities that own identifiers, by root and version: one consistent read.
#[derive(Debug)]
pub struct Owners {
    roots: BTreeMap<Identifier, ContactId>,
    versions: BTreeMap<ContactId, Timestamp>,
    ignored: BTreeSet<Identifier>,
}

impl Owners {
    /// Returns the owners in these rows.
    ///
    /// Returns `None` if the rows do not tell them alone: an operator has deleted a contact or its root, or the tables
    /// are damaged. Then the contacts themselves have to be read, in the same statement.
    pub fn from_rows(rows: Vec<OwnerRow>) -> Option<Self> {
        let (mut roots, mut versions, mut ignored) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        for OwnerRow { identifier, is_deleted, is_ignored, root, .. } in rows {
            if is_ignored {
                ignored.insert(identifier);
                continue;
            }
            let root = root.filter(|_| !is_deleted)?;
            versions.insert(root.id, root.version()?);
            roots.insert(identifier, root.id);
        }
        Some(Self { roots, versions, ignored })
    }

    /// Returns the roots and their versions.
    pub fn versions(&self) -> impl Iterator<Item = (ContactId, Timestamp)> {
        self.versions.iter().map(|(root, version)| (*root, *version))
    }

    /// Returns the identities of the identifiers, as they were when the owners were read. `identities` are copies from
    /// memory and from later reads.
    ///
    /// Returns `None` if one of them is missing or has another version: it was changed since. The same if one does not
    /// own an identifier whose row leads to it: somebody has changed rows by SQL.
    pub fn with_identities(self, identities: &[Arc<Identity>]) -> Option<Snapshot> {
        let by_version: HashMap<(ContactId, Timestamp), &Arc<Identity>> =
            identities.iter().filter_map(|identity| Some((identity.version_of_live_root()?, identity))).collect();
        let owner_of = |(identifier, root): (Identifier, ContactId)| {
            let version = *self.versions.get(&root)?;
            let identity = *by_version.get(&(root, version))?;
            identity.owns(&identifier).then(|| (identifier, Arc::clone(identity)))
        };
        let owners = self.roots.into_iter().map(owner_of).collect::<Option<Vec<_>>>()?;
        Some(snapshot(owners).with_ignored(self.ignored))
    }
}

/// Returns the snapshot of identifiers and their owners.
fn snapshot(owners: Vec<(Identifier, Arc<Identity>)>) -> Snapshot {
    let mut identities: Vec<Arc<Identity>> = Vec::new();
    let mut indexes: HashMap<ContactId, usize> = HashMap::new();
    let owners = owners.into_iter().map(|(identifier, identity)| {
        let index = *indexes.entry(identity.root()).or_insert_with(|| {
            identities.push(identity);
            identities.len() - 1
        });
        (identifier, index)
    });
    let owners = owners.collect();
    Snapshot::from_owners(identities, owners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Contact, IdentifierKind, Link};

    fn email(value: &str) -> Identifier {
        Identifier::from_stored(IdentifierKind::Email, value)
    }

    fn identity(root: i64, version: i64, values: &[&str]) -> Arc<Identity> {
        let identifiers: Vec<Identifier> = values.iter().map(|value| email(value)).collect();
        let contact = Contact::new(ContactId(root), identifiers, Timestamp(version), Link::Primary);
        Arc::new(Identity::new(vec![contact]).unwrap())
    }

    fn row(root: i64, version: i64) -> RootRow {
        RootRow { id: ContactId(root), updated_at: Timestamp(version), is_deleted: false, linked_to: None }
    }

    fn copies() -> Copies {
        let (one, other) = (identity(1, 10, &["a@x", "b@x"]), identity(2, 20, &["c@x"]));
        let mut copies = Copies::default();
        for (value, copy) in [("a@x", &one), ("b@x", &one), ("c@x", &other)] {
            copies.add(email(value), Arc::clone(copy));
        }
        copies
    }

    #[test]
    fn copies_are_right_while_the_rows_of_their_roots_say_the_same() {
        assert_eq!(copies().roots(), [ContactId(1), ContactId(2)]);
        let ComparedCopies { current, changed } = copies().compare(&[row(2, 20), row(1, 10)]);
        assert_eq!((current.identities().len(), changed), (2, Vec::new()));
        for (value, root) in [("a@x", 1), ("b@x", 1), ("c@x", 2)] {
            assert_eq!(current.owner_of(&email(value)).unwrap().root(), ContactId(root));
        }
    }

    #[test]
    fn a_copy_whose_root_is_changed_linked_deleted_or_gone_is_not_used_and_the_others_are() {
        let changed = [
            vec![row(1, 11)],
            vec![row(1, 9)],
            vec![RootRow { linked_to: Some(ContactId(7)), ..row(1, 10) }],
            vec![RootRow { is_deleted: true, ..row(1, 10) }],
            Vec::new(),
        ];
        for mut rows in changed {
            rows.push(row(2, 20));
            let ComparedCopies { current, changed } = copies().compare(&rows);
            assert_eq!(changed, [ContactId(1)], "{rows:?}");
            assert!(!current.owns(&email("a@x")) && !current.owns(&email("b@x")), "{rows:?}");
            assert_eq!(current.owner_of(&email("c@x")).unwrap().root(), ContactId(2), "{rows:?}");
        }
        let all = copies().compare(&[]);
        assert_eq!((all.current.identities().len(), all.changed), (0, vec![ContactId(1), ContactId(2)]));
    }

    #[test]
    fn a_copy_without_a_live_root_is_never_used() {
        let (live, root) = (Link::SecondaryOf(ContactId(1)), Link::Primary);
        let secondary = Contact::new(ContactId(2), [email("a@x")], Timestamp(20), live);
        let deleted = Contact::new(ContactId(1), [email("a@x")], Timestamp(10), root);
        let left = Identity::new(vec![secondary]).unwrap();
        for one in [left.clone(), left.with_deleted(vec![deleted])] {
            let mut copies = Copies::default();
            copies.add(email("a@x"), Arc::new(one));
            let compared = copies.compare(&[row(1, 10), row(2, 20)]);
            assert!(!compared.changed.is_empty() && !compared.current.owns(&email("a@x")));
        }
    }

    fn owner_row(value: &str, root: RootRow) -> OwnerRow {
        let (identifier, contact) = (email(value), root.id);
        OwnerRow { identifier, contact, is_deleted: false, is_ignored: false, root: Some(root) }
    }

    #[test]
    fn owners_and_identities_of_the_same_version_are_one_read() {
        let owners = || Owners::from_rows(vec![owner_row("a@x", row(1, 10)), owner_row("z@x", row(1, 10))]).unwrap();
        assert_eq!(owners().versions().collect::<Vec<_>>(), [(ContactId(1), Timestamp(10))]);
        let same = [identity(2, 20, &[]), identity(1, 10, &["a@x", "b@x", "z@x"])];
        let snapshot = owners().with_identities(&same).unwrap();
        assert_eq!(snapshot.owner_of(&email("a@x")).unwrap().root(), ContactId(1));
        assert!(snapshot.owns(&email("z@x")));
        assert!(!snapshot.owns(&email("b@x")), "it was not asked for");
        let (later, earlier) = (identity(1, 11, &["a@x", "z@x"]), identity(1, 9, &["a@x", "z@x"]));
        let does_not_own_all = identity(1, 10, &["a@x"]);
        for changed in [vec![later], vec![earlier], vec![does_not_own_all], Vec::new()] {
            assert!(owners().with_identities(&changed).is_none());
        }
    }

    #[test]
    fn rows_that_say_too_little_are_no_owners() {
        let deleted = OwnerRow { is_deleted: true, ..owner_row("a@x", row(1, 10)) };
        let without_root = OwnerRow { root: None, ..owner_row("a@x", row(1, 10)) };
        let of_deleted = owner_row("a@x", RootRow { is_deleted: true, ..row(1, 10) });
        let linked = owner_row("a@x", RootRow { linked_to: Some(ContactId(7)), ..row(1, 10) });
        for odd in [deleted, without_root, of_deleted, linked] {
            assert!(Owners::from_rows(vec![owner_row("b@x", row(2, 20)), odd.clone()]).is_none(), "{odd:?}");
        }
        let nobody = Owners::from_rows(Vec::new()).unwrap();
        assert!(!nobody.with_identities(&[]).unwrap().owns(&email("a@x")));
    }
}
