//! The graph of random histories, against rules that are slow and simple.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::domain::model::Tables;
use crate::domain::{ContactId, ContactRef, Identifier, IdentifierKind, Link, Observation, Timestamp};

/// One value of a kind. The model takes more kinds than the service has: the value says which.
pub(super) fn identifier(kind: usize, number: u8) -> Identifier {
    Identifier::from_stored(IdentifierKind::ALL[kind % 2], format!("{kind}-{number}"))
}

pub(super) fn observing(given: &[(usize, u8)]) -> Observation {
    Observation::new(given.iter().map(|(kind, number)| identifier(*kind, *number))).unwrap()
}

/// Which contacts belong together.
type Partition = BTreeSet<BTreeSet<ContactId>>;
type Set = BTreeSet<Identifier>;

/// The tables after each batch of a history. All of a batch has happened before the next moment.
pub(super) struct Recorded {
    pub(super) tables: Tables,
    seen_at: BTreeMap<crate::domain::SetKey, Timestamp>,
    partitions: Vec<(Timestamp, Partition)>,
}

impl Recorded {
    pub(super) fn of(history: &[Vec<Observation>]) -> Self {
        let mut recorded = Self { tables: Tables::default(), seen_at: BTreeMap::new(), partitions: Vec::new() };
        for (batch, now) in history.iter().zip((1_000..).step_by(1_000)) {
            let before: BTreeSet<_> = recorded.tables.evidence.keys().copied().collect();
            recorded.tables.identify(batch, now);
            for (key, set) in recorded.tables.evidence.iter().filter(|(key, _)| !before.contains(key)) {
                let root = recorded.root(stored_id(set.contact));
                recorded.seen_at.insert(*key, recorded.row(root).updated_at);
            }
            let partition = recorded.partition();
            recorded.partitions.push((Timestamp(now + 999), partition));
        }
        recorded
    }

    fn row(&self, id: ContactId) -> &crate::domain::Contact {
        self.tables.contacts.iter().find(|row| row.id == id).unwrap()
    }

    fn root(&self, id: ContactId) -> ContactId {
        match self.row(id).link {
            Link::Primary => id,
            Link::SecondaryOf(root) => root,
        }
    }

    fn partition(&self) -> Partition {
        let mut groups: BTreeMap<ContactId, BTreeSet<ContactId>> = BTreeMap::new();
        for row in &self.tables.contacts {
            groups.entry(self.root(row.id)).or_default().insert(row.id);
        }
        groups.into_values().collect()
    }

    /// The history of each identity that there is at the end.
    pub(super) fn histories(&self) -> Vec<History> {
        let roots: BTreeSet<ContactId> = self.tables.contacts.iter().map(|row| self.root(row.id)).collect();
        let of = |root: ContactId| {
            let rows = self.tables.contacts.iter().filter(|row| self.root(row.id) == root);
            let contacts = rows.map(|row| HistoryContact { contact: row.clone(), deleted_at: None }).collect();
            let own = (1..).zip(&self.tables.evidence);
            let own = own.filter(|(_, (_, set))| self.root(stored_id(set.contact)) == root);
            let stored = own.map(|(id, (key, set))| StoredSet {
                id,
                identifiers: set.identifiers.clone(),
                origin: set.origin,
                seen_at: self.seen_at[key],
            });
            History::new(root, contacts, stored.collect(), Vec::new())
        };
        roots.into_iter().map(of).collect()
    }
}

fn stored_id(contact: ContactRef) -> ContactId {
    let ContactRef::Stored(id) = contact else { panic!("a row") };
    id
}

/// What these sets connect, among these identifiers.
fn components<'a>(nodes: &Set, sets: impl Iterator<Item = &'a Set>) -> BTreeSet<Set> {
    let mut components: BTreeSet<Set> = nodes.iter().map(|one| Set::from([one.clone()])).collect();
    for set in sets {
        let (met, others): (Vec<Set>, Vec<Set>) = components.into_iter().partition(|one| !one.is_disjoint(set));
        components = others.into_iter().collect();
        components.insert(met.into_iter().flatten().collect());
    }
    components
}

fn names(sets: &[SeenSet]) -> Vec<SetName> {
    sets.iter().map(|set| set.name).collect()
}

fn members(set: &SeenSet) -> Set {
    set.identifiers.iter().cloned().collect()
}

fn connects(sets: &[&SeenSet], pair: &[Identifier; 2]) -> bool {
    let sets: Vec<Set> = sets.iter().map(|set| members(set)).collect();
    let nodes = sets.iter().flatten().chain(pair).cloned().collect();
    components(&nodes, sets.iter()).iter().any(|one| pair.iter().all(|end| one.contains(end)))
}

/// All choices of so many of the sets.
fn choices(sets: &[SeenSet], count: usize) -> Vec<Vec<&SeenSet>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let with = |first: usize| {
        let rest = choices(&sets[first + 1..], count - 1).into_iter();
        rest.map(move |rest| [vec![&sets[first]], rest].concat())
    };
    (0..sets.len()).flat_map(with).collect()
}

/// What is asked about each identity of a history.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The identifiers at these places: what is between them?
    between: (usize, usize),
    /// The sets and the identifiers that are left out together: those of whose place the bit is set.
    without: (u64, u64),
}

fn asked() -> impl Strategy<Value = Asked> {
    let places = (0..64_usize, 0..64_usize);
    (places, any::<(u64, u64)>()).prop_map(|(between, without)| Asked { between, without })
}

/// Those of whose place the bit is set.
fn chosen<T: Clone + Ord>(all: &[T], bits: u64) -> BTreeSet<T> {
    all.iter().enumerate().filter(|(place, _)| bits >> (place % 64) & 1 == 1).map(|(_, one)| one.clone()).collect()
}

fn check_explanation(history: &History, asked: Asked) -> Result<(), TestCaseError> {
    let sets = history.sets(None);
    let nodes: Set = history.contacts.iter().flat_map(|row| row.contact.identifiers.to_vec()).collect();
    let all: Vec<Identifier> = nodes.iter().cloned().collect();
    let whole = history.explain(&Question::default());
    prop_assert_eq!(whole.parts.len(), 1);
    prop_assert_eq!(whole.parts[0].contacts.len(), history.contacts.len());
    prop_assert_eq!((&whole.path, &whole.weakest_cut), (&Vec::new(), &Vec::new()));

    let without = |removed: &[SetName]| {
        let left: Vec<Set> = sets.iter().filter(|set| !removed.contains(&set.name)).map(members).collect();
        components(&nodes, left.iter())
    };
    let splits = |name: &&SetName| without(&[**name]).len() > 1;
    let every = names(&sets);
    prop_assert_eq!(names(&whole.bridges), every.iter().filter(splits).copied().collect::<Vec<_>>());
    for removed in every.iter().map(|name| vec![*name]).chain([every.clone()]) {
        let question = Question { without_sets: removed.iter().copied().collect(), ..Question::default() };
        check_parts(history, &history.explain(&question).parts, &without(&removed))?;
    }
    for one in &nodes {
        let question = Question { without_identifiers: Set::from([one.clone()]), ..Question::default() };
        let others: Set = nodes.iter().filter(|other| *other != one).cloned().collect();
        let left: Vec<Set> = sets.iter().map(|set| members(set).intersection(&others).cloned().collect()).collect();
        check_parts(history, &history.explain(&question).parts, &components(&others, left.iter()))?;
    }
    let question = Question {
        without_sets: chosen(&every, asked.without.0),
        without_identifiers: chosen(&all, asked.without.1),
        ..Question::default()
    };
    let others: Set = nodes.difference(&question.without_identifiers).cloned().collect();
    let left = sets.iter().filter(|set| !question.without_sets.contains(&set.name));
    let left: Vec<Set> = left.map(|set| members(set).intersection(&others).cloned().collect()).collect();
    let left = left.iter().filter(|set| !set.is_empty());
    check_parts(history, &history.explain(&question).parts, &components(&others, left))?;

    let pair = [all[asked.between.0 % all.len()].clone(), all[asked.between.1 % all.len()].clone()];
    if pair[0] == pair[1] {
        return Ok(());
    }
    let explained = history.explain(&Question { between: Some(pair.clone()), ..Question::default() });
    let path: Vec<&SeenSet> = explained.path.iter().collect();
    prop_assert!(connects(&path, &pair));
    prop_assert!(path[0].identifiers.contains(&pair[0]) && path[path.len() - 1].identifiers.contains(&pair[1]));
    prop_assert!(path.windows(2).all(|two| !members(two[0]).is_disjoint(&members(two[1]))));
    let cut = names(&explained.weakest_cut);
    let left: Vec<&SeenSet> = sets.iter().filter(|set| !cut.contains(&set.name)).collect();
    prop_assert!(!cut.is_empty() && !connects(&left, &pair));
    if sets.len() <= 9 {
        prop_assert!(choices(&sets, path.len() - 1).iter().all(|fewer| !connects(fewer, &pair)), "a shorter path");
        for fewer in choices(&sets, cut.len() - 1) {
            let left: Vec<&SeenSet> = sets.iter().filter(|set| !fewer.contains(set)).collect();
            prop_assert!(connects(&left, &pair), "a smaller cut");
        }
    }
    Ok(())
}

/// Whether the parts are these components, and each contact is in that of its first identifier that is left.
fn check_parts(history: &History, parts: &[Part], expected: &BTreeSet<Set>) -> Result<(), TestCaseError> {
    let found: Vec<Set> = parts.iter().map(|part| part.identifiers.iter().cloned().collect()).collect();
    prop_assert_eq!(&found.iter().cloned().collect::<BTreeSet<_>>(), expected);
    prop_assert_eq!(found.len(), expected.len());
    let mut contacts = vec![Vec::new(); parts.len()];
    for row in &history.contacts {
        let first = row.contact.identifiers.iter().find_map(|one| found.iter().position(|part| part.contains(one)));
        if let Some(part) = first {
            contacts[part].push(row.contact.id);
        }
    }
    for (part, contacts) in parts.iter().zip(contacts) {
        prop_assert_eq!(part.primary, contacts.first().copied());
        prop_assert_eq!(&part.contacts, &contacts);
    }
    let order: Vec<Option<ContactId>> = parts.iter().map(|part| part.primary).take_while(Option::is_some).collect();
    prop_assert!(order.is_sorted() && parts[order.len()..].iter().all(|part| part.primary.is_none()));
    Ok(())
}

/// At each moment, the histories say what the tables said then.
fn check_past(recorded: &Recorded) -> Result<(), TestCaseError> {
    let histories = recorded.histories();
    for (at, partition) in &recorded.partitions {
        let past = |id: ContactId| histories.iter().find_map(|history| history.identity_at(id, *at));
        for group in partition {
            for id in group {
                let identity = past(*id).unwrap();
                prop_assert_eq!(&identity.contacts.iter().map(|one| one.id).collect::<BTreeSet<_>>(), group);
                prop_assert_eq!(Some(&identity.contacts[0].id), group.first());
                prop_assert!(identity.updated_at <= *at);
                let first = &identity.contacts[0].identifiers[0];
                let owner = histories.iter().find_map(|history| history.owner_at(first, *at));
                prop_assert_eq!(owner, Some(identity));
            }
        }
        let known = partition.iter().map(BTreeSet::len).sum::<usize>();
        let found = recorded.tables.contacts.iter().filter(|row| past(row.id).is_some()).count();
        prop_assert_eq!(found, known);
        let replayed: Partition = histories.iter().flat_map(|history| replay(&history.revisions(), *at)).collect();
        prop_assert_eq!(&replayed, partition);
    }
    Ok(())
}

/// Which contacts belong together after the revisions up to a moment.
fn replay(revisions: &[Revision], at: Timestamp) -> Vec<BTreeSet<ContactId>> {
    let mut groups: Vec<(ContactId, BTreeSet<ContactId>)> = Vec::new();
    for revision in revisions.iter().take_while(|revision| revision.at <= at) {
        let is_in = |group: &(ContactId, BTreeSet<ContactId>)| {
            group.0 == revision.primary || revision.absorbed.contains(&group.0)
        };
        let (met, others): (Vec<_>, Vec<_>) = groups.into_iter().partition(is_in);
        groups = others;
        let expected = match revision.kind {
            RevisionKind::Created => met.is_empty() && revision.absorbed.is_empty(),
            RevisionKind::Linked | RevisionKind::Confirmed => met.len() == 1 && revision.absorbed.is_empty(),
            RevisionKind::Merged => met.len() > 1 && met.len() == revision.absorbed.len() + 1,
        };
        assert!(expected, "{revision:?}");
        let contacts = met.into_iter().flat_map(|(_, contacts)| contacts).chain(revision.contacts.iter().copied());
        groups.push((revision.primary, contacts.collect()));
    }
    groups.into_iter().map(|(_, contacts)| contacts).collect()
}

/// At most one value of each of so many kinds.
fn observation(kinds: usize) -> impl Strategy<Value = Observation> {
    prop::collection::vec(prop::option::weighted(0.75, 0..6_u8), kinds).prop_filter_map("nothing", |numbers| {
        let given = numbers.into_iter().enumerate();
        Observation::new(given.filter_map(|(kind, number)| Some(identifier(kind, number?)))).ok()
    })
}

fn history(kinds: usize) -> impl Strategy<Value = Vec<Vec<Observation>>> {
    prop::collection::vec(prop::collection::vec(observation(kinds), 1..6), 1..7)
}

fn check(history: &[Vec<Observation>], asked: Asked) -> Result<(), TestCaseError> {
    let recorded = Recorded::of(history);
    let mut held: Vec<Set> = Vec::new();
    for history in recorded.histories() {
        held.extend(history.sets(None).iter().map(members));
        check_explanation(&history, asked)?;
    }
    // What is explained is what was seen: nothing is missing, and nothing is there twice.
    let seen = history.iter().flatten().map(|one| one.identifiers().iter().cloned().collect());
    let seen: BTreeSet<Set> = seen.filter(|set: &Set| set.len() > 1).collect();
    held.sort();
    prop_assert_eq!(held, seen.into_iter().collect::<Vec<_>>());
    check_past(&recorded)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn with_two_kinds_all_is_as_brute_force_says(seen in history(2), asked in asked()) {
        check(&seen, asked)?;
    }

    #[test]
    fn with_three_kinds_all_is_as_brute_force_says(seen in history(3), asked in asked()) {
        check(&seen, asked)?;
    }
}
