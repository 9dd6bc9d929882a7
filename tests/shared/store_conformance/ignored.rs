//! Identifiers that an operator ignores.

use std::collections::BTreeSet;

use identity::domain::{ContactId, Identifier, IdentifierKind, Identity, Outcome, OwnerRow, Snapshot, plan};
use identity::store::{ExpectedSize, FoundIdentities, IfNothing, Store, StoreError, Transaction};

use super::{IgnoresIdentifiers, email, find, identify, observation, phone, root_rows};

/// What a read finds, whatever size it expects, and what a transaction finds.
async fn find_all<S: Store>(store: &S, identifiers: &[Identifier]) -> Vec<FoundIdentities> {
    let mut found = Vec::new();
    for size in [ExpectedSize::Usual, ExpectedSize::Large] {
        found.push(store.find_identities(identifiers, size, IfNothing::CheckServer).await.expect("a read").found);
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
