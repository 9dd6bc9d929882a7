//! The graph by example.

use super::brute_force::{Recorded, identifier, observing};
use super::*;
use crate::domain::{Contact, ContactId, EvidenceOrigin, Identifier, Link, Observation, Timestamp};

/// An e-mail address, and a phone number.
fn email(number: u8) -> Identifier {
    identifier(0, number)
}

fn phone(number: u8) -> Identifier {
    identifier(1, number)
}

fn pair(one: u8, other: u8) -> Observation {
    observing(&[(0, one), (1, other)])
}

const C1: SetName = SetName::Contact(ContactId(1));
const C2: SetName = SetName::Contact(ContactId(2));
const E1: SetName = SetName::Stored(1);

fn names(sets: &[SeenSet]) -> Vec<SetName> {
    sets.iter().map(|set| set.name).collect()
}

fn without(names: &[SetName]) -> Question {
    Question { without_sets: names.iter().copied().collect(), ..Question::default() }
}

fn parts(explanation: &Explanation) -> Vec<Vec<Identifier>> {
    explanation.parts.iter().map(|part| part.identifiers.clone()).collect()
}

fn only(histories: Vec<History>) -> History {
    let [history] = <[History; 1]>::try_from(histories).unwrap();
    history
}

#[test]
fn a_pair_that_was_matched_holds_an_identity_together() {
    let batches = [pair(1, 1), pair(2, 1), pair(2, 2), pair(1, 2)].map(|one| vec![one]);
    let history = only(Recorded::of(&batches).histories());
    assert_eq!(history.explain(&without(&[C2])).parts.len(), 1);
    let two = history.explain(&without(&[C2, E1]));
    assert_eq!(parts(&two), [[email(1), phone(1)], [email(2), phone(2)]]);
    assert_eq!(two.parts[1].primary, Some(ContactId(2)), "a contact goes with its first identifier");
    let between = Question { between: Some([email(1), phone(2)]), ..Question::default() };
    let explained = history.explain(&between);
    assert_eq!((names(&explained.path), explained.weakest_cut.len()), (vec![E1], 2));
    assert!(explained.bridges.is_empty(), "it is a ring");
    let kinds: Vec<_> = history.revisions().iter().map(|one| (one.kind, one.set)).collect();
    assert_eq!(kinds[0], (RevisionKind::Created, Some(C1)));
    assert_eq!(kinds[3], (RevisionKind::Confirmed, Some(E1)));
}

#[test]
fn the_worked_example_before_its_merge() {
    let seen = [pair(1, 1), pair(2, 1), pair(3, 3), pair(4, 4), pair(3, 4)];
    let history = Recorded::of(&seen.map(|one| vec![one])).histories().pop().unwrap();
    let ids = |at| {
        let past = history.identity_at(ContactId(4), Timestamp(at)).unwrap();
        past.contacts.iter().map(|contact| (contact.id.0, contact.link)).collect::<Vec<_>>()
    };
    let linked = Link::SecondaryOf(ContactId(3));
    assert_eq!((ids(4_500), ids(9_000)), (vec![(4, Link::Primary)], vec![(3, Link::Primary), (4, linked)]));
    assert_eq!(history.identity_at(ContactId(4), Timestamp(3_500)), None, "not inserted yet");
    let merged = history.revisions().pop().unwrap();
    assert_eq!(
        (merged.kind, merged.primary, merged.absorbed),
        (RevisionKind::Merged, ContactId(3), vec![ContactId(4)])
    );
}

/// A contact of row `id`, inserted at `id`.
fn row(id: i64, identifiers: &[Identifier]) -> HistoryContact {
    let link = if id == 1 { Link::Primary } else { Link::SecondaryOf(ContactId(1)) };
    HistoryContact { contact: Contact::new(ContactId(id), identifiers, Timestamp(id), link), deleted_at: None }
}

#[test]
fn what_only_links_join_is_joined_by_links() {
    let rows = vec![row(1, &[email(1)]), row(2, &[]), row(3, &[phone(3)]), row(5, &[email(5), phone(5)])];
    let merge = LinkMerge { absorbed: ContactId(5), survivor: ContactId(3), at: Timestamp(9) };
    let history = History::new(ContactId(1), rows, Vec::new(), vec![merge]);
    let sets = history.sets(None);
    let links: Vec<_> = sets.iter().map(|set| (set.name, set.origin, set.seen_at.0)).collect();
    let (three, five) = (SetName::Link(ContactId(3)), SetName::Link(ContactId(5)));
    let carried = (SetName::Contact(ContactId(5)), SetOrigin::Contact, 5);
    assert_eq!(links, [(three, SetOrigin::Link, 3), carried, (five, SetOrigin::Link, 9)]);
    assert_eq!(&sets[2].identifiers[..], [email(1), email(5)]);
    let ids = |contact, at| {
        let past = history.identity_at(ContactId(contact), Timestamp(at)).unwrap();
        past.contacts.iter().map(|contact| contact.id.0).collect::<Vec<_>>()
    };
    assert_eq!((ids(1, 8), ids(5, 8), ids(5, 9)), (vec![1, 2, 3], vec![5], vec![1, 2, 3, 5]));
    let revisions = history.revisions();
    let kinds: Vec<_> = revisions.iter().map(|one| (one.kind, one.primary.0, one.at.0)).collect();
    let (created, linked) = (RevisionKind::Created, RevisionKind::Linked);
    assert_eq!(kinds, [(created, 1, 1), (linked, 1, 2), (linked, 1, 3), (created, 5, 5), (RevisionKind::Merged, 1, 9)]);
    let apart = history.explain(&without(&[three]));
    assert_eq!(apart.parts.len(), 2);
    assert_eq!(apart.parts[0].contacts, [1, 2, 5].map(ContactId), "the one without identifiers is with the primary");
}

#[test]
fn what_a_deleted_contact_joined_stays_together() {
    let mut rows = vec![row(1, &[email(1)]), row(2, &[email(1), phone(2)]), row(3, &[phone(2), email(3)])];
    rows[1].deleted_at = Some(Timestamp(7));
    let history = History::new(ContactId(1), rows, Vec::new(), Vec::new());
    let ids = |contact, at| {
        let past = history.identity_at(ContactId(contact), Timestamp(at))?;
        Some(past.contacts.iter().map(|contact| contact.id.0).collect::<Vec<_>>())
    };
    assert_eq!((ids(3, 6), ids(3, 7), ids(2, 7)), (Some(vec![1, 2, 3]), Some(vec![1, 3]), None));
    let names: Vec<_> = history.sets(None).iter().map(|set| (set.name, set.seen_at.0)).collect();
    assert_eq!(names, [(SetName::Contact(ContactId(3)), 3), (SetName::Link(ContactId(3)), 3)]);
    assert_eq!(history.sets(Some(Timestamp(6))).len(), 2, "no link is needed then");
}

#[test]
fn an_identifier_that_is_ignored_by_now_joined_before() {
    let mut rows = vec![row(1, &[email(1)]), row(2, &[email(2)]), row(3, &[email(2)])];
    for place in [0, 2] {
        rows[place].contact.ignored = [phone(0)].into();
    }
    let history = History::new(ContactId(1), rows, Vec::new(), Vec::new());
    let at = |moment| history.identity_at(ContactId(2), Timestamp(moment)).unwrap().contacts[0].id.0;
    assert_eq!((at(2), at(3)), (2, 1));
    let sets = history.sets(None);
    assert_eq!((sets.len(), sets[0].name, sets[0].seen_at.0), (1, SetName::Link(ContactId(2)), 3));
    assert_eq!(history.owner_at(&phone(0), Timestamp(3)), None);
}

#[test]
fn a_stored_set_with_an_identifier_that_no_contact_carries_connects_nothing() {
    let mut rows = vec![row(1, &[email(1)]), row(2, &[email(2)]), row(3, &[email(2), phone(3)])];
    for place in [0, 1] {
        rows[place].contact.ignored = [phone(0)].into();
    }
    rows[2].deleted_at = Some(Timestamp(9));
    let stored = |id, one: &Identifier, other: &Identifier| StoredSet {
        id,
        identifiers: [one.clone(), other.clone()].into(),
        origin: EvidenceOrigin::Match,
        seen_at: Timestamp(5),
    };
    // An ignored one, and one of a contact that is deleted later.
    let stored =
        vec![stored(1, &email(1), &phone(0)), stored(2, &email(2), &phone(0)), stored(3, &email(1), &phone(3))];
    let history = History::new(ContactId(1), rows, stored, Vec::new());
    let link = SetName::Link(ContactId(2));
    assert_eq!(names(&history.sets(None)), [link]);
    let explained = history.explain(&Question::default());
    assert_eq!(parts(&explained), [[email(1), email(2)]]);
    assert_eq!(names(&history.sets(Some(Timestamp(8)))), [SetName::Contact(ContactId(3)), SetName::Stored(3)]);
}

#[test]
fn a_set_is_listed_once_and_parts_without_a_contact_come_last() {
    let rows = vec![row(1, &[email(1), phone(1)]), row(2, &[email(1), phone(1)])];
    let stored = StoredSet {
        id: 7,
        identifiers: [email(1), phone(1)].into(),
        origin: EvidenceOrigin::Match,
        seen_at: Timestamp(4),
    };
    let history = History::new(ContactId(1), rows, vec![stored], Vec::new());
    assert_eq!(names(&history.sets(None)), [C1]);
    let apart = history.explain(&without(&[C1]));
    let primaries: Vec<_> = apart.parts.iter().map(|part| part.primary.map(|id| id.0)).collect();
    assert_eq!(primaries, [Some(1), None]);
    let gone = [email(1), phone(1)].into();
    let nothing = history.explain(&Question { without_identifiers: gone, ..Question::default() });
    assert_eq!(nothing.parts, []);
}

/// 10,000 contacts in a chain, and as many sets across.
#[test]
fn a_long_chain_needs_no_deep_stack() {
    let of = |kind, number: i64| {
        let kinds = crate::domain::IdentifierKind::ALL;
        Identifier::from_stored(kinds[kind], number.to_string())
    };
    let rows = (1..=10_000).map(|id| row(id, &[of(0, id / 2), of(1, (id + 1) / 2)])).collect();
    let history = History::new(ContactId(1), rows, Vec::new(), Vec::new());
    let between = Question { between: Some([of(0, 0), of(0, 5_000)]), ..Question::default() };
    let explained = history.explain(&between);
    assert_eq!((explained.path.len(), explained.weakest_cut.len(), explained.bridges.len()), (10_000, 1, 10_000));
    assert_eq!(history.revisions().len(), 10_000);
}
