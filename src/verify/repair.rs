//! Runs a repair: a transaction under the same locks that the resolver takes, so it is safe beside live traffic.

use std::collections::BTreeSet;

use super::attempts::{AttemptError, RepairError, commit, until_done};
use super::connected::{ConnectedContacts, Rewrite, Rules};
use super::doubt::Doubt;
use super::repair_plan::RepairPlan;
use super::repairs::Repair;
use crate::domain::{ContactId, IdentifierKind, Region, Timestamp};
use crate::store::{Database, DatabaseTransaction, EvidenceRepair, Ignored, Release, Store, StoreError, Transaction};

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
/// See [`until_done`].
pub(super) async fn repair_contact(
    database: &Database,
    contact: ContactId,
    rules: Rules<'_>,
) -> Result<Repaired, RepairError> {
    tracing::debug!(contact = contact.0, "repairing an identity");
    let contacts = BTreeSet::from([contact]);
    let mut locked = contacts.clone();
    until_done(async |doubt| match attempt(database, &contacts, &locked, rules, doubt).await? {
        RepairAttempt::Done(repaired) => Ok(Some(repaired)),
        RepairAttempt::ContactsChanged(concerned) => {
            locked = concerned;
            Ok(None)
        }
    })
    .await
}

enum RepairAttempt {
    Done(Repaired),
    /// The repair concerns contacts that it had not locked. Holds all contacts to lock.
    ContactsChanged(BTreeSet<ContactId>),
}

/// Runs one transaction. It locks every row concerned, then reads all of them again, and changes only locked rows.
///
/// The roots that the resolver locks are among these rows. Both lock in id order.
///
/// The locks show what came of commits whose answer did not come.
async fn attempt(
    database: &Database,
    contacts: &BTreeSet<ContactId>,
    locked: &BTreeSet<ContactId>,
    rules: Rules<'_>,
    doubt: &mut Doubt,
) -> Result<RepairAttempt, AttemptError> {
    let mut transaction = database.begin().await?;
    transaction.lock_contacts(locked).await?;
    let found = ConnectedContacts::read(&mut transaction, contacts, rules).await?;
    let concerned: BTreeSet<ContactId> = found.contacts.keys().copied().collect();
    if !transaction.is_exclusive() && !concerned.is_subset(locked) {
        return Ok(RepairAttempt::ContactsChanged(concerned));
    }
    let now = transaction.now();
    let Some(mut planned) = found.plan_repair(now) else {
        return Ok(RepairAttempt::Done(Repaired { repairs: doubt.take(), contacts: concerned }));
    };
    settle(doubt, &transaction, &planned.repairs);
    if transaction.must_write_what_it_locks() {
        let unwritten = locked - &planned.plan.written();
        planned.plan.touch_also(unwritten, None); // Its `updatedAt` is later than theirs already.
    }
    write(&mut transaction, &planned).await?;
    commit(transaction, doubt, planned.repairs).await?;
    Ok(RepairAttempt::Done(Repaired { repairs: doubt.take(), contacts: concerned }))
}

/// Settles the doubt if one of its changes is still needed, under the locks of this transaction.
///
/// Where a lock does not keep other servers of the cluster out, only a successful commit proves it.
fn settle(doubt: &mut Doubt, transaction: &DatabaseTransaction, needed: &[Repair]) {
    if !transaction.must_write_what_it_locks() {
        doubt.settle(needed);
    }
}

/// Takes an identifier from its owner, if the owner still has it and no live contact of its identity holds it. Returns
/// whether it did.
///
/// After a commit whose answer did not come: it did if the row is gone. If the row has another owner by now, this is
/// not counted as a change of this run.
///
/// # Errors
/// See [`until_done`].
pub(super) async fn release_identifier(
    database: &Database,
    kind: &str,
    value: &[u8],
    owner: ContactId,
) -> Result<bool, RepairError> {
    until_done(async |doubt| {
        let mut transaction = database.begin().await?;
        match transaction.release_identifier(kind, value, owner).await? {
            Release::Done => {
                let repairs = vec![Repair::Released { kind: kind.to_owned(), contact: owner.0 }];
                settle(doubt, &transaction, &repairs);
                commit(transaction, doubt, repairs).await?;
                Ok(Some(true))
            }
            Release::Absent => Ok(Some(doubt.exists())),
            Release::Kept => Ok(Some(false)),
        }
    })
    .await
}

/// Gives an ignored identifier back to its holder, in its canonical form. Returns what changed.
///
/// # Errors
/// See [`until_done`].
pub(super) async fn hold_again(
    database: &Database,
    holder: ContactId,
    kind: &'static str,
    region: Option<Region>,
) -> Result<Vec<Repair>, RepairError> {
    until_done(async |doubt| {
        let mut transaction = database.begin().await?;
        let (held, is_rewritten) = transaction.hold_again(holder, region).await?;
        let repairs = match held {
            _ if is_rewritten => vec![Repair::MadeCanonical { kind, contact: holder.0 }],
            Ignored::Already if doubt.exists() => return Ok(Some(doubt.take())),
            Ignored::Already => Vec::new(),
            Ignored::Free | Ignored::TakenFrom(_) => vec![Repair::Held { kind, contact: holder.0 }],
        };
        settle(doubt, &transaction, &repairs);
        commit(transaction, doubt, repairs.clone()).await?;
        Ok(Some(repairs))
    })
    .await
}

/// Repairs a row of `Evidence`. Returns what changed.
///
/// # Errors
/// See [`until_done`].
pub(super) async fn repair_evidence(
    database: &Database,
    id: i64,
    region: Option<Region>,
) -> Result<Vec<Repair>, RepairError> {
    until_done(async |doubt| {
        let mut transaction = database.begin().await?;
        let repairs = evidence_repairs(id, transaction.repair_evidence(id, region).await?);
        if repairs.is_empty() {
            return Ok(Some(doubt.take()));
        }
        settle(doubt, &transaction, &repairs);
        commit(transaction, doubt, repairs.clone()).await?;
        Ok(Some(repairs))
    })
    .await
}

/// Returns what [`repair_evidence`] would change. It is rolled back.
pub(super) async fn plan_evidence(
    database: &Database,
    id: i64,
    region: Option<Region>,
) -> Result<Vec<Repair>, StoreError> {
    let mut transaction = database.begin().await?;
    Ok(evidence_repairs(id, transaction.repair_evidence(id, region).await?))
}

fn evidence_repairs(evidence: i64, done: EvidenceRepair) -> Vec<Repair> {
    match done {
        EvidenceRepair::Kept => Vec::new(),
        EvidenceRepair::Deleted => vec![Repair::EvidenceDeleted { evidence }],
        EvidenceRepair::Replaced => vec![Repair::EvidenceReplaced { evidence }],
    }
}

async fn write(transaction: &mut DatabaseTransaction, planned: &RepairPlan) -> Result<(), StoreError> {
    let RepairPlan { plan, reassigned, rewrites, released, marks, .. } = planned;
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
    for kind in IdentifierKind::ALL {
        let contacts: Vec<_> =
            marks.iter().filter(|(_, marked)| *marked == kind).map(|(contact, _)| *contact).collect();
        transaction.mark(kind, &contacts, true, plan.updated_at).await?;
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
    rules: Rules<'_>,
) -> Result<Planned, StoreError> {
    let found = ConnectedContacts::read(database, &BTreeSet::from([contact]), rules).await?;
    Ok(Planned { plan: found.plan_repair(Timestamp(0)), contacts: found.contacts.into_keys().collect() })
}
