//! Runs a repair: a transaction under the same locks that the resolver takes, so it is safe beside live traffic.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::connected::{ConnectedContacts, Rewrite};
use super::repair_plan::RepairPlan;
use super::repairs::Repair;
use crate::domain::{ContactId, Region, Timestamp};
use crate::store::{Cause, Database, DatabaseTransaction, Store, StoreError, Transaction};

/// Maximum attempts of a repair that loses races. After them it is reported as not repaired.
const MAX_ATTEMPTS: u32 = 20;

/// How long an identity is attempted, in all: a transaction of somebody else may keep a row locked.
const MAX_TIME: Duration = Duration::from_secs(10);

/// The longest pause between two attempts: longer than the transactions of the service.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// What a repair did.
#[derive(Debug)]
pub(super) struct Repaired {
    /// What it changed.
    pub(super) repairs: Vec<Repair>,
    /// The contacts that it covered: all that belong together. Another repair of them would find nothing to do.
    pub(super) contacts: BTreeSet<ContactId>,
}

/// Repairs this contact and all contacts that belong to it.
///
/// It changes nothing when all is well.
///
/// # Errors
/// Those of the store. [`StoreError::LostRace`] if other transactions kept the rows locked, or kept changing them.
pub(super) async fn repair_contact(
    database: &Database,
    contact: ContactId,
    region: Option<Region>,
) -> Result<Repaired, StoreError> {
    tracing::debug!(contact = contact.0, "repairing an identity");
    let contacts = BTreeSet::from([contact]);
    let mut locked = contacts.clone();
    let begun = Instant::now();
    let mut lost = StoreError::LostRace(Cause::new("its contacts change all the time"));
    for _ in 0..MAX_ATTEMPTS {
        match attempt(database, &contacts, &locked, region).await {
            Ok(RepairAttempt::Done(repaired)) => return Ok(repaired),
            Ok(RepairAttempt::ContactsChanged(concerned)) => locked = concerned,
            Err(error @ (StoreError::LostRace(_) | StoreError::DuplicateKey(_))) => {
                lost = error;
                tokio::time::sleep(MAX_PAUSE.mul_f64(fastrand::f64())).await;
            }
            Err(error) => return Err(error),
        }
        if begun.elapsed() > MAX_TIME {
            break;
        }
    }
    Err(lost)
}

enum RepairAttempt {
    Done(Repaired),
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
    region: Option<Region>,
) -> Result<RepairAttempt, StoreError> {
    let mut transaction = database.begin().await?;
    transaction.lock_contacts(locked).await?;
    let found = ConnectedContacts::read(&mut transaction, contacts, region).await?;
    let concerned: BTreeSet<ContactId> = found.contacts.keys().copied().collect();
    if !transaction.is_exclusive() && !concerned.is_subset(locked) {
        return Ok(RepairAttempt::ContactsChanged(concerned));
    }
    let now = transaction.now().await?;
    let Some(mut planned) = found.plan_repair(now) else {
        return Ok(RepairAttempt::Done(Repaired { repairs: Vec::new(), contacts: concerned }));
    };
    if transaction.must_write_what_it_locks() {
        let unwritten = locked - &planned.plan.written();
        planned.plan.touch_also(unwritten, None); // Its `updatedAt` is later than theirs already.
    }
    write(&mut transaction, &planned).await?;
    transaction.commit().await?;
    Ok(RepairAttempt::Done(Repaired { repairs: planned.repairs, contacts: concerned }))
}

async fn write(transaction: &mut DatabaseTransaction, planned: &RepairPlan) -> Result<(), StoreError> {
    let RepairPlan { plan, reassigned, rewrites, released, .. } = planned;
    for Rewrite { contact, stored, canonical } in rewrites {
        transaction.rewrite(*contact, stored.kind(), canonical.as_ref(), plan.updated_at).await?;
    }
    transaction.apply(plan).await?;
    for (identifier, from, to) in reassigned {
        transaction.reassign(identifier, *from, *to).await?;
    }
    for (identifier, owner) in released {
        transaction.disown(identifier, *owner).await?;
    }
    Ok(())
}

/// What a repair would do.
#[derive(Debug)]
pub(super) struct Planned {
    /// What it would write. `None` when all is well.
    pub(super) plan: Option<RepairPlan>,
    /// The contacts that it would cover.
    pub(super) contacts: BTreeSet<ContactId>,
}

/// Plans what [`repair_contact`] would do, without a lock: other transactions may change it meanwhile.
pub(super) async fn plan_repair(
    database: &Database,
    contact: ContactId,
    region: Option<Region>,
) -> Result<Planned, StoreError> {
    let found = ConnectedContacts::read(database, &BTreeSet::from([contact]), region).await?;
    Ok(Planned { plan: found.plan_repair(Timestamp(0)), contacts: found.contacts.into_keys().collect() })
}
