//! Look-ups by identifiers, of identities of every size.

use identity::domain::{ContactId, Identifier, IdentifierKind, Identity, Outcome};
use identity::store::{ExpectedSize, IfNothing, MAX_LOOKUP, Store, StoreError, Transaction};

use super::{assert_found, email, find, identify, phone};

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
        let found = store.find_identities(&asked, ExpectedSize::NotLarge, IfNothing::CheckServer).await;
        assert!(matches!(found, Err(StoreError::OneIsLarge(root)) if root == many.identity.primary().id), "{found:?}");
    }
    let found = store
        .find_identities(&[phone("2")], ExpectedSize::NotLarge, IfNothing::CheckServer)
        .await
        .expect("a read")
        .found
        .identities;
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
