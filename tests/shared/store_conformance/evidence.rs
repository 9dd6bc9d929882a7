//! The sets of identifiers that were seen together, and their notes.

use std::collections::BTreeSet;

use identity::domain::graph::SetName;
use identity::domain::{
    ContactId, ContactRef, EvidenceOrigin, Identifier, NewEvidence, Note, Outcome, Plan, SetKey, Timestamp,
};
use identity::store::{Store, StoreError, Transaction};

use super::{email, find, identify, observation, phone, root_rows, write};

pub(crate) async fn a_note_is_that_of_the_first_who_saw_its_set<S: Store>(store: &S) {
    let noted = async |items: &[(&[Identifier], &str)]| {
        let note = |text: &str| Note::new(Some(text.to_owned()), Some(format!("№ {text}")), Some(Timestamp(-1)));
        let items = items.iter().map(|(identifiers, text)| observation(identifiers).with_note(note(text)));
        let mut transaction = store.begin().await.expect("a transaction");
        let answers = write(&mut transaction, &items.collect::<Vec<_>>()).await.expect("a write");
        transaction.commit().await.expect("a commit");
        answers.iter().map(|answer| answer.identity.contacts().last().expect("one").id).collect::<Vec<_>>()
    };
    let pair = |email_value: &str, phone_value: &str| [email(email_value), phone(phone_value)];
    let [a_one, a_two, b_one, b_two] = [pair("a@x", "1"), pair("a@x", "2"), pair("b@x", "1"), pair("b@x", "2")];
    let first = [(&a_one[..], "first"), (&a_one, "again"), (&b_one[..1], "alone"), (&b_two, "linked")];
    let first = noted(&first).await;
    noted(&[(&a_one, "later"), (&a_two, "merged")]).await;
    noted(&[(&b_one, "matched"), (&a_two, "again")]).await;
    let contacts = [first[0], first[2], first[3]].map(SetName::Contact);
    let sets: Vec<SetName> = contacts.into_iter().chain((1..=9).map(SetName::Stored)).collect();
    let notes = store.notes_of(&sets).await.expect("a read");
    let source = |set: &SetName| notes.get(set).map(|note| note.source().expect("text").to_owned());
    assert_eq!(contacts.each_ref().map(source), [Some("first".to_owned()), None, Some("linked".to_owned())]);
    let mut stored: Vec<String> = (1..=9).filter_map(|id| source(&SetName::Stored(id))).collect();
    stored.sort();
    assert_eq!(stored, ["matched", "merged"]);
    let note = &notes[&contacts[0]];
    assert_eq!((note.external_ref(), note.occurred_at()), (Some("№ first"), Some(Timestamp(-1))));
    assert!(store.notes_of(&[]).await.expect("no read").is_empty());
    assert!(store.notes_of(&[SetName::Contact(ContactId(1_000_000))]).await.expect("a read").is_empty());
}

/// Writes this row of a set, and nothing else.
async fn write_set<S: Store>(
    store: &S,
    set: &[Identifier],
    contact: ContactId,
    replaces: bool,
) -> Result<(), StoreError> {
    let mut transaction = store.begin().await.expect("a transaction");
    let new = NewEvidence {
        key: SetKey::of(set),
        identifiers: set.into(),
        contact: ContactRef::Stored(contact),
        origin: EvidenceOrigin::Match,
        note: None,
        replaces,
    };
    let at = transaction.now();
    transaction.apply(&Plan::from_evidence(vec![new], [], at)).await?;
    transaction.commit().await
}

pub(crate) async fn a_stored_set_leads_to_a_root_or_to_none<S: Store>(store: &S) {
    identify(store, &[&[email("a@x"), phone("1")], &[email("b@x"), phone("1")], &[email("c@x"), phone("2")]]).await;
    let [first, other] = [email("a@x"), email("c@x")].map(|one| async move { find(store, &[one]).await[0].clone() });
    let (first, other) = (first.await, other.await);
    let (root, secondary, nobody) = (first.root(), first.contacts()[1].id, ContactId(other.root().0 + 1_000));
    let pair = [email("a@x"), phone("2")];
    let key = SetKey::of(&pair);
    let read = async || {
        let outside = store.stored_sets(&[key]).await.expect("a read");
        let mut transaction = store.begin().await.expect("a transaction");
        let inside = transaction.stored_evidence(&[key], &BTreeSet::new()).await.expect("a read");
        assert_eq!(inside.sets, outside);
        outside.get(&key).copied()
    };
    assert_eq!(read().await, None);
    write_set(store, &pair, nobody, false).await.expect("a write");
    assert_eq!(read().await, Some(None), "somebody has deleted its contact");
    let error = write_set(store, &pair, root, false).await.expect_err("it has a row");
    assert!(matches!(error, StoreError::DuplicateKey(_)), "{error}");
    for (contact, leads_to) in [(secondary, root), (other.root(), other.root()), (root, root)] {
        write_set(store, &pair, contact, true).await.expect("a write");
        assert_eq!(read().await, Some(Some(leads_to)));
    }
}

/// What stands in the way of a set of an identity is replaced when the set is seen again.
pub(crate) async fn a_set_that_leads_elsewhere_is_stored_anew<S: Store>(store: &S) {
    let seen = [[email("a@x"), phone("1")], [email("b@x"), phone("1")], [email("b@x"), phone("2")]];
    identify(store, &seen.each_ref().map(<[Identifier; 2]>::as_slice)).await;
    let other = identify(store, &[&[email("z@x")]]).await[0].identity.primary().id;
    let pair = [email("a@x"), phone("2")];
    let root = find(store, &[email("a@x")]).await[0].root();
    for contact in [ContactId(other.0 + 1_000), other] {
        write_set(store, &pair, contact, true).await.expect("a write");
        let version = root_rows(store, &[root]).await[0].updated_at;
        for _ in 0..2 {
            assert_eq!(identify(store, &[&pair]).await[0].outcome, Outcome::Matched);
            let stored = store.stored_sets(&[SetKey::of(&pair)]).await.expect("a read");
            assert_eq!(stored.into_values().collect::<Vec<_>>(), [Some(root)]);
        }
        assert!(root_rows(store, &[root]).await[0].updated_at > version, "the root is written");
    }
}
