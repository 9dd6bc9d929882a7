//! Reads by the ids of contacts: rows, identities, histories, and all roots in order.

use identity::domain::{Contact, ContactId, EvidenceOrigin, Identifier, Identity, Outcome, OwnerRow, RootRow};
use identity::store::{ExpectedSize, HistoryRows, MAX_LOOKUP, RootWindow, Store, Transaction};

use super::{IgnoresIdentifiers, email, find, identify, phone, root_row, root_rows};

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
