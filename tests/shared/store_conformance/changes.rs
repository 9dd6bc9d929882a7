//! What a plan writes is found, and its roots get later versions.

use std::collections::BTreeMap;

use identity::domain::{ContactId, Identifier, Link, Outcome, SetKey, Timestamp};
use identity::store::{ExpectedSize, IfNothing, Store};

use super::{assert_found, email, find, identify, phone, root_rows};

pub(crate) async fn an_empty_store_owns_nothing<S: Store>(store: &S) {
    store.ping().await.expect("a ping");
    let result = store
        .find_identities(&[email("a@x"), phone("1")], ExpectedSize::Usual, IfNothing::CheckServer)
        .await
        .expect("a read");
    assert!(result.found.identities.is_empty() && result.found.ignored.is_empty());
    // Whether that is the latest state: a store may need a row to know.
    assert!(store.writers() >= 1);
}

pub(crate) async fn what_was_planned_is_found<S: Store>(store: &S) {
    let answers = identify(store, &[&[email("a@x"), phone("1")], &[email("b@x"), phone("1")], &[email("c@x")]]).await;
    let outcomes: Vec<Outcome> = answers.iter().map(|answer| answer.outcome).collect();
    assert_eq!(outcomes, [Outcome::Created, Outcome::Linked, Outcome::Created]);
    let result =
        store.find_identities(&[email("a@x")], ExpectedSize::Usual, IfNothing::CheckServer).await.expect("a read");
    assert!(result.is_latest, "there is one server, and a row of it");
    for identifier in [email("a@x"), phone("1"), email("b@x")] {
        assert_found(store, &[identifier], &[&answers[1]]).await;
    }
    assert_found(store, &[email("b@x"), email("c@x"), email("nobody@x")], &[&answers[1], &answers[2]]).await;
}

pub(crate) async fn a_merge_moves_all_contacts_of_the_absorbed_identity<S: Store>(store: &S) {
    identify(store, &[&[email("a@x"), phone("1")]]).await;
    identify(store, &[&[email("b@x"), phone("2")], &[email("c@x"), phone("2")]]).await;
    let merged = identify(store, &[&[email("a@x"), phone("2")]]).await;
    assert_eq!(merged[0].outcome, Outcome::Merged);
    assert_eq!(merged[0].identity.contact_count(), 3);
    assert_found(store, &[email("c@x"), phone("1")], &[&merged[0]]).await;
}

pub(crate) async fn a_merge_of_several_identities_moves_each_to_its_own_primary<S: Store>(store: &S) {
    let family = |name: &str| -> Vec<[Identifier; 2]> {
        (0..5).map(|n| [email(&format!("{name}{n}@x")), phone(&format!("1{}", name.len()))]).collect()
    };
    for name in ["a", "bb", "ccc", "dddd", "eeeee"] {
        let family = family(name);
        identify(store, &family.iter().map(<[Identifier; 2]>::as_slice).collect::<Vec<_>>()).await;
    }
    // In one plan: two join the first, and one another.
    let joins = [["a0@x", "ccc4@x"], ["bb2@x", "dddd3@x"], ["eeeee1@x", "a3@x"]].map(|pair| pair.map(email));
    let merged = identify(store, &[&joins[0], &joins[1], &joins[2]]).await;
    assert!(merged.iter().all(|answer| answer.outcome == Outcome::Merged));
    assert_found(store, &[email("ccc1@x"), email("dddd1@x")], &[&merged[2], &merged[1]]).await;
    assert_found(store, &[email("eeeee4@x"), email("bb1@x")], &[&merged[2], &merged[1]]).await;
}

pub(crate) async fn a_moved_row_is_written_and_no_other<S: Store>(store: &S) {
    identify(store, &[&[email("a@x"), phone("1")], &[email("b@x"), phone("1")]]).await;
    identify(store, &[&[email("c@x"), phone("2")], &[email("d@x"), phone("2")], &[email("e@x"), phone("2")]]).await;
    let versions = async || {
        let found = find(store, &[phone("1"), phone("2")]).await;
        let rows = found.iter().flat_map(|identity| identity.contacts().to_vec());
        rows.map(|row| (row.id, (row.updated_at, row.link))).collect::<BTreeMap<_, _>>()
    };
    let before = versions().await;
    identify(store, &[&[email("b@x"), email("e@x")]]).await;
    let after = versions().await;
    let written: Vec<bool> = before.iter().map(|(id, row)| after[id].0 > row.0).collect();
    assert_eq!(written, [true, false, true, true, true], "both roots and those that moved");
    let root = *before.keys().next().expect("a row");
    assert!(after.iter().all(|(id, (_, link))| *id == root || *link == Link::SecondaryOf(root)));
}

pub(crate) async fn every_change_of_an_identity_gives_its_root_a_later_version<S: Store>(store: &S) {
    let first = identify(store, &[&[email("a@x"), phone("1")]]).await[0].identity.primary().id;
    let other = identify(store, &[&[email("c@x"), phone("3")]]).await[0].identity.primary().id;
    let version = async |root: ContactId| root_rows(store, &[root]).await[0];
    let mut last: Timestamp = version(first).await.updated_at;
    for number in 0..10 {
        identify(store, &[&[email(&format!("{number}@x")), phone("1")]]).await;
        let linked = version(first).await.updated_at;
        assert!(linked > last, "{linked:?} after {last:?}");
        last = linked;
    }
    let absorbed = version(other).await;
    identify(store, &[&[email("c@x"), phone("1")]]).await;
    let (survivor, gone) = (version(first).await, version(other).await);
    assert!(survivor.updated_at > last && survivor.updated_at > absorbed.updated_at, "a merge");
    assert_eq!((survivor.linked_to, gone.linked_to), (None, Some(first)), "the absorbed root leads nowhere else");
    let pair = [email("a@x"), phone("3")];
    let key = SetKey::of(&pair);
    let is_stored = async || store.stored_sets(&[key]).await.expect("a read") == BTreeMap::from([(key, Some(first))]);
    assert!(!is_stored().await);
    identify(store, &[&pair]).await;
    let with_evidence = version(first).await;
    assert!(with_evidence.updated_at > survivor.updated_at && is_stored().await, "a new set");
    identify(store, &[&pair, &[email("a@x"), phone("1")], &[email("a@x")]]).await;
    assert_eq!(version(first).await, with_evidence, "a request that brings nothing new changes no version");
}

pub(crate) async fn ids_rise_in_the_order_of_the_plan<S: Store>(store: &S) {
    let all: Vec<Identifier> = (0..300).map(|n| phone(&format!("{}", 1_000 + n))).collect();
    let observations: Vec<&[Identifier]> = all.iter().map(std::slice::from_ref).collect();
    let answers = identify(store, &observations).await;
    let ids: Vec<ContactId> = answers.iter().map(|answer| answer.identity.primary().id).collect();
    assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");
}
