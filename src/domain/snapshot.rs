use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::evidence::StoredEvidence;
use super::identifier::Identifier;
use super::identity::Identity;
use super::observation::Observation;

/// The identities of one consistent read, and the owner of each identifier.
///
/// An identity owns the identifiers that its live contacts carry. To plan an observation, the snapshot must hold every
/// identity that owns one of its identifiers. A snapshot of a [read by version](super::Copies) knows only the owners of
/// the identifiers that were asked for: it answers observations, and no plan that is written starts from it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    identities: Vec<Arc<Identity>>,
    owners: HashMap<Identifier, usize>,
    /// The identifiers that several of the identities carry: the tables are damaged.
    shared: HashSet<Identifier>,
    /// Those of the identifiers that were asked for which are ignored: they join nobody.
    ignored: BTreeSet<Identifier>,
    /// What is known of the sets beside the contacts.
    evidence: StoredEvidence,
}

impl Snapshot {
    /// Returns a snapshot of these identities.
    pub fn new(identities: Vec<Identity>) -> Self {
        Self::from_shared(identities.into_iter().map(Arc::new).collect())
    }

    /// Returns a snapshot of shared identities.
    pub fn from_shared(identities: Vec<Arc<Identity>>) -> Self {
        let (mut owners, mut shared) = (HashMap::new(), HashSet::new());
        for (index, identity) in identities.iter().enumerate() {
            for identifier in identity.contacts().iter().flat_map(|contact| contact.identifiers.iter()) {
                if owners.insert(identifier.clone(), index).is_some_and(|other| other != index) {
                    shared.insert(identifier.clone());
                }
            }
        }
        Self { identities, owners, shared, ignored: BTreeSet::new(), evidence: StoredEvidence::default() }
    }

    /// Returns a snapshot that knows the owners of these identifiers alone. Each is the index of an identity.
    pub(super) fn from_owners(identities: Vec<Arc<Identity>>, owners: HashMap<Identifier, usize>) -> Self {
        let (shared, ignored, evidence) = Default::default();
        Self { identities, owners, shared, ignored, evidence }
    }

    /// Returns the same snapshot, in which these identifiers are ignored.
    #[must_use]
    pub fn with_ignored(mut self, ignored: BTreeSet<Identifier>) -> Self {
        for identifier in &ignored {
            self.owners.remove(identifier);
        }
        self.ignored = ignored;
        self
    }

    /// Returns the same snapshot, with what is known of the sets that are stored beside the contacts.
    #[must_use]
    pub fn with_evidence(self, evidence: StoredEvidence) -> Self {
        Self { evidence, ..self }
    }

    pub(super) fn evidence(&self) -> &StoredEvidence {
        &self.evidence
    }

    /// Returns the set that the observation shows: without the ignored identifiers, and if it is evidence.
    pub fn evidence_set<'a>(&self, observation: &'a Observation) -> Option<Cow<'a, Observation>> {
        if observation.identifiers().len() < 2 {
            return None;
        }
        let (joining, _) = self.split(observation);
        joining.filter(|joining| joining.identifiers().len() > 1)
    }

    /// Returns whether the identifier is ignored. The snapshot knows it of those that were asked for.
    pub fn ignores(&self, identifier: &Identifier) -> bool {
        self.ignored.contains(identifier)
    }

    /// Returns the identifiers of the observation that are ignored.
    pub fn ignored_of(&self, observation: &Observation) -> Vec<Identifier> {
        if self.ignored.is_empty() {
            return Vec::new();
        }
        observation.identifiers().iter().filter(|identifier| self.ignores(identifier)).cloned().collect()
    }

    /// Returns whether all identifiers of the observation are ignored: it says nothing about anybody.
    pub fn ignores_all_of(&self, observation: &Observation) -> bool {
        observation.identifiers().iter().all(|identifier| self.ignores(identifier))
    }

    /// Returns what the observation says without the identifiers that are ignored, and those. The first is `None` if
    /// all are.
    pub(super) fn split<'a>(&self, observation: &'a Observation) -> (Option<Cow<'a, Observation>>, Vec<Identifier>) {
        let is_any_ignored = || observation.identifiers().iter().any(|identifier| self.ignores(identifier));
        if self.ignored.is_empty() || !is_any_ignored() {
            return (Some(Cow::Borrowed(observation)), Vec::new());
        }
        let (rest, ignored) = observation.split_ignored(|identifier| self.ignores(identifier));
        (rest.map(Cow::Owned), ignored)
    }

    /// Returns the identity that owns all identifiers of the observation that are not ignored, if there is one. Such an
    /// observation brings nothing new, and the identity is its answer.
    pub fn matched(&self, observation: &Observation) -> Option<&Arc<Identity>> {
        let joining = observation.identifiers().iter().filter(|identifier| !self.ignores(identifier));
        let mut owners = joining.map(|identifier| self.owners.get(identifier));
        let first = owners.next()??;
        owners.all(|owner| owner == Some(first)).then(|| &self.identities[*first])
    }

    /// Returns the identity that owns the identifier.
    pub fn owner_of(&self, identifier: &Identifier) -> Option<&Arc<Identity>> {
        self.owners.get(identifier).map(|owner| &self.identities[*owner])
    }

    /// Returns the identity that owns the identifier, or `None` if several carry it: the tables are damaged.
    pub fn sole_owner_of(&self, identifier: &Identifier) -> Option<&Arc<Identity>> {
        self.owner_of(identifier).filter(|_| !self.shared.contains(identifier))
    }

    /// Returns whether an identity owns the identifier.
    pub fn owns(&self, identifier: &Identifier) -> bool {
        self.owners.contains_key(identifier)
    }

    /// Returns the identities that own an identifier of the observation, each once.
    pub fn owners_of(&self, observation: &Observation) -> Vec<Arc<Identity>> {
        let owners = observation.identifiers().iter().filter_map(|identifier| self.owners.get(identifier));
        let mut owners: Vec<usize> = owners.copied().collect();
        owners.sort_unstable();
        owners.dedup();
        owners.into_iter().map(|owner| Arc::clone(&self.identities[owner])).collect()
    }

    /// Returns what the snapshot knows of the identifiers of an observation: the owners of these alone.
    pub(super) fn restricted_to(&self, observation: &Observation) -> Self {
        let (mut identities, mut places, mut owners) = (Vec::new(), HashMap::new(), HashMap::new());
        for identifier in observation.identifiers() {
            let Some(owner) = self.owners.get(identifier) else { continue };
            let place = *places.entry(*owner).or_insert_with(|| {
                identities.push(Arc::clone(&self.identities[*owner]));
                identities.len() - 1
            });
            owners.insert(identifier.clone(), place);
        }
        let ignored = observation.identifiers().iter().filter(|identifier| self.ignores(identifier)).cloned().collect();
        Self { ignored, ..Self::from_owners(identities, owners) }
    }

    /// Returns all identities.
    pub fn identities(&self) -> &[Arc<Identity>] {
        &self.identities
    }

    pub(super) fn owners(&self) -> &HashMap<Identifier, usize> {
        &self.owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Contact, ContactId, IdentifierKind, Link, Timestamp};

    #[test]
    fn what_several_identities_carry_has_no_sole_owner() {
        let email = |value: &str| Identifier::from_stored(IdentifierKind::Email, value);
        let contact = |id: i64, values: [&str; 2]| {
            let link = if id % 10 == 0 { Link::Primary } else { Link::SecondaryOf(ContactId(id / 10 * 10)) };
            Contact::new(ContactId(id), values.map(email), Timestamp(id), link)
        };
        let one = Identity::new(vec![contact(10, ["a@x", "b@x"]), contact(11, ["a@x", "c@x"])]).unwrap();
        let other = Identity::new(vec![contact(20, ["c@x", "d@x"])]).unwrap();
        let snapshot = Snapshot::new(vec![one, other]);
        let sole = |value: &str| snapshot.sole_owner_of(&email(value)).map(|owner| owner.root().0);
        assert_eq!(["a@x", "b@x", "d@x"].map(sole), [Some(10), Some(10), Some(20)], "two contacts of one identity");
        assert_eq!(["c@x", "nobody@x"].map(sole), [None, None]);
        assert!(snapshot.owns(&email("c@x")));
    }
}
