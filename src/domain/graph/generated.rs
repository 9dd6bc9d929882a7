//! A graph of 100,000 generated events: customers with several addresses and numbers, families that share a phone,
//! typing errors that give one customer's address to another, and tills whose phone number many customers get.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use fastrand::Rng;

use super::*;
use crate::domain::{Contact, ContactId, EvidenceOrigin, Identifier, IdentifierKind, Link, Timestamp};

const EVENTS: usize = 100_000;
const CUSTOMERS: u64 = 20_000;

fn pair(random: &mut Rng) -> Vec<Identifier> {
    let customer = random.u64(..CUSTOMERS);
    let name = match random.u64(..1_000) {
        0 => random.u64(..CUSTOMERS), // Somebody types the address of another.
        _ => customer,
    };
    let email = format!("{name}.{}@x.de", random.u64(..3));
    let phone = match random.u64(..60) {
        0 => format!("1{}", random.u64(..3)),  // The phone of a till.
        1..=6 => format!("2{}", customer / 3), // The phone of a family.
        _ => format!("3{customer}{}", random.u64(..2)),
    };
    let mut pair = vec![
        Identifier::from_stored(IdentifierKind::Email, email),
        Identifier::from_stored(IdentifierKind::Phone, phone),
    ];
    match random.u64(..10) {
        0 => drop(pair.pop()),
        1 => drop(pair.swap_remove(0)),
        _ => {}
    }
    pair
}

fn root(parents: &mut [usize], mut node: usize) -> usize {
    while parents[node] != node {
        parents[node] = parents[parents[node]];
        node = parents[node];
    }
    node
}

/// What the service stores of these events, as the histories of the identities at the end.
fn histories() -> Vec<History> {
    let mut random = Rng::with_seed(7);
    let mut nodes: HashMap<Identifier, usize> = HashMap::new();
    let mut parents: Vec<usize> = Vec::new();
    let mut held: HashSet<Vec<Identifier>> = HashSet::new();
    let (mut contacts, mut stored) = (Vec::new(), Vec::new());
    for (id, at) in (1..).zip((1..).map(Timestamp)).take(EVENTS) {
        let set = pair(&mut random);
        let is_new = set.iter().any(|one| !nodes.contains_key(one));
        let places: Vec<usize> = set
            .iter()
            .map(|one| {
                *nodes.entry(one.clone()).or_insert_with(|| {
                    parents.push(parents.len());
                    parents.len() - 1
                })
            })
            .collect();
        let roots: Vec<usize> = places.iter().map(|node| root(&mut parents, *node)).collect();
        let is_merge = roots.windows(2).any(|two| two[0] != two[1]);
        roots.iter().for_each(|other| parents[*other] = roots[0]);
        let is_unheld = set.len() > 1 && held.insert(set.clone());
        let identifiers: Arc<[Identifier]> = set.into();
        if is_new {
            contacts.push((places[0], Contact::new(ContactId(id), identifiers, at, Link::Primary)));
        } else if is_unheld {
            let origin = if is_merge { EvidenceOrigin::Merge } else { EvidenceOrigin::Match };
            stored.push((places[0], StoredSet { id, identifiers, origin, seen_at: at }));
        }
    }
    let mut rows: BTreeMap<usize, (Vec<HistoryContact>, Vec<StoredSet>)> = BTreeMap::new();
    for (node, contact) in contacts {
        let rows = rows.entry(root(&mut parents, node)).or_default();
        rows.0.push(HistoryContact { contact, deleted_at: None });
    }
    for (node, set) in stored {
        rows.entry(root(&mut parents, node)).or_default().1.push(set);
    }
    let history = |(contacts, stored): (Vec<HistoryContact>, _)| {
        let first = contacts[0].contact.id;
        History::new(first, contacts, stored, Vec::new())
    };
    rows.into_values().map(history).collect()
}

/// The group of each identifier that these sets make.
fn groups<'a>(nodes: &HashMap<&Identifier, usize>, sets: impl Iterator<Item = &'a SeenSet>) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..nodes.len()).collect();
    for set in sets {
        for other in &set.identifiers[1..] {
            let [one, other] = [&set.identifiers[0], other].map(|one| root(&mut parents, nodes[one]));
            parents[other] = one;
        }
    }
    (0..nodes.len()).map(|node| root(&mut parents, node)).collect()
}

fn count(groups: &[usize]) -> usize {
    groups.iter().collect::<HashSet<_>>().len()
}

/// Asserts that an identity without these sets has these groups as its parts: each identifier once, and each contact
/// where its first identifier is.
fn assert_parts(history: &History, nodes: &HashMap<&Identifier, usize>, groups: &[usize], without: BTreeSet<SetName>) {
    let parts = history.explain(&Question { without_sets: without, ..Question::default() }).parts;
    let first = |row: &HistoryContact| groups[nodes[&row.contact.identifiers[0]]];
    let mut contacts: HashMap<ContactId, usize> =
        history.contacts.iter().map(|row| (row.contact.id, first(row))).collect();
    let mut seen: HashSet<&Identifier> = HashSet::new();
    for part in &parts {
        let group = groups[nodes[&part.identifiers[0]]];
        assert!(part.identifiers.iter().all(|one| groups[nodes[one]] == group && seen.insert(one)));
        assert!(part.contacts.iter().all(|id| contacts.remove(id) == Some(group)));
        assert_eq!(part.primary, part.contacts.iter().min().copied());
    }
    assert_eq!((parts.len(), seen.len(), contacts.len()), (count(groups), nodes.len(), 0));
}

/// One identity is large: it has 4,785 sets. Each question about it takes up to 0.35 s in a debug build, all of them
/// 10 to 30 minutes. So about so many of its sets are left out, one after another, spread over its time. Of each other
/// identity, every set is left out. The variable `EVERY_COUNTERFACTUAL` leaves out every set of the large one too:
///
/// `EVERY_COUNTERFACTUAL=1 cargo test --release --lib -- generated`
const OF_LARGE: usize = 60;

#[test]
fn each_counterfactual_is_as_brute_force_says() {
    let histories = histories();
    let largest = histories.iter().map(|history| history.contacts.len()).max();
    assert!(largest > Some(1_000), "no large identity: {largest:?}");
    let every_one = std::env::var_os("EVERY_COUNTERFACTUAL").is_some();
    let mut asked = 0;
    for history in &histories {
        let sets = history.sets(None);
        let shown = history.contacts.iter().flat_map(|row| row.contact.identifiers.iter());
        let shown: Vec<&Identifier> = shown.chain(sets.iter().flat_map(|set| set.identifiers.iter())).collect();
        let distinct: HashSet<&Identifier> = shown.into_iter().collect();
        let nodes: HashMap<&Identifier, usize> = distinct.into_iter().zip(0..).collect();
        assert_eq!(count(&groups(&nodes, sets.iter())), 1);
        let bridges: HashSet<SetName> =
            history.explain(&Question::default()).bridges.iter().map(|set| set.name).collect();
        let step = if sets.len() > 100 && !every_one { sets.len() / OF_LARGE } else { 1 };
        for set in sets.iter().step_by(step) {
            let left = groups(&nodes, sets.iter().filter(|other| other.name != set.name));
            assert_eq!(bridges.contains(&set.name), count(&left) > 1);
            assert_parts(history, &nodes, &left, [set.name].into());
            asked += 1;
        }
        let matches: BTreeSet<SetName> =
            sets.iter().filter(|set| set.origin != SetOrigin::Contact).map(|set| set.name).collect();
        let left = groups(&nodes, sets.iter().filter(|set| !matches.contains(&set.name)));
        assert_parts(history, &nodes, &left, matches);
    }
    let all: usize = histories.iter().map(|history| history.sets(None).len()).sum();
    assert!(asked > 50_000 && (asked == all || !every_one), "{asked} of {all}");
}
