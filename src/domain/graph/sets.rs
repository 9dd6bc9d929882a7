use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::history::History;
use super::incidence::Incidence;
use super::seen_set::{SeenSet, SetName, SetOrigin, StoredSet};
use crate::domain::contact::{Contact, Timestamp};
use crate::domain::identifier::Identifier;

impl History {
    /// Returns the sets that connect the identity, or that connected its parts at a moment. The oldest comes first.
    ///
    /// A stored set with an identifier that no contact carries connects nothing: the identifier is ignored, or was that
    /// of deleted contacts.
    ///
    /// Contacts that no set connects with their primary, and that belong to it all the same, are connected by a set of
    /// origin [`SetOrigin::Link`].
    pub fn sets(&self, at: Option<Timestamp>) -> Vec<SeenSet> {
        let there: Vec<&Contact> =
            self.contacts.iter().filter(|row| row.is_there(at)).map(|row| &row.contact).collect();
        let owned: HashSet<&Identifier> = there.iter().flat_map(|contact| contact.identifiers.iter()).collect();
        let carried = there.iter().filter(|contact| contact.identifiers.len() > 1).map(|contact| SeenSet {
            name: SetName::Contact(contact.id),
            identifiers: Arc::clone(&contact.identifiers),
            origin: SetOrigin::Contact,
            seen_at: contact.created_at,
        });
        let counts = |set: &&StoredSet| {
            at.is_none_or(|at| set.seen_at <= at) && set.identifiers.iter().all(|one| owned.contains(one))
        };
        let stored = self.stored.iter().filter(counts).map(|set| SeenSet {
            name: SetName::Stored(set.id),
            identifiers: Arc::clone(&set.identifiers),
            origin: set.origin.into(),
            seen_at: set.seen_at,
        });
        let mut distinct: HashMap<Vec<Identifier>, SeenSet> = HashMap::new();
        for set in carried.chain(stored) {
            distinct.entry(sorted(&set.identifiers)).or_insert(set);
        }
        let mut sets: Vec<SeenSet> = distinct.into_values().collect();
        sets.sort_by_key(|set| (set.seen_at, set.name));
        let links = self.links(&sets, at);
        if !links.is_empty() {
            sets.extend(links);
            sets.sort_by_key(|set| (set.seen_at, set.name));
        }
        sets
    }

    /// Returns the sets that are needed besides these, so that all that belongs together is connected.
    fn links(&self, sets: &[SeenSet], at: Option<Timestamp>) -> Vec<SeenSet> {
        let latest = at.unwrap_or(Timestamp(i64::MAX));
        let graph = Incidence::from_history(self, sets, at);
        let groups = graph.components(|_| false, |_| false);
        // The oldest contact of each component, by the node that stands for its identity at that moment.
        let mut oldest: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        let mut seen = vec![false; graph.identifiers.len()];
        for (place, row) in self.contacts.iter().enumerate().filter(|(_, row)| row.is_there(at)) {
            let Some(first) = row.contact.identifiers.first().and_then(|one| graph.index(one)) else { continue };
            if !std::mem::replace(&mut seen[groups[first]], true) {
                oldest.entry(self.joined.root_at(place, latest)).or_default().push((place, first));
            }
        }
        let mut links = Vec::new();
        for members in oldest.values() {
            let (primary, first) = members[0];
            for (place, other) in &members[1..] {
                let ends = [first, *other].map(|index| graph.identifiers[index].clone());
                links.push(SeenSet {
                    name: SetName::Link(self.contacts[*place].contact.id),
                    identifiers: Arc::from(ends),
                    origin: SetOrigin::Link,
                    seen_at: self.joined.joined_at(primary, *place).unwrap_or(latest),
                });
            }
        }
        links
    }
}

/// Returns a set in the order in which it can be compared.
pub(super) fn sorted(set: &[Identifier]) -> Vec<Identifier> {
    let mut set = set.to_vec();
    set.sort_unstable();
    set
}
