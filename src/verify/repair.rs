//! Runs a repair: a transaction under the same locks that the resolver takes, so it is safe beside live traffic.

use std::collections::BTreeSet;
use std::time::Duration;

use super::repair_plan::{ConnectedContacts, Repair, RepairPlan};
use crate::domain::{ContactId, Identifier};
use crate::store::{Database, DatabaseTransaction, Store, StoreError, Transaction};

/// Maximum attempts of a repair that loses races. After them, the next run of `verify` repairs it.
const MAX_ATTEMPTS: u32 = 20;

/// The longest pause between two attempts: longer than the transactions of the service.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Repairs these contacts and all contacts that belong to them. Returns what it changed.
///
/// It changes nothing when all is well, and when other transactions kept changing the rows.
pub(super) async fn repair_contacts(
    database: &Database,
    contacts: &BTreeSet<ContactId>,
) -> Result<Vec<Repair>, StoreError> {
    let mut locked = contacts.clone();
    for _ in 0..MAX_ATTEMPTS {
        match attempt(database, contacts, &locked).await {
            Ok(RepairAttempt::Done(repairs)) => return Ok(repairs),
            Ok(RepairAttempt::ContactsChanged(concerned)) => locked = concerned,
            Err(StoreError::LostRace(_) | StoreError::DuplicateKey(_)) => {
                tokio::time::sleep(MAX_PAUSE.mul_f64(fastrand::f64())).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Vec::new())
}

enum RepairAttempt {
    Done(Vec<Repair>),
    /// The repair concerns contacts that it had not locked. Holds all contacts to lock.
    ContactsChanged(BTreeSet<ContactId>),
}

/// Runs one transaction. It locks every row concerned, then reads all of them again, and changes only locked rows.
///
/// The roots that the resolver locks are among these rows. Both lock in id order.
async fn attempt(
    database: &Database,
    contacts: &BTreeSet<ContactId>,
    locked: &BTreeSet<ContactId>,
) -> Result<RepairAttempt, StoreError> {
    let mut transaction = database.begin().await?;
    transaction.lock_contacts(locked).await?;
    let found = connected_contacts(&mut transaction, contacts).await?;
    let concerned: BTreeSet<ContactId> = found.contacts.keys().copied().collect();
    if !transaction.is_exclusive() && !concerned.is_subset(locked) {
        return Ok(RepairAttempt::ContactsChanged(concerned));
    }
    let now = transaction.now().await?;
    let Some(RepairPlan { mut plan, reassigned, repairs }) = found.plan_repair(now) else {
        return Ok(RepairAttempt::Done(Vec::new()));
    };
    if transaction.must_write_what_it_locks() {
        plan.touch_also(locked - &plan.written(), None); // Its `updatedAt` is later than theirs already.
    }
    transaction.apply(&plan).await?;
    for (identifier, from, to) in &reassigned {
        transaction.reassign(identifier, *from, *to).await?;
    }
    transaction.commit().await?;
    Ok(RepairAttempt::Done(repairs))
}

/// Returns all contacts that links and shared identifiers connect with these, and the owners of their identifiers.
async fn connected_contacts(
    transaction: &mut DatabaseTransaction,
    contacts: &BTreeSet<ContactId>,
) -> Result<ConnectedContacts, StoreError> {
    let mut found = ConnectedContacts::default();
    let (mut read, mut next) = (BTreeSet::new(), contacts.clone());
    while !next.is_empty() {
        read.extend(next.iter().copied());
        let (mut connected, mut carried) = (BTreeSet::new(), BTreeSet::new());
        for contact in transaction.linked(&next).await? {
            connected.extend([contact.id, contact.root()]);
            if !contact.is_deleted {
                carried.extend(contact.identifiers.iter().cloned());
            }
            found.contacts.insert(contact.id, contact);
        }
        let unread = carried.into_iter().filter(|identifier| !found.owners.contains_key(identifier));
        let unread: Vec<Identifier> = unread.collect();
        if !unread.is_empty() {
            for (identifier, owner) in transaction.owners(&unread).await? {
                connected.extend(owner.rightful_root().map(|_| owner.id));
                found.owners.insert(identifier, owner);
            }
        }
        next = connected.difference(&read).copied().collect();
    }
    Ok(found)
}
