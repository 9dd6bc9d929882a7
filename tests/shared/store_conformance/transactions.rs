//! Transactions: what they lock, what they see of each other, and what is left of one that does not commit.

use std::collections::BTreeSet;
use std::time::Duration;

use identity::domain::{ContactId, Outcome, Snapshot, plan};
use identity::store::{ExpectedSize, Store, StoreError, Transaction};
use tokio::time::timeout;

use super::{email, find, identify, is_exclusive, observation, phone, write};

/// Longer than any statement takes, and shorter than any lock timeout.
const A_WHILE: Duration = Duration::from_millis(300);

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
