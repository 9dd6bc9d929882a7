//! What every store must do, whatever keeps its rows: what the resolver relies on.
//!
//! The suite runs on each real database (`tests/it/store_conformance.rs`) and on the simulated one
//! (`tests/simulation/store_conformance.rs`), so that the simulation cannot drift away from reality. Each case gets an
//! empty store. A store with one writer at a time ([`Transaction::is_exclusive`]) is excused from the cases about
//! transactions side by side: they say so.

#![allow(clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use identity::domain::{
    Answer, Contact, ContactId, ContactRef, EvidenceOrigin, Identifier, IdentifierKind, Identity, Link, NewEvidence,
    Observation, Outcome, OwnerRow, Plan, RootRow, SetKey, Snapshot, Timestamp, plan,
};
use identity::store::{
    ExpectedSize, FoundIdentities, HistoryRows, MAX_LOOKUP, RootWindow, Store, StoreError, Transaction,
};
use tokio::time::timeout;

/// Names every case to a macro: `for_each_case!(my_macro)`.
macro_rules! for_each_case {
    ($with:ident) => {
        $with!(
            an_empty_store_owns_nothing,
            what_was_planned_is_found,
            a_merge_moves_all_contacts_of_the_absorbed_identity,
            a_merge_of_several_identities_moves_each_to_its_own_primary,
            a_moved_row_is_written_and_no_other,
            every_change_of_an_identity_gives_its_root_a_later_version,
            rows_of_roots_are_what_is_stored,
            a_stored_set_leads_to_a_root_or_to_none,
            a_set_that_leads_elsewhere_is_stored_anew,
            rows_of_identifiers_lead_to_roots_and_versions,
            identities_of_roots_are_what_their_identifiers_find,
            a_secondary_leads_to_its_root,
            roots_come_in_order_and_each_once,
            a_read_of_roots_looks_at_few_rows,
            a_transaction_reads_what_the_store_reads,
            the_past_of_an_identity_is_all_that_is_stored_of_it,
            a_read_of_small_identities_ends_at_a_large_one,
            one_lookup_takes_many_identifiers,
            an_identity_of_many_contacts_is_found_completely,
            values_are_equal_by_bytes,
            ids_rise_in_the_order_of_the_plan,
            a_dropped_transaction_leaves_nothing,
            an_owned_identifier_is_a_duplicate_key,
            a_lock_returns_the_version_of_each_row_that_exists,
            a_lock_returns_no_version_of_a_linked_row,
            every_statement_sees_earlier_commits,
            a_locked_row_is_waited_for,
            rows_that_others_have_locked_are_known,
            of_two_first_sightings_one_wins,
            the_clock_does_not_go_back,
            an_ignored_identifier_belongs_to_nobody,
            what_an_identity_owned_is_shown_when_it_is_ignored,
            what_counts_again_belongs_to_the_oldest_who_shows_it,
        );
    };
}
pub(crate) use for_each_case;

/// Longer than any statement takes, and shorter than any lock timeout.
const A_WHILE: Duration = Duration::from_millis(300);

/// A store in which an operator can ignore identifiers.
pub(crate) trait IgnoresIdentifiers {
    /// Ignores an identifier, in a transaction of its own.
    async fn ignore(&self, identifier: &Identifier);

    /// Lets it count again, the same way.
    async fn stop_ignoring(&self, identifier: &Identifier);
}

fn email(value: &str) -> Identifier {
    Identifier::from_stored(IdentifierKind::Email, value)
}

fn phone(value: &str) -> Identifier {
    Identifier::from_stored(IdentifierKind::Phone, value)
}

fn observation(identifiers: &[Identifier]) -> Observation {
    Observation::new(identifiers.iter().cloned()).expect("an identifier")
}

async fn find<S: Store>(store: &S, identifiers: &[Identifier]) -> Vec<Identity> {
    store.find_identities(identifiers, ExpectedSize::Usual).await.expect("a read").found.identities
}

/// Writes what these observations need, in a transaction that is not committed.
async fn write<T: Transaction>(transaction: &mut T, observations: &[Observation]) -> Result<Vec<Answer>, StoreError> {
    let identifiers: BTreeSet<Identifier> = observations.iter().flat_map(|one| one.identifiers().to_vec()).collect();
    let identifiers: Vec<Identifier> = identifiers.into_iter().collect();
    let found = transaction.find_identities(&identifiers, ExpectedSize::Usual).await?;
    let roots: BTreeSet<ContactId> = found.identities.iter().map(Identity::root).collect();
    if !roots.is_empty() {
        transaction.lock_contacts(&roots).await?;
    }
    let now = transaction.now();
    let known = found.into_snapshot();
    let first = plan(observations, &known, now, 10_000);
    let (sets, roots) = first.evidence_to_look_up(false);
    let known =
        if sets.is_empty() { known } else { known.with_evidence(transaction.stored_evidence(&sets, roots).await?) };
    let plan = plan(observations, &known, now, 10_000);
    let ids = if plan.is_empty() { Vec::new() } else { transaction.apply(&plan).await? };
    Ok(plan.answers(&ids).into_iter().map(|answer| answer.expect("a small identity")).collect())
}

/// The same, committed.
async fn identify<S: Store>(store: &S, observations: &[&[Identifier]]) -> Vec<Answer> {
    let observations: Vec<Observation> = observations.iter().map(|one| observation(one)).collect();
    let mut transaction = store.begin().await.expect("a transaction");
    let answers = write(&mut transaction, &observations).await.expect("a write");
    transaction.commit().await.expect("a commit");
    answers
}

/// Asserts that these identifiers belong to the identities of these answers, and that each answer is what is stored: a
/// copy for later, row by row.
async fn assert_found<S: Store>(store: &S, identifiers: &[Identifier], answers: &[&Answer]) {
    let mut expected: Vec<Identity> = answers.iter().map(|answer| (**answer.identity.list()).clone()).collect();
    expected.sort_by_key(Identity::root);
    for size in [ExpectedSize::Usual, ExpectedSize::Large] {
        let mut found = store.find_identities(identifiers, size).await.expect("a read").found.identities;
        found.sort_by_key(Identity::root);
        assert_eq!(found, expected, "whatever size is expected");
    }
}

/// Whether one transaction at a time writes.
async fn is_exclusive<S: Store>(store: &S) -> bool {
    store.begin().await.expect("a transaction").is_exclusive()
}

pub(crate) async fn an_empty_store_owns_nothing<S: Store>(store: &S) {
    store.ping().await.expect("a ping");
    let result = store.find_identities(&[email("a@x"), phone("1")], ExpectedSize::Usual).await.expect("a read");
    assert!(result.found.identities.is_empty() && result.found.ignored.is_empty());
    assert!(result.is_latest, "there is one server");
    assert!(store.writers() >= 1);
}

pub(crate) async fn what_was_planned_is_found<S: Store>(store: &S) {
    let answers = identify(store, &[&[email("a@x"), phone("1")], &[email("b@x"), phone("1")], &[email("c@x")]]).await;
    let outcomes: Vec<Outcome> = answers.iter().map(|answer| answer.outcome).collect();
    assert_eq!(outcomes, [Outcome::Created, Outcome::Linked, Outcome::Created]);
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

/// What a root's row says.
fn root_row(contact: &Contact) -> RootRow {
    let linked_to = match contact.link {
        Link::Primary => None,
        Link::SecondaryOf(primary) => Some(primary),
    };
    RootRow { id: contact.id, updated_at: contact.updated_at, is_deleted: false, linked_to }
}

async fn root_rows<S: Store>(store: &S, roots: &[ContactId]) -> Vec<RootRow> {
    let mut rows = store.root_rows(roots).await.expect("a read");
    rows.sort_by_key(|row| row.id);
    rows.dedup();
    rows
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

pub(crate) async fn rows_of_roots_are_what_is_stored<S: Store>(store: &S) {
    assert!(store.epoch().is_some(), "there is one server");
    identify(store, &[&[email("a@x"), phone("1")], &[email("b@x"), phone("1")], &[email("c@x")]]).await;
    let found = find(store, &[email("a@x"), email("c@x")]).await;
    let mut stored: Vec<RootRow> = found.iter().flat_map(Identity::contacts).map(root_row).collect();
    stored.sort_by_key(|row| row.id);
    let ids: Vec<ContactId> = stored.iter().map(|row| row.id).collect();
    assert_eq!(stored.iter().filter(|row| row.linked_to.is_some()).count(), 1, "one is a secondary");
    let missing = ContactId(ids[2].0 + 1_000);
    assert_eq!(root_rows(store, &[ids[2], missing, ids[0], ids[1]]).await, stored);
    assert_eq!(root_rows(store, &ids[..1]).await, stored[..1]);
    assert!(root_rows(store, &[missing]).await.is_empty());
}

pub(crate) async fn rows_of_identifiers_lead_to_roots_and_versions<S: Store>(store: &S) {
    identify(store, &[&[email("a@x"), phone("1")], &[email("b@x"), phone("1")], &[email("c@x")]]).await;
    let owned = [email("a@x"), email("b@x"), email("c@x"), phone("1")];
    let mut expected = Vec::new();
    for identifier in &owned {
        let found = find(store, std::slice::from_ref(identifier)).await;
        let (root, identifier) = (Some(root_row(found[0].primary())), identifier.clone());
        let contact = found[0].carrier(&identifier).expect("one carries it").id;
        expected.push(OwnerRow { identifier, contact, is_deleted: false, is_ignored: false, root });
    }
    let all = [&owned[..], &[email("nobody@x"), email("1"), phone("a@x"), email("A@x"), email("a@x ")]].concat();
    let mut rows = store.owner_rows(&all).await.expect("a read");
    rows.sort_by_key(|row| row.identifier.clone());
    rows.dedup();
    assert_eq!(rows, expected, "nothing of what nobody owns");
    assert!(store.owner_rows(&[phone("7")]).await.expect("a read").is_empty());
    let many: Vec<Identifier> = (0..MAX_LOOKUP).map(|n| phone(&format!("{}", 1_000 + n))).collect();
    let observations: Vec<&[Identifier]> = many.iter().map(std::slice::from_ref).collect();
    identify(store, &observations).await;
    assert_eq!(store.owner_rows(&many).await.expect("a read").len(), MAX_LOOKUP);
}

pub(crate) async fn identities_of_roots_are_what_their_identifiers_find<S: Store>(store: &S) {
    identify(store, &[&[email("a@x"), phone("1")], &[email("b@x"), phone("1")], &[email("c@x")]]).await;
    let identities_of = async |roots: &[ContactId]| {
        let mut identities = store.identities_of(roots, ExpectedSize::Large).await.expect("a read");
        identities.sort_by_key(Identity::root);
        identities
    };
    let mut found = find(store, &[email("a@x"), email("c@x")]).await;
    found.sort_by_key(Identity::root);
    let [one, other] = [found[0].root(), found[1].root()];
    assert_eq!(found[0].contacts().len(), 2);
    assert_eq!(identities_of(&[other, one]).await, found);
    assert_eq!(identities_of(&[one]).await, found[..1]);
    assert!(identities_of(&[ContactId(other.0 + 1_000)]).await.is_empty());
    let many: Vec<Identifier> = (0..MAX_LOOKUP).map(|n| phone(&format!("{}", 1_000 + n))).collect();
    let observations: Vec<&[Identifier]> = many.iter().map(std::slice::from_ref).collect();
    let roots: Vec<ContactId> =
        identify(store, &observations).await.iter().map(|answer| answer.identity.primary().id).collect();
    assert_eq!(identities_of(&roots).await.len(), MAX_LOOKUP);
}

/// The rows of an identity, from the store and from a transaction that has locked this contact.
async fn history<S: Store>(store: &S, contact: ContactId) -> Option<HistoryRows> {
    let mut read = store.history_of(contact).await.expect("a read");
    let mut transaction = store.begin().await.expect("a transaction");
    transaction.lock_contacts(&[contact].into()).await.expect("the lock");
    let mut locked = transaction.history_of(contact).await.expect("a read");
    transaction.commit().await.expect("a commit");
    assert!(read.now <= locked.now, "the clock does not go back");
    for rows in [&mut read.identity, &mut locked.identity].into_iter().flatten() {
        rows.stored.sort_by_key(|set| set.id);
    }
    assert_eq!(read.identity, locked.identity);
    read.identity
}

pub(crate) async fn the_past_of_an_identity_is_all_that_is_stored_of_it<S: Store>(store: &S) {
    let pair = |one: &str, other: &str| [email(one), phone(other)];
    for [email, phone] in [pair("a@x", "1"), pair("b@x", "1"), pair("b@x", "2"), pair("c@x", "3"), pair("d@x", "4")] {
        identify(store, &[&[email, phone]]).await;
    }
    let (matched, merging) = (pair("a@x", "2"), pair("a@x", "3"));
    assert_eq!(identify(store, &[&matched]).await[0].outcome, Outcome::Matched);
    let before = store.begin().await.expect("a transaction").now();
    assert_eq!(identify(store, &[&merging]).await[0].outcome, Outcome::Merged);
    let identity = find(store, &[email("a@x")]).await.remove(0);
    let mut expected: Vec<Contact> = identity.contacts().to_vec();
    expected.sort_by_key(|contact| contact.id);
    assert_eq!(expected.len(), 4);
    for contact in &expected {
        let rows = history(store, contact.id).await.expect("an identity");
        let contacts: Vec<Contact> = rows.contacts.iter().map(|row| row.contact.clone()).collect();
        assert_eq!((rows.root, &contacts), (identity.root(), &expected), "of contact {}", contact.id.0);
        assert!(rows.contacts.iter().all(|row| row.deleted_at.is_none()) && rows.links.is_empty());
        let [match_set, merge_set] = &rows.stored[..] else { panic!("{} sets", rows.stored.len()) };
        assert_eq!((&match_set.identifiers[..], match_set.origin), (&matched[..], EvidenceOrigin::Match));
        assert_eq!((&merge_set.identifiers[..], merge_set.origin), (&merging[..], EvidenceOrigin::Merge));
        assert!(match_set.seen_at < merge_set.seen_at && before <= merge_set.seen_at && match_set.id != merge_set.id);
        assert_eq!(merge_set.seen_at, identity.version(), "the moment of the change");
    }
    let other = find(store, &[email("d@x")]).await.remove(0);
    assert_eq!(history(store, other.root()).await.expect("an identity").stored, []);
    let missing = ContactId(other.root().0 + 1_000);
    assert!(history(store, missing).await.is_none());
    let asked = [email("a@x"), phone("3"), email("nobody@x")];
    let mut transaction = store.begin().await.expect("a transaction");
    let mut rows = transaction.owner_rows(&asked).await.expect("a read");
    transaction.commit().await.expect("a commit");
    let mut of_store = store.owner_rows(&asked).await.expect("a read");
    for rows in [&mut rows, &mut of_store] {
        rows.sort_by_key(|row| row.identifier.clone());
        rows.dedup();
    }
    assert_eq!((rows.len(), &rows), (2, &of_store));
    assert!(rows.iter().all(|row| expected.iter().any(|contact| contact.id == row.contact)));
}

pub(crate) async fn a_secondary_leads_to_its_root<S: Store>(store: &S) {
    identify(store, &[&[email("a@x"), phone("1")], &[email("b@x"), phone("1")]]).await;
    let identity = find(store, &[email("a@x")]).await.remove(0);
    let (root, secondary) = (identity.root(), identity.secondaries()[0].id);
    for size in [ExpectedSize::Large, ExpectedSize::NotLarge] {
        let [alone] = &store.identities_of(&[secondary], size).await.expect("a read")[..] else {
            panic!("one contact")
        };
        assert_eq!((alone.missing_root(), alone.contacts()), (Some(root), identity.secondaries()));
        let both = store.identities_of(&[root, secondary], size).await.expect("a read");
        assert_eq!(both, std::slice::from_ref(&identity), "together they are one identity");
    }
}

pub(crate) async fn roots_come_in_order_and_each_once<S: Store + IgnoresIdentifiers>(store: &S) {
    let till = phone("0000000000");
    store.ignore(&till).await; // Its holder is no root.
    let many: Vec<[Identifier; 1]> = (0..20).map(|n| [phone(&format!("{}", 1_000 + n))]).collect();
    let observations: Vec<&[Identifier]> = many.iter().map(<[Identifier; 1]>::as_slice).collect();
    let answers = identify(store, &observations).await;
    identify(store, &[&[email("a@x"), phone("1000")], &[phone("1001"), phone("1002")]]).await;
    let absorbed = answers[2].identity.primary().id;
    let mut roots: Vec<ContactId> = answers.iter().map(|answer| answer.identity.primary().id).collect();
    roots.sort_unstable();
    roots.retain(|root| *root != absorbed);
    for size in [1, 7, 19, 20] {
        let windows = all_roots(store, size).await;
        assert!(windows.iter().all(|window| window.roots.len() <= size));
        assert_eq!(windows.into_iter().flat_map(|window| window.roots).collect::<Vec<_>>(), roots, "{size} at a time");
    }
    let none = store.roots_after(Some(ContactId(i64::MAX)), 7).await.expect("a read");
    assert_eq!(none, RootWindow::default());
}

/// All roots, as so many reads return them. A transaction returns the same.
async fn all_roots<S: Store>(store: &S, size: usize) -> Vec<RootWindow> {
    let mut windows: Vec<RootWindow> = Vec::new();
    loop {
        let after = windows.last().and_then(|window| window.next);
        let window = store.roots_after(after, size).await.expect("a read");
        let mut transaction = store.begin().await.expect("a transaction");
        assert_eq!(transaction.roots_after(after, size).await.expect("a read"), window);
        assert!(
            window.next.is_none_or(|next| window.roots.last().is_none_or(|last| *last <= next) && Some(next) > after)
        );
        let is_last = window.next.is_none();
        windows.push(window);
        if is_last {
            return windows;
        }
    }
}

/// A million secondaries can stand between two roots.
pub(crate) async fn a_read_of_roots_looks_at_few_rows<S: Store>(store: &S) {
    const CONTACTS: usize = 2_500;
    let many: Vec<[Identifier; 2]> = (0..CONTACTS).map(|number| [email(&format!("{number}@x")), phone("1")]).collect();
    let mut observations: Vec<&[Identifier]> = many.iter().map(|one| &one[..]).collect();
    let other = [email("other@x"), phone("2")];
    observations.push(&other);
    let answers = identify(store, &observations).await;
    let roots = [0, CONTACTS].map(|number| answers[number].identity.primary().id);
    let windows = all_roots(store, 128).await;
    assert!(windows.iter().any(|window| window.roots.is_empty() && window.next.is_some()), "{windows:?}");
    assert_eq!(windows.into_iter().flat_map(|window| window.roots).collect::<Vec<_>>(), roots);
}

pub(crate) async fn a_transaction_reads_what_the_store_reads<S: Store>(store: &S) {
    identify(store, &[&[email("a@x"), phone("1")], &[email("b@x"), phone("1")], &[email("c@x")]]).await;
    let mut found = find(store, &[email("a@x"), email("c@x")]).await;
    found.sort_by_key(Identity::root);
    let roots: Vec<ContactId> = found.iter().map(Identity::root).collect();
    let mut transaction = store.begin().await.expect("a transaction");
    transaction.lock_contacts(&roots.iter().copied().collect()).await.expect("the locks");
    transaction.lock_identifiers(&[email("a@x"), email("nobody@x"), phone("1")]).await.expect("the locks");
    for size in [ExpectedSize::Usual, ExpectedSize::Large] {
        let mut read = transaction.identities_of(&roots, size).await.expect("a read");
        read.sort_by_key(Identity::root);
        assert_eq!(read, found);
    }
    transaction.commit().await.expect("a commit");
}

pub(crate) async fn a_read_of_small_identities_ends_at_a_large_one<S: Store>(store: &S) {
    let many: Vec<[Identifier; 2]> = (0..600).map(|n| [email(&format!("{n}@x")), phone("1")]).collect();
    let observations: Vec<&[Identifier]> = many.iter().map(<[Identifier; 2]>::as_slice).collect();
    identify(store, &observations).await;
    identify(store, &[&[email("small@x")]]).await;
    let found = find(store, &[phone("1"), email("small@x")]).await;
    let large = found.iter().find(|identity| identity.contacts().len() == 600).expect("all contacts").root();
    let small = found.iter().find(|identity| identity.contacts().len() == 1).expect("one contact").root();
    let error = store.identities_of(&[small, large], ExpectedSize::NotLarge).await.expect_err("it is large");
    assert!(matches!(error, StoreError::OneIsLarge(root) if root == large), "{error}");
    assert_eq!(store.identities_of(&[small], ExpectedSize::NotLarge).await.expect("a read").len(), 1);
    let all = store.identities_of(&[small, large], ExpectedSize::Large).await.expect("a read");
    assert_eq!(all.iter().map(|identity| identity.contacts().len()).sum::<usize>(), 601);
}

pub(crate) async fn one_lookup_takes_many_identifiers<S: Store>(store: &S) {
    let all: Vec<Identifier> = (0..MAX_LOOKUP).map(|n| phone(&format!("{}", 1_000 + n))).collect();
    let observations: Vec<&[Identifier]> = all.iter().map(std::slice::from_ref).collect();
    identify(store, &observations).await;
    assert_eq!(find(store, &all).await.len(), MAX_LOOKUP);
    let mut transaction = store.begin().await.expect("a transaction");
    let more: Vec<Identifier> = all.iter().cloned().chain([phone("1"), phone("2")]).collect();
    for size in [ExpectedSize::Usual, ExpectedSize::Large] {
        let found = transaction.find_identities(&more, size).await.expect("a read");
        assert_eq!(found.identities.len(), MAX_LOOKUP, "in several statements");
    }
}

/// Far more contacts than a look-up usually returns, beside a customer of one contact.
pub(crate) async fn an_identity_of_many_contacts_is_found_completely<S: Store>(store: &S) {
    const CONTACTS: usize = 700;
    let many: Vec<[Identifier; 2]> = (0..CONTACTS).map(|number| [email(&format!("{number}@x")), phone("1")]).collect();
    let mut observations: Vec<&[Identifier]> = many.iter().map(|one| &one[..]).collect();
    let other = [email("other@x"), phone("2")];
    observations.push(&other);
    let answers = identify(store, &observations).await;
    let (other, many) = (&answers[CONTACTS], &answers[CONTACTS - 1]);
    assert_eq!(many.identity.list().contacts().len(), CONTACTS);
    for asked in [vec![phone("1")], vec![email("7@x")], vec![email("7@x"), email("8@x"), phone("1")]] {
        assert_found(store, &asked, &[many]).await;
        assert_found(store, &[&asked[..], &[phone("2")]].concat(), &[many, other]).await;
    }
    assert_found(store, &[email("other@x"), phone("2")], &[other]).await;
    for asked in [vec![phone("1")], vec![email("other@x"), email("7@x")]] {
        let found = store.find_identities(&asked, ExpectedSize::NotLarge).await;
        assert!(matches!(found, Err(StoreError::OneIsLarge(root)) if root == many.identity.primary().id), "{found:?}");
    }
    let found = store.find_identities(&[phone("2")], ExpectedSize::NotLarge).await.expect("a read").found.identities;
    assert_eq!(found.len(), 1);
}

pub(crate) async fn values_are_equal_by_bytes<S: Store>(store: &S) {
    let values = ["a@x", "A@x", "á@x", "a\u{301}@x", "a@x ", "ａ@x"];
    for value in values {
        assert_eq!(identify(store, &[&[email(value)]]).await[0].outcome, Outcome::Created, "{value:?}");
    }
    for value in values {
        let found = find(store, &[email(value)]).await;
        assert_eq!(found.len(), 1, "{value:?}");
        assert_eq!(found[0].values(IdentifierKind::Email), [value]);
    }
    assert!(find(store, &[phone("a@x")]).await.is_empty(), "another kind is another identifier");
}

pub(crate) async fn ids_rise_in_the_order_of_the_plan<S: Store>(store: &S) {
    let all: Vec<Identifier> = (0..300).map(|n| phone(&format!("{}", 1_000 + n))).collect();
    let observations: Vec<&[Identifier]> = all.iter().map(std::slice::from_ref).collect();
    let answers = identify(store, &observations).await;
    let ids: Vec<ContactId> = answers.iter().map(|answer| answer.identity.primary().id).collect();
    assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");
}

pub(crate) async fn a_dropped_transaction_leaves_nothing<S: Store>(store: &S) {
    let mut transaction = store.begin().await.expect("a transaction");
    write(&mut transaction, &[observation(&[email("a@x")])]).await.expect("a write");
    drop(transaction);
    assert!(find(store, &[email("a@x")]).await.is_empty());
    assert_eq!(identify(store, &[&[email("a@x")]]).await[0].outcome, Outcome::Created, "nothing is locked any more");
}

pub(crate) async fn an_owned_identifier_is_a_duplicate_key<S: Store>(store: &S) {
    identify(store, &[&[email("a@x")]]).await;
    let mut transaction = store.begin().await.expect("a transaction");
    let now = transaction.now();
    let blind = plan(&[observation(&[email("a@x"), phone("1")])], &Snapshot::new(Vec::new()), now, 10_000);
    let error = transaction.apply(&blind).await.expect_err("it has an owner");
    assert!(matches!(error, StoreError::DuplicateKey(_)), "{error}");
    drop(transaction);
    assert!(find(store, &[phone("1")]).await.is_empty(), "nothing of the plan is left");
}

pub(crate) async fn a_lock_returns_the_version_of_each_row_that_exists<S: Store>(store: &S) {
    identify(store, &[&[email("a@x")], &[email("b@x")]]).await;
    let found = find(store, &[email("a@x"), email("b@x")]).await;
    let roots: Vec<_> = found.iter().map(|identity| (identity.root(), identity.version())).collect();
    let missing = ContactId(roots[1].0.0 + 1_000);
    let mut transaction = store.begin().await.expect("a transaction");
    let wanted = [missing, roots[1].0, roots[0].0].into_iter().collect();
    let locked = transaction.lock_contacts(&wanted).await.expect("the locks");
    assert_eq!(locked, roots.into_iter().map(|(root, version)| (root, Some(version))).collect());
}

/// It leads no identity: a copy of before the merge must not pass for the present state.
pub(crate) async fn a_lock_returns_no_version_of_a_linked_row<S: Store>(store: &S) {
    let before = identify(store, &[&[email("a@x"), phone("1")], &[email("b@x")]]).await;
    let merged = identify(store, &[&[email("b@x"), phone("1")], &[email("c@x"), phone("1")]]).await;
    let [survivor, absorbed] = [0, 1].map(|index| before[index].identity.primary().id);
    let secondaries = merged[1].identity.list().secondaries();
    let ids: BTreeSet<ContactId> = secondaries.iter().map(|contact| contact.id).chain([survivor]).collect();
    assert!(ids.len() == 3 && ids.contains(&absorbed));
    let mut transaction = store.begin().await.expect("a transaction");
    let locked = transaction.lock_contacts(&ids).await.expect("the locks");
    let live: Vec<ContactId> = locked.iter().filter_map(|(id, version)| version.map(|_| *id)).collect();
    assert_eq!((locked.len(), live), (3, vec![survivor]));
}

/// Not of a store with one writer: there, nothing can be committed meanwhile.
pub(crate) async fn every_statement_sees_earlier_commits<S: Store>(store: &S) {
    if is_exclusive(store).await {
        return;
    }
    let mut transaction = store.begin().await.expect("a transaction");
    let found = transaction.find_identities(&[email("a@x")], ExpectedSize::Usual).await.expect("a read");
    assert!(found.identities.is_empty());
    identify(store, &[&[email("a@x")]]).await;
    let found = transaction.find_identities(&[email("a@x")], ExpectedSize::Usual).await.expect("a read");
    assert_eq!(found.identities.len(), 1);
}

/// Not of a store with one writer: it waits at the begin.
pub(crate) async fn a_locked_row_is_waited_for<S: Store>(store: &S) {
    if is_exclusive(store).await {
        return;
    }
    let root = identify(store, &[&[email("a@x")]]).await[0].identity.primary().id;
    let mut first = store.begin().await.expect("a transaction");
    first.lock_contacts(&[root].into()).await.expect("the lock");
    let mut second = store.begin().await.expect("a transaction");
    let roots = [root].into();
    let mut waiting = Box::pin(second.lock_contacts(&roots));
    assert!(timeout(A_WHILE, &mut waiting).await.is_err(), "the row is locked");
    write(&mut first, &[observation(&[email("a@x"), phone("1")])]).await.expect("a write");
    first.commit().await.expect("a commit");
    let locked = waiting.await.expect("the lock");
    let stored = find(store, &[phone("1")]).await;
    assert_eq!(locked[&root], Some(stored[0].version()), "what the first transaction wrote");
}

/// Waits until exactly these contacts are locked. A look at the locks may itself hold free rows for a moment.
async fn until_locked<S: Store>(store: &S, contacts: &BTreeSet<ContactId>, expected: &BTreeSet<ContactId>) {
    for _ in 0..100 {
        if store.locked_by_others(contacts).await.expect("an answer") == *expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{expected:?} are not the locked ones");
}

/// Of a store with one writer: no row is locked.
pub(crate) async fn rows_that_others_have_locked_are_known<S: Store>(store: &S) {
    let answers = identify(store, &[&[email("a@x")], &[email("b@x")]]).await;
    let [one, other] = [0, 1].map(|index| answers[index].identity.primary().id);
    let both = BTreeSet::from([one, other]);
    if is_exclusive(store).await {
        assert!(store.locked_by_others(&both).await.expect("an answer").is_empty());
        return;
    }
    until_locked(store, &both, &BTreeSet::new()).await;
    let mut transaction = store.begin().await.expect("a transaction");
    transaction.lock_contacts(&[one].into()).await.expect("the lock");
    until_locked(store, &both, &BTreeSet::from([one])).await;
    transaction.commit().await.expect("a commit");
    until_locked(store, &both, &BTreeSet::new()).await;
}

pub(crate) async fn of_two_first_sightings_one_wins<S: Store>(store: &S) {
    let sight = async || {
        let mut transaction = store.begin().await?;
        write(&mut transaction, &[observation(&[email("a@x")])]).await?;
        transaction.commit().await
    };
    let (one, other) = tokio::join!(sight(), sight());
    assert!(one.is_ok() || other.is_ok());
    for error in [one.err(), other.err()].into_iter().flatten() {
        assert!(matches!(error, StoreError::DuplicateKey(_) | StoreError::LostRace(_)), "{error}");
    }
    let found = find(store, &[email("a@x")]).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].contacts().len(), 1);
}

pub(crate) async fn the_clock_does_not_go_back<S: Store>(store: &S) {
    let mut last = None;
    for _ in 0..3 {
        let transaction = store.begin().await.expect("a transaction");
        let now = transaction.now();
        assert!(last <= Some(now));
        last = Some(now);
        transaction.commit().await.expect("a commit");
    }
}

/// What a read finds, whatever size it expects, and what a transaction finds.
async fn find_all<S: Store>(store: &S, identifiers: &[Identifier]) -> Vec<FoundIdentities> {
    let mut found = Vec::new();
    for size in [ExpectedSize::Usual, ExpectedSize::Large] {
        found.push(store.find_identities(identifiers, size).await.expect("a read").found);
        let mut transaction = store.begin().await.expect("a transaction");
        found.push(transaction.find_identities(identifiers, size).await.expect("a read"));
    }
    found
}

pub(crate) async fn an_ignored_identifier_belongs_to_nobody<S: Store + IgnoresIdentifiers>(store: &S) {
    identify(store, &[&[email("a@x"), phone("1")]]).await;
    let till = phone("0000000000");
    store.ignore(&till).await;
    store.ignore(&till).await; // It is the same the second time.
    let asked = [till.clone(), email("a@x"), phone("7")];
    for found in find_all(store, &asked).await {
        assert_eq!(found.identities.len(), 1);
        assert_eq!(found.ignored, BTreeSet::from([till.clone()]));
    }
    let rows = store.owner_rows(&asked).await.expect("a read");
    let ignored: Vec<&OwnerRow> = rows.iter().filter(|row| row.is_ignored).collect();
    assert_eq!((rows.len(), ignored.len(), &ignored[0].identifier), (2, 1, &till));
    // Nobody can own it, also who has not looked.
    let mut transaction = store.begin().await.expect("a transaction");
    let now = transaction.now();
    let blind = plan(&[observation(std::slice::from_ref(&till))], &Snapshot::new(Vec::new()), now, 10);
    assert!(matches!(transaction.apply(&blind).await, Err(StoreError::DuplicateKey(_))));
    drop(transaction);
    // It is no orphan.
    let mut transaction = store.begin().await.expect("a transaction");
    let now = transaction.now();
    transaction.release_orphans(std::slice::from_ref(&till), now).await.expect("a write");
    transaction.commit().await.expect("a commit");
    assert_eq!(find_all(store, std::slice::from_ref(&till)).await[0].ignored, BTreeSet::from([till.clone()]));
    // Who looks leaves it out.
    let answers = identify(store, &[&[till.clone(), email("b@x")], &[till.clone(), email("a@x")]]).await;
    let outcomes: Vec<(Outcome, usize)> =
        answers.iter().map(|answer| (answer.outcome, answer.identity.contact_count())).collect();
    assert_eq!(outcomes, [(Outcome::Created, 1), (Outcome::Matched, 1)]);
    assert!(answers.iter().all(|answer| answer.ignored == [till.clone()]));
    assert!(answers[0].identity.contacts().all(|contact| contact.shown().all(|shown| *shown != till)));
}

pub(crate) async fn what_an_identity_owned_is_shown_when_it_is_ignored<S: Store + IgnoresIdentifiers>(store: &S) {
    let shared = phone("1");
    identify(store, &[&[email("a@x"), shared.clone()], &[email("b@x"), shared.clone()]]).await;
    let root = find(store, &[email("a@x")]).await[0].root();
    let before = root_rows(store, &[root]).await[0].updated_at;
    store.ignore(&shared).await;
    assert!(root_rows(store, &[root]).await[0].updated_at > before, "copies of it are no longer right");
    for found in find_all(store, &[email("b@x"), shared.clone()]).await {
        let [identity] = &found.identities[..] else { panic!("{} identities", found.identities.len()) };
        assert_eq!((identity.root(), identity.contacts().len()), (root, 2), "who was joined stays joined");
        assert!(!identity.owns(&shared) && identity.owns(&email("a@x")));
        assert_eq!(identity.values(IdentifierKind::Phone), ["1"], "it is still shown");
    }
    let identities = store.identities_of(&[root], ExpectedSize::Usual).await.expect("a read");
    assert!(!identities[0].owns(&shared), "also if nobody asks for it");
    let answers = identify(store, &[&[email("c@x"), shared.clone()]]).await;
    assert_eq!(answers[0].outcome, Outcome::Created);
}

pub(crate) async fn what_counts_again_belongs_to_the_oldest_who_shows_it<S: Store + IgnoresIdentifiers>(store: &S) {
    let shared = phone("1");
    identify(store, &[&[email("a@x"), shared.clone()], &[email("b@x"), shared.clone()]]).await;
    let root = find(store, &[email("a@x")]).await[0].root();
    for _ in 0..3 {
        store.ignore(&shared).await;
        identify(store, &[&[email("c@x"), shared.clone()]]).await;
        let before = root_rows(store, &[root]).await[0].updated_at;
        store.stop_ignoring(&shared).await;
        assert!(root_rows(store, &[root]).await[0].updated_at > before, "copies of it are no longer right");
        for found in find_all(store, &[shared.clone(), email("c@x")]).await {
            let roots: Vec<ContactId> = found.identities.iter().map(Identity::root).collect();
            assert!(found.ignored.is_empty() && roots.len() == 2 && roots.contains(&root), "it joins nobody by itself");
            let identity = found.identities.iter().find(|identity| identity.root() == root).expect("the first");
            assert!(identity.contacts().iter().all(|contact| contact.identifiers.contains(&shared)));
        }
        store.stop_ignoring(&shared).await; // It is the same the second time.
    }
    let nobody = phone("2");
    store.ignore(&nobody).await;
    store.stop_ignoring(&nobody).await;
    let answers = identify(store, &[&[nobody, email("d@x")]]).await;
    assert_eq!((answers[0].outcome, answers[0].ignored.len()), (Outcome::Created, 0));
    let answers = identify(store, &[&[email("c@x"), shared]]).await;
    assert_eq!(answers[0].outcome, Outcome::Merged, "a request joins by it");
}
