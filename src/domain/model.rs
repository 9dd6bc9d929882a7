//! The planner against a brute-force model that knows nothing of primaries, links or merges: only
//! which identifiers were seen together, what is connected, and who came first.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// Every observation so far, and which of them became contacts (numbered from 1, in order).
#[derive(Default)]
struct Model {
    seen: Vec<BTreeSet<Identifier>>,
    contacts: Vec<BTreeSet<Identifier>>,
}

#[derive(Debug, PartialEq)]
struct Expected {
    outcome: Outcome,
    contacts: Vec<i64>,
    values: Vec<Vec<String>>,
}

impl Model {
    /// Everything that is connected to these identifiers, by flooding.
    fn component(&self, from: &BTreeSet<Identifier>) -> BTreeSet<Identifier> {
        let mut reached = from.clone();
        loop {
            let before = reached.len();
            for seen in &self.seen {
                if !seen.is_disjoint(&reached) {
                    reached.extend(seen.iter().cloned());
                }
            }
            if reached.len() == before {
                return reached;
            }
        }
    }

    fn observe(&mut self, observation: &Observation) -> Expected {
        let given: BTreeSet<Identifier> = observation.identifiers().iter().cloned().collect();
        let known = |identifier: &&Identifier| self.seen.iter().any(|seen| seen.contains(*identifier));
        let (old, new): (Vec<_>, Vec<_>) = given.iter().partition(known);
        let components: BTreeSet<BTreeSet<Identifier>> =
            old.into_iter().map(|identifier| self.component(&BTreeSet::from([identifier.clone()]))).collect();
        let outcome = match (components.len(), new.is_empty()) {
            (0, _) => Outcome::Created,
            (1, true) => Outcome::Matched,
            (1, false) => Outcome::Linked,
            _ => Outcome::Merged,
        };
        if !new.is_empty() {
            self.contacts.push(given.clone());
        }
        self.seen.push(given.clone());
        let component = self.component(&given);
        let numbered = (1_i64..).zip(&self.contacts);
        let mine: Vec<_> = numbered.filter(|(_, carried)| !carried.is_disjoint(&component)).collect();
        let values = |kind| {
            let mut values: Vec<String> = Vec::new();
            for identifier in mine.iter().flat_map(|(_, carried)| *carried).filter(|i| i.kind() == kind) {
                if !values.iter().any(|value| value == identifier.value()) {
                    values.push(identifier.value().to_owned());
                }
            }
            values
        };
        Expected {
            outcome,
            contacts: mine.iter().map(|(id, _)| *id).collect(),
            values: IdentifierKind::ALL.map(values).into(),
        }
    }
}

/// The tables, in memory: carries plans out as the store does.
#[derive(Default)]
struct Tables {
    contacts: Vec<Contact>,
    deleted: BTreeSet<ContactId>,
    identifiers: HashMap<Identifier, ContactId>,
    merges: Vec<(ContactId, ContactId)>,
}

impl Tables {
    fn root(&self, contact: ContactId) -> ContactId {
        match self.contacts.iter().find(|row| row.id == contact).expect("a row").link {
            Link::Primary => contact,
            Link::SecondaryOf(primary) => primary,
        }
    }

    fn snapshot(&self, observations: &[Observation]) -> Snapshot {
        let asked = observations.iter().flat_map(|observation| observation.identifiers());
        let roots: BTreeSet<ContactId> =
            asked.filter_map(|identifier| self.identifiers.get(identifier)).map(|id| self.root(*id)).collect();
        let identity = |root: ContactId| {
            let rows = self.contacts.iter().filter(|row| self.root(row.id) == root).cloned();
            let (deleted, live): (Vec<_>, Vec<_>) = rows.partition(|row| self.deleted.contains(&row.id));
            Some(Identity::new(live)?.with_deleted(deleted))
        };
        Snapshot::new(roots.into_iter().filter_map(identity).collect())
    }

    fn carry_out(&mut self, plan: &Plan) -> Vec<ContactId> {
        let first = self.contacts.len() as i64 + 1;
        let ids: Vec<ContactId> = (first..).take(plan.new_contacts.len()).map(ContactId).collect();
        let resolve = |id: ContactRef| match id {
            ContactRef::Stored(id) => id,
            ContactRef::Planned(index) => ids[index],
        };
        let resolve_link = |link: Link<ContactRef>| match link {
            Link::Primary => Link::Primary,
            Link::SecondaryOf(primary) => Link::SecondaryOf(resolve(primary)),
        };
        for (new, id) in plan.new_contacts.iter().zip(&ids) {
            self.contacts.push(Contact {
                id: *id,
                identifiers: Arc::clone(&new.identifiers),
                created_at: new.created_at,
                updated_at: new.updated_at,
                link: resolve_link(new.link),
            });
        }
        for (identifier, owner) in &plan.new_identifiers {
            assert_eq!(self.identifiers.insert(identifier.clone(), resolve(*owner)), None, "owned twice");
        }
        for row in &mut self.contacts {
            if let Some(relink) = plan.relinks.iter().find(|relink| relink.contact == row.id) {
                row.link = resolve_link(relink.link);
                assert!(plan.updated_at > row.updated_at);
                row.updated_at = plan.updated_at;
            }
            if plan.touched.contains(&row.id) {
                assert!(plan.updated_at > row.updated_at);
                row.updated_at = plan.updated_at;
            }
        }
        self.merges.extend(plan.merges.iter().map(|merge| (resolve(merge.survivor), resolve(merge.absorbed))));
        ids
    }

    fn identify(&mut self, observations: &[Observation], now: i64) -> Vec<Answer> {
        let before = self.contacts.clone();
        let known = self.snapshot(observations);
        let identifiers = observations.iter().flat_map(|observation| observation.identifiers());
        for orphan in identifiers.filter(|identifier| !known.owns(identifier)) {
            self.identifiers.remove(orphan);
        }
        let plan = plan(observations, &known, Timestamp(now));
        let ids = self.carry_out(&plan);
        self.check(&before);
        let answers = plan.answers(&ids);
        assert_eq!(plan.is_empty(), answers.iter().all(|answer| answer.outcome == Outcome::Matched));
        answers
    }

    /// What must hold of the rows after every plan.
    fn check(&self, before: &[Contact]) {
        for row in &self.contacts {
            let root = self.contacts.iter().find(|other| other.id == self.root(row.id)).expect("a row");
            assert_eq!(root.link, Link::Primary, "a chain");
            let are_live = [root, row].iter().all(|row| !self.deleted.contains(&row.id));
            assert!(!are_live || root.age() <= row.age(), "a primary that is not the oldest");
            let changed = |other: &Contact| before.iter().find(|row| row.id == other.id) != Some(other);
            if changed(row) {
                assert!(changed(root), "a change of an identity must touch its primary");
            }
            if !self.deleted.contains(&row.id) {
                let first = |identifier| self.root(self.identifiers[identifier]);
                assert!(row.identifiers.iter().all(|identifier| first(identifier) == root.id), "it cannot be found");
            }
        }
    }
}

fn show(answer: &Answer) -> Expected {
    let owned = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect();
    Expected {
        outcome: answer.outcome,
        contacts: answer.identity.contacts().iter().map(|contact| contact.id.0).collect(),
        values: IdentifierKind::ALL.map(|kind| owned(answer.identity.values(kind))).into(),
    }
}

fn identifier(kind: IdentifierKind, number: u8) -> Identifier {
    Identifier::from_stored(kind, number.to_string())
}

/// One or both identifiers, from alphabets so small that nearly everything collides.
fn observation(emails: u8, phones: u8) -> impl Strategy<Value = Observation> {
    let email = (0..emails).prop_map(|n| identifier(IdentifierKind::Email, n));
    let phone = (0..phones).prop_map(|n| identifier(IdentifierKind::Phone, n));
    let both = (email.clone(), phone.clone()).prop_map(|(email, phone)| vec![email, phone]);
    prop_oneof![1 => email.prop_map(|e| vec![e]), 1 => phone.prop_map(|p| vec![p]), 4 => both]
        .prop_map(|identifiers| Observation::new(identifiers).expect("not empty"))
}

/// As with kinds that allow more than one value an event: up to five identifiers, so that one event
/// can join more than two identities and bring something new besides.
fn wide_observation() -> impl Strategy<Value = Observation> {
    prop::collection::vec((0..2_usize, 0..12_u8), 1..=5).prop_map(|picks| {
        let identifiers = picks.into_iter().map(|(kind, n)| identifier(IdentifierKind::ALL[kind], n));
        Observation::new(identifiers).expect("not empty")
    })
}

fn history() -> impl Strategy<Value = Vec<Observation>> {
    prop_oneof![
        prop::collection::vec(observation(4, 4), 1..40),
        prop::collection::vec(observation(12, 8), 1..60),
        prop::collection::vec(wide_observation(), 1..40),
    ]
}

/// How many observations each batch takes and how far the clock has gone on by then, again and again.
fn cuts(steps: impl Strategy<Value = i64>) -> impl Strategy<Value = Vec<(usize, i64)>> {
    prop::collection::vec((1..20_usize, steps), 1..8)
}

/// Runs a history in batches; every answer with what the model says of the same observation.
fn run(history: &[Observation], cuts: &[(usize, i64)]) -> Vec<(Expected, Expected)> {
    let (mut model, mut tables) = (Model::default(), Tables::default());
    let (mut rest, mut now, mut pairs) = (history, 1_000_000, Vec::new());
    for (size, step) in cuts.iter().cycle() {
        let (batch, later) = rest.split_at((*size).min(rest.len()));
        now += step;
        let answers = tables.identify(batch, now);
        pairs.extend(answers.iter().map(show).zip(batch.iter().map(|observation| model.observe(observation))));
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(tables.contacts.len(), model.contacts.len());
    pairs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn batches_answer_as_the_model_does(history in history(), cuts in cuts(prop_oneof![Just(1), 1..1000_i64])) {
        for (answer, expected) in run(&history, &cuts) {
            prop_assert_eq!(answer, expected);
        }
    }

    /// Then age and order of arrival disagree, and which contact is primary is for `Tables::check` to say;
    /// who belongs together stays the same.
    #[test]
    fn a_clock_that_jumps_joins_and_splits_nobody(history in history(), cuts in cuts(-3..3_i64)) {
        for (mut answer, mut expected) in run(&history, &cuts) {
            for list in [&mut answer, &mut expected] {
                list.contacts.sort();
                list.values.iter_mut().for_each(|values| values.sort());
            }
            prop_assert_eq!(answer, expected);
        }
    }

    #[test]
    fn one_batch_writes_what_one_at_a_time_would(history in history()) {
        let (mut batched, mut single) = (Tables::default(), Tables::default());
        let all = batched.identify(&history, 1_000);
        let each: Vec<Answer> =
            history.iter().zip(1_000..).flat_map(|(one, now)| single.identify(std::slice::from_ref(one), now)).collect();
        prop_assert_eq!(all.iter().map(show).collect::<Vec<_>>(), each.iter().map(show).collect::<Vec<_>>());
        let links = |tables: &Tables| tables.contacts.iter().map(|row| (row.id, row.link)).collect::<Vec<_>>();
        prop_assert_eq!(links(&batched), links(&single));
        prop_assert_eq!(&batched.identifiers, &single.identifiers);
        prop_assert_eq!(&batched.merges, &single.merges);
    }

    /// Whatever was deleted by hand, what a live contact carries is found, and is one identity's alone.
    #[test]
    fn deleted_contacts_split_nobody(
        steps in prop::collection::vec((prop::collection::vec(observation(6, 5), 1..6), prop::option::of(0..30_usize)), 1..20)
    ) {
        let mut tables = Tables::default();
        for ((batch, delete), now) in steps.iter().zip(1_000..) {
            let answers = tables.identify(batch, now); // Checks the rows.
            for (observation, answer) in batch.iter().zip(answers) {
                let carried: HashSet<_> = answer.identity.contacts().iter().flat_map(|c| c.identifiers.iter()).collect();
                prop_assert!(observation.identifiers().iter().all(|identifier| carried.contains(identifier)));
            }
            let deleted = delete.and_then(|index| tables.contacts.get(index)).map(|contact| contact.id);
            tables.deleted.extend(deleted);
        }
    }

    #[test]
    fn a_second_time_writes_nothing(history in history()) {
        let mut tables = Tables::default();
        tables.identify(&history, 1_000);
        let plan = plan(&history, &tables.snapshot(&history), Timestamp(2_000));
        prop_assert!(plan.is_empty());
        prop_assert!(plan.touched.is_empty());
    }
}

/// The worked example of the README, in one batch.
#[test]
fn worked_example() {
    let event = |email: Option<&str>, phone: Option<&str>| {
        let email = email.map(|value| Identifier::from_stored(IdentifierKind::Email, value));
        let phone = phone.map(|value| Identifier::from_stored(IdentifierKind::Phone, value));
        Observation::new(email.into_iter().chain(phone)).expect("not empty")
    };
    let batch = [
        event(Some("lorraine"), Some("123456")),
        event(Some("mcfly"), Some("123456")),
        event(None, Some("123456")),
        event(Some("george"), Some("919191")),
        event(Some("biffsucks"), Some("717171")),
        event(Some("george"), Some("717171")),
    ];
    let mut tables = Tables::default();
    let answers: Vec<_> = tables.identify(&batch, 1_000).iter().map(show).collect();
    let expected = |outcome, contacts: &[i64], emails: &[&str], phones: &[&str]| Expected {
        outcome,
        contacts: contacts.to_vec(),
        values: [emails, phones].map(|values| values.iter().map(|v| (*v).to_owned()).collect()).into(),
    };
    assert_eq!(
        answers,
        [
            expected(Outcome::Created, &[1], &["lorraine"], &["123456"]),
            expected(Outcome::Linked, &[1, 2], &["lorraine", "mcfly"], &["123456"]),
            expected(Outcome::Matched, &[1, 2], &["lorraine", "mcfly"], &["123456"]),
            expected(Outcome::Created, &[3], &["george"], &["919191"]),
            expected(Outcome::Created, &[4], &["biffsucks"], &["717171"]),
            expected(Outcome::Merged, &[3, 4], &["george", "biffsucks"], &["919191", "717171"]),
        ]
    );
    assert_eq!(tables.contacts[3].link, Link::SecondaryOf(ContactId(3)));
    assert_eq!(tables.merges, [(ContactId(3), ContactId(4))]);
}

/// A contact whose primary was deleted by hand: the oldest that is left takes its place with the next
/// change, and answers before that name it too.
#[test]
fn the_oldest_live_contact_stands_in_for_a_deleted_primary() {
    let left = |id, created_at, number| Contact {
        id: ContactId(id),
        identifiers: [identifier(IdentifierKind::Email, number)].into(),
        created_at: Timestamp(created_at),
        updated_at: Timestamp(created_at),
        link: Link::SecondaryOf(ContactId(1)),
    };
    let known = Snapshot::new(vec![Identity::new(vec![left(3, 30, 3), left(2, 20, 2)]).expect("not empty")]);
    let new = [identifier(IdentifierKind::Email, 3), identifier(IdentifierKind::Phone, 9)];
    let plan = plan(&[Observation::new(new).expect("not empty")], &known, Timestamp(40));
    let second = ContactRef::Stored(ContactId(2));
    assert_eq!(
        plan.relinks,
        [
            Relink { contact: ContactId(2), link: Link::Primary },
            Relink { contact: ContactId(3), link: Link::SecondaryOf(second) },
        ]
    );
    assert_eq!(plan.new_contacts[0].link, Link::SecondaryOf(second));
}

/// Whoever changes an identity locks a row that is there.
#[test]
fn the_root_is_a_row() {
    let contact = |id, link| Contact {
        id: ContactId(id),
        identifiers: [identifier(IdentifierKind::Email, 1)].into(),
        created_at: Timestamp(id),
        updated_at: Timestamp(id),
        link,
    };
    let left = vec![contact(2, Link::SecondaryOf(ContactId(1))), contact(3, Link::SecondaryOf(ContactId(1)))];
    let identity = Identity::new(left).expect("not empty");
    assert_eq!(identity.root(), ContactId(2), "1 is gone");
    assert_eq!(identity.with_deleted(vec![contact(1, Link::Primary)]).root(), ContactId(1));
}

/// The clock of a new database primary can be behind, or stand on a stored contact's very moment.
#[test]
fn a_new_contact_is_younger_than_all_it_joins() {
    let stored = |id, number, created_at| Contact {
        id: ContactId(id),
        identifiers: [identifier(IdentifierKind::Email, number)].into(),
        created_at: Timestamp(created_at),
        updated_at: Timestamp(created_at),
        link: Link::Primary,
    };
    let identities = [stored(1, 1, 500), stored(2, 2, 501), stored(3, 3, 100)];
    let known = Snapshot::new(identities.into_iter().filter_map(|contact| Identity::new(vec![contact])).collect());
    let joins_first = [identifier(IdentifierKind::Email, 1), identifier(IdentifierKind::Phone, 1)];
    let nobody = [identifier(IdentifierKind::Phone, 2)];
    let observations = [joins_first.to_vec(), nobody.to_vec()].map(|ids| Observation::new(ids).expect("not empty"));
    let plan = plan(&observations, &known, Timestamp(100));
    assert_eq!(plan.new_contacts[0].created_at, Timestamp(502), "after its primary, and not at 501");
    assert_eq!(plan.new_contacts[1].created_at, Timestamp(101), "100 is the third identity's");
}
