//! Reads where several servers take writes (MySQL Group Replication, MariaDB Galera).
//!
//! This server may lack a commit that another server has shown already. That commit still holds its locks here. So each
//! of these reads takes the same locks first, and reads under them. These transactions write nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::{ContactId, Identifier, Identity, OwnerRow, Snapshot};
use crate::store::{Cause, ExpectedSize, HistoryRead, MAX_LOOKUP, Store, StoreError, Transaction};

/// How often a read starts over because it found a root that it had not locked. Each time identities merge meanwhile.
const MAX_STEPS: usize = 8;

/// Returns the identity of a contact.
///
/// # Errors
/// As every transaction.
pub(super) async fn identity_of<S: Store>(store: &S, contact: ContactId) -> Result<Option<Arc<Identity>>, StoreError> {
    let mut locked = BTreeSet::from([contact]);
    for _ in 0..MAX_STEPS {
        let mut transaction = store.begin().await?;
        let rows = transaction.lock_contacts(&locked).await?;
        let ids: Vec<ContactId> = locked.iter().copied().collect();
        let identities = transaction.identities_of(&ids, ExpectedSize::Large).await?;
        transaction.commit().await?;
        let Some(identity) = identities.into_iter().find(|identity| identity.has_contact(contact)) else {
            return Ok(None);
        };
        match identity.missing_root() {
            Some(root) if rows.contains_key(&root) => return Err(not_read()),
            // Without a row for the root, the oldest contact stands in for it.
            Some(root) if !locked.contains(&root) => drop(locked.insert(root)),
            Some(_) | None => return Ok(Some(Arc::new(identity))),
        }
    }
    Err(moved())
}

/// Returns the owner of each of these identifiers, in order. Of each [`MAX_LOOKUP`] of them it is one consistent read.
///
/// # Errors
/// As every transaction.
pub(super) async fn owners<S: Store>(
    store: &S,
    identifiers: &[Identifier],
) -> Result<Vec<Option<Arc<Identity>>>, StoreError> {
    let mut owners = Vec::with_capacity(identifiers.len());
    for some in identifiers.chunks(MAX_LOOKUP) {
        let mut sorted = some.to_vec();
        sorted.sort_unstable();
        let snapshot = known(store, &sorted).await?;
        owners.extend(some.iter().map(|identifier| snapshot.owner_of(identifier).cloned()));
    }
    Ok(owners)
}

/// Returns the identities that own any of these identifiers (at most [`MAX_LOOKUP`], sorted), and which of these are
/// ignored. It is one consistent read.
///
/// # Errors
/// As every transaction.
pub(super) async fn known<S: Store>(store: &S, identifiers: &[Identifier]) -> Result<Snapshot, StoreError> {
    let mut locked = BTreeSet::new();
    for _ in 0..MAX_STEPS {
        let mut transaction = store.begin().await?;
        // In the order of all transactions: roots by id, then identifiers.
        let rows = if locked.is_empty() { Default::default() } else { transaction.lock_contacts(&locked).await? };
        transaction.lock_identifiers(identifiers).await?;
        let found = transaction.find_identities(identifiers, ExpectedSize::Usual).await?;
        let roots = found.identities.iter().flat_map(|one| [Some(one.root()), one.missing_root()]).flatten();
        let roots: BTreeSet<ContactId> = roots.collect();
        if roots.is_subset(&locked) {
            if found.identities.is_empty() && found.ignored.is_empty() {
                transaction.check_takes_writes().await?;
            }
            transaction.commit().await?;
            let mut missing = found.identities.iter().filter_map(Identity::missing_root);
            if missing.any(|root| rows.contains_key(&root)) {
                return Err(not_read());
            }
            return Ok(found.into_snapshot());
        }
        locked.extend(roots);
    }
    Err(moved())
}

/// Reads the history of the identity of a contact.
///
/// # Errors
/// As every transaction. [`StoreError::HistoryTooLarge`] for an identity of too many rows.
pub(super) async fn history_of<S: Store>(store: &S, contact: ContactId) -> Result<HistoryRead, StoreError> {
    let mut locked = BTreeSet::from([contact]);
    for _ in 0..MAX_STEPS {
        let mut transaction = store.begin().await?;
        let rows = transaction.lock_contacts(&locked).await?;
        let read = transaction.history_of(contact).await?;
        transaction.commit().await?;
        match &read.identity {
            Some(identity) if !locked.contains(&identity.root) => drop(locked.insert(identity.root)),
            Some(identity) if rows.contains_key(&identity.root) && !identity.has_row(identity.root) => {
                return Err(not_read());
            }
            Some(_) | None => return Ok(read),
        }
    }
    Err(moved())
}

/// Returns the rows of these identifiers (at most [`MAX_LOOKUP`]).
///
/// # Errors
/// As every transaction.
pub(super) async fn owner_rows<S: Store>(store: &S, identifiers: &[Identifier]) -> Result<Vec<OwnerRow>, StoreError> {
    let mut sorted = identifiers.to_vec();
    sorted.sort_unstable();
    let mut transaction = store.begin().await?;
    transaction.lock_identifiers(&sorted).await?;
    let rows = transaction.owner_rows(&sorted).await?;
    transaction.commit().await?;
    Ok(rows)
}

fn not_read() -> StoreError {
    StoreError::LostRace(Cause::new("a row was not read"))
}

fn moved() -> StoreError {
    StoreError::LostRace(Cause::new("an identity moved with each read"))
}
