//! Carrying a repair out, beside live traffic: in a transaction, under the locks that the resolver takes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::repair_plan::{Mending, Neighbourhood, Repair};
use crate::domain::{ContactId, Identifier};
use crate::store::{Database, DatabaseTransaction, Store, StoreError, Transaction};

/// How often a repair that loses races is tried, before it is left for the next run.
const ATTEMPTS: u32 = 20;

/// How long it pauses in between, at most: longer than the transactions that it meets.
const PAUSE: Duration = Duration::from_millis(100);

/// Puts right everything about these contacts and all that belong to them; what it did, which is nothing
/// when all is well or when the rows were too busy.
pub(super) async fn mend(database: &Database, contacts: &BTreeSet<ContactId>) -> Result<Vec<Repair>, StoreError> {
    let mut locked = contacts.clone();
    for _ in 0..ATTEMPTS {
        match attempt(database, contacts, &locked).await {
            Ok(Attempt::Done(repairs)) => return Ok(repairs),
            Ok(Attempt::Moved(to)) => locked = to,
            Err(StoreError::LostRace(_) | StoreError::DuplicateKey(_)) => {
                tokio::time::sleep(PAUSE.mul_f64(fastrand::f64())).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Vec::new())
}

enum Attempt {
    Done(Vec<Repair>),
    /// Other contacts are concerned than were locked: all these.
    Moved(BTreeSet<ContactId>),
}

/// One transaction. Every row concerned is locked, the roots that the resolver locks among them, in the
/// same order; then everything is read again, and only what was locked may be changed.
async fn attempt(
    database: &Database,
    contacts: &BTreeSet<ContactId>,
    locked: &BTreeSet<ContactId>,
) -> Result<Attempt, StoreError> {
    let mut transaction = database.begin().await?;
    transaction.lock_contacts(locked).await?;
    let found = neighbourhood(&mut transaction, contacts).await?;
    let concerned: BTreeSet<ContactId> = found.contacts.keys().copied().collect();
    if !transaction.is_exclusive() && !concerned.is_subset(locked) {
        return Ok(Attempt::Moved(concerned));
    }
    let now = transaction.now().await?;
    let Some(Mending { mut plan, reassigned, repairs }) = found.mend(now) else {
        return Ok(Attempt::Done(Vec::new()));
    };
    if transaction.must_write_what_it_locks() {
        plan.touch_also(locked - &plan.written(), None); // It writes later than all of them already.
    }
    transaction.apply(&plan).await?;
    for (identifier, from, to) in &reassigned {
        transaction.reassign(identifier, *from, *to).await?;
    }
    transaction.commit().await?;
    Ok(Attempt::Done(repairs))
}

/// Everything that links and shared identifiers join with these contacts.
async fn neighbourhood(
    transaction: &mut DatabaseTransaction,
    contacts: &BTreeSet<ContactId>,
) -> Result<Neighbourhood, StoreError> {
    let mut found = Neighbourhood::default();
    let (mut asked, mut next) = (BTreeSet::new(), contacts.clone());
    while !next.is_empty() {
        asked.extend(next.iter().copied());
        let (mut joined, mut carried) = (BTreeSet::new(), BTreeSet::new());
        for contact in transaction.linked(&next).await? {
            joined.extend([contact.id, contact.root()]);
            if !contact.is_deleted {
                carried.extend(contact.identifiers.iter().cloned());
            }
            found.contacts.insert(contact.id, contact);
        }
        let unasked = carried.into_iter().filter(|identifier| !found.owners.contains_key(identifier));
        let unasked: Vec<Identifier> = unasked.collect();
        if !unasked.is_empty() {
            for (identifier, owner) in transaction.owners(&unasked).await? {
                joined.extend(owner.rightful_root().map(|_| owner.id));
                found.owners.insert(identifier, owner);
            }
        }
        next = joined.difference(&asked).copied().collect();
    }
    Ok(found)
}
