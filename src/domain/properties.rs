//! Tests of the planner against the model.

use std::collections::HashSet;

use proptest::prelude::*;

use super::model::{Expected, Model, Tables, show};
use super::*;

fn identifier(kind: IdentifierKind, number: u8) -> Identifier {
    Identifier::from_stored(kind, number.to_string())
}

fn observing(identifiers: impl IntoIterator<Item = Identifier>) -> Observation {
    Observation::new(identifiers).expect("every case gives an identifier")
}

fn identity(contacts: Vec<Contact>) -> Identity {
    Identity::new(contacts).expect("every case gives a contact")
}

/// A stored contact with one e-mail.
fn contact(id: i64, created_at: i64, number: u8, link: Link) -> Contact {
    Contact::new(ContactId(id), [identifier(IdentifierKind::Email, number)], Timestamp(created_at), link)
}

/// One or both identifiers, from so few values that nearly all observations collide.
fn observation(emails: u8, phones: u8) -> impl Strategy<Value = Observation> {
    let email = (0..emails).prop_map(|n| identifier(IdentifierKind::Email, n));
    let phone = (0..phones).prop_map(|n| identifier(IdentifierKind::Phone, n));
    let both = (email.clone(), phone.clone()).prop_map(|(email, phone)| vec![email, phone]);
    prop_oneof![1 => email.prop_map(|e| vec![e]), 1 => phone.prop_map(|p| vec![p]), 4 => both].prop_map(observing)
}

/// Up to five identifiers. So one event can merge more than two identities and bring a new identifier too.
fn wide_observation() -> impl Strategy<Value = Observation> {
    prop::collection::vec((0..2_usize, 0..12_u8), 1..=5).prop_map(|picks| {
        let identifiers = picks.into_iter().map(|(kind, n)| identifier(IdentifierKind::ALL[kind], n));
        observing(identifiers)
    })
}

fn history() -> impl Strategy<Value = Vec<Observation>> {
    prop_oneof![
        prop::collection::vec(observation(4, 4), 1..40),
        prop::collection::vec(observation(12, 8), 1..60),
        prop::collection::vec(wide_observation(), 1..40),
    ]
}

/// The number of observations of each batch, and how far the clock moves before the next batch.
fn cuts(steps: impl Strategy<Value = i64>) -> impl Strategy<Value = Vec<(usize, i64)>> {
    prop::collection::vec((1..20_usize, steps), 1..8)
}

/// An answer, or the refusal of an observation.
type Shown = Result<Expected, Refusal>;

/// Runs a history in batches. Returns each answer with the expectation of the model.
fn run(history: &[Observation], cuts: &[(usize, i64)], max_contacts: Option<usize>) -> Vec<(Shown, Shown)> {
    let mut model = Model { max_contacts, ..Model::default() };
    let mut tables = Tables { max_contacts, ..Tables::default() };
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
        for (answer, expected) in run(&history, &cuts, None) {
            prop_assert_eq!(answer, expected);
        }
    }

    #[test]
    fn what_would_make_an_identity_too_large_is_refused_alone(
        history in history(),
        cuts in cuts(1..1000_i64),
        max_contacts in 1..8_usize,
    ) {
        for (answer, expected) in run(&history, &cuts, Some(max_contacts)) {
            if let Ok(expected) = &expected {
                prop_assert!(expected.contacts.len() <= max_contacts);
            }
            prop_assert_eq!(answer, expected);
        }
    }

    /// Identities from before the limit are larger than it.
    #[test]
    fn larger_identities_are_still_answered(history in history(), more in history(), max_contacts in 1..4_usize) {
        let (mut model, mut tables) = (Model::default(), Tables::default());
        tables.identify(&history, 1_000);
        history.iter().for_each(|observation| drop(model.observe(observation)));
        (model.max_contacts, tables.max_contacts) = (Some(max_contacts), Some(max_contacts));
        let answers = tables.identify(&more, 2_000);
        for (answer, observation) in answers.iter().zip(&more) {
            prop_assert_eq!(show(answer), model.observe(observation));
        }
        let again = tables.identify(&history, 3_000);
        prop_assert!(again.iter().flatten().all(|answer| answer.outcome == Outcome::Matched));
        prop_assert!(again.iter().all(Result::is_ok));
    }

    /// Then age and order of arrival disagree. `Tables::check` decides which contact is the primary. The same contacts
    /// belong together.
    #[test]
    fn a_clock_that_jumps_joins_and_splits_nobody(history in history(), cuts in cuts(-3..3_i64)) {
        for (mut answer, mut expected) in run(&history, &cuts, None) {
            for list in [&mut answer, &mut expected].into_iter().flatten() {
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
        let each: Vec<_> =
            (1_000..).zip(&history).flat_map(|(now, one)| single.identify(std::slice::from_ref(one), now)).collect();
        prop_assert_eq!(all.iter().map(show).collect::<Vec<_>>(), each.iter().map(show).collect::<Vec<_>>());
        let links = |tables: &Tables| tables.contacts.iter().map(|row| (row.id, row.link)).collect::<Vec<_>>();
        prop_assert_eq!(links(&batched), links(&single));
        prop_assert_eq!(&batched.identifiers, &single.identifiers);
        prop_assert_eq!(&batched.merges, &single.merges);
        prop_assert_eq!(&batched.evidence, &single.evidence);
    }

    /// An operator deletes contacts by SQL. The identifiers of live contacts are still found and have one owner each.
    #[test]
    fn deleted_contacts_split_nobody(
        steps in prop::collection::vec(
            (prop::collection::vec(observation(6, 5), 1..6), prop::option::of(0..30_usize)),
            1..20,
        )
    ) {
        let mut tables = Tables::default();
        for ((batch, delete), now) in steps.iter().zip(1_000..) {
            let answers = tables.identify(batch, now); // Checks the rows.
            for (observation, answer) in batch.iter().zip(answers.into_iter().flatten()) {
                let contacts = answer.identity.contacts();
                let carried: HashSet<_> = contacts.flat_map(|contact| contact.identifiers.iter()).collect();
                prop_assert!(observation.identifiers().iter().all(|identifier| carried.contains(identifier)));
            }
            let deleted = delete.and_then(|index| tables.contacts.get(index)).map(|contact| contact.id);
            tables.deleted.extend(deleted);
        }
    }

    /// An operator ignores identifiers, and lets them count again, between batches.
    #[test]
    fn ignored_identifiers_join_nobody_as_in_the_model(
        steps in prop::collection::vec(
            (prop::collection::vec(observation(5, 4), 1..8), 0..9_u8, any::<bool>()),
            1..20,
        )
    ) {
        let (mut model, mut tables) = (Model::default(), Tables::default());
        for ((batch, number, ignores), now) in steps.iter().zip((1_000_i64..).step_by(1_000)) {
            let kind = IdentifierKind::ALL[usize::from(number % 2)];
            let about = identifier(kind, number / 2);
            if *ignores {
                model.ignore(&about);
                tables.ignore(&about);
            } else {
                model.stop_ignoring(&about);
                tables.stop_ignoring(&about);
            }
            let answers = tables.identify(batch, now); // Checks the rows.
            for (answer, observation) in answers.iter().zip(batch) {
                prop_assert_eq!(show(answer), model.observe(observation));
            }
        }
    }

    #[test]
    fn a_second_time_writes_nothing(history in history()) {
        let mut tables = Tables::default();
        tables.identify(&history, 1_000);
        let sets = tables.evidence.iter().map(|(key, one)| (*key, tables.root_of_set(one))).collect();
        let known = tables.snapshot(&history).with_evidence(StoredEvidence { sets, ..StoredEvidence::default() });
        let plan = plan(&history, &known, Timestamp(2_000), usize::MAX);
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
        observing(email.into_iter().chain(phone))
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
    let expected = |outcome, contacts: &[i64], emails: &[&str], phones: &[&str]| {
        let values = [emails, phones].map(|values| values.iter().map(|v| (*v).to_owned()).collect());
        Ok(Expected { outcome, ignored: Vec::new(), contacts: contacts.to_vec(), values: values.into() })
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

/// Deleted contacts are in no answer, so they do not count.
#[test]
fn only_live_contacts_count() {
    let deleted = [2, 3].map(|id| contact(id, id, 2, Link::SecondaryOf(ContactId(1))));
    let known = identity(vec![contact(1, 1, 1, Link::Primary)]).with_deleted(deleted.to_vec());
    let known = Snapshot::new(vec![known]);
    let link = |phone| observing([identifier(IdentifierKind::Email, 1), identifier(IdentifierKind::Phone, phone)]);
    let answers = plan(&[link(1), link(2)], &known, Timestamp(40), 2).answers(&[ContactId(4)]);
    assert_eq!(answers[0].as_ref().unwrap().identity.contact_count(), 2);
    assert_eq!(answers[1], Err(IdentityTooLarge { limit: 2 }.into()));
}

/// An operator deletes a primary by SQL. The oldest live contact replaces it with the next change, and answers before
/// that change name it too.
#[test]
fn the_oldest_live_contact_stands_in_for_a_deleted_primary() {
    let left = |id, created_at, number| contact(id, created_at, number, Link::SecondaryOf(ContactId(1)));
    let known = Snapshot::new(vec![identity(vec![left(3, 30, 3), left(2, 20, 2)])]);
    let new = [identifier(IdentifierKind::Email, 3), identifier(IdentifierKind::Phone, 9)];
    let plan = plan(&[observing(new)], &known, Timestamp(40), 10);
    let second = ContactRef::Stored(ContactId(2));
    assert_eq!(plan.moves, [Move { from: ContactId(1), to: second }]);
    assert_eq!(plan.relinks, [Relink { contact: ContactId(2), link: Link::Primary }], "after it was moved too");
    assert_eq!(plan.new_contacts[0].link, Link::SecondaryOf(second));
}

/// The row that stands in for a deleted primary is written with the others, so that everyone sees the merge by it.
#[test]
fn a_merge_writes_the_root_of_an_identity_whose_primary_is_gone() {
    let left = [2_u8, 3].map(|id| contact(id.into(), id.into(), id, Link::SecondaryOf(ContactId(1))));
    let known = [identity(left.to_vec()), identity(vec![contact(9, 0, 9, Link::Primary)])];
    let both = [identifier(IdentifierKind::Email, 3), identifier(IdentifierKind::Email, 9)];
    let plan = plan(&[observing(both)], &Snapshot::new(known.to_vec()), Timestamp(40), 10);
    let survivor = ContactRef::Stored(ContactId(9));
    assert_eq!(plan.moves, [Move { from: ContactId(1), to: survivor }]);
    assert_eq!(plan.relinks, [Relink { contact: known[0].root(), link: Link::SecondaryOf(survivor) }]);
    assert_eq!(plan.written(), known.iter().map(Identity::root).collect());
}

/// The root that a change locks is a row that exists.
#[test]
fn the_root_is_a_row() {
    let left = [2, 3].map(|id| contact(id, id, 1, Link::SecondaryOf(ContactId(1))));
    let identity = identity(left.to_vec());
    assert_eq!(identity.root(), ContactId(2), "1 is gone");
    assert_eq!(identity.with_deleted(vec![contact(1, 1, 1, Link::Primary)]).root(), ContactId(1));
}

/// The clock of a new database server can be behind, or equal to the time of a stored contact.
#[test]
fn a_new_contact_is_younger_than_all_it_joins() {
    let stored = |id, number, created_at| contact(id, created_at, number, Link::Primary);
    let identities = [stored(1, 1, 500), stored(2, 2, 501), stored(3, 3, 100)];
    let known = Snapshot::new(identities.into_iter().map(|contact| identity(vec![contact])).collect());
    let joins_first = [identifier(IdentifierKind::Email, 1), identifier(IdentifierKind::Phone, 1)];
    let nobody = [identifier(IdentifierKind::Phone, 2)];
    let observations = [joins_first.to_vec(), nobody.to_vec()].map(observing);
    let plan = plan(&observations, &known, Timestamp(100), 10);
    assert_eq!(plan.new_contacts[0].created_at, Timestamp(502), "after its primary, and not at 501");
    assert_eq!(plan.new_contacts[1].created_at, Timestamp(101), "100 is the third identity's");
}
