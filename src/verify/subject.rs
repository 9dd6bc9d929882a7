//! One row that may be damaged: how to check it again, how to repair it, and what a repair would do.

use std::collections::BTreeSet;

use super::check::{check_contact, check_identifier, check_merge};
use super::finding::Finding;
use super::repair::{plan_repair, repair_contacts};
use super::repair_plan::RepairPlan;
use super::repairs::Repair;
use crate::domain::{ContactId, Region};
use crate::store::audit::Rows;
use crate::store::{Database, StoreError};

/// A row, by its key.
#[derive(Debug)]
pub(super) enum Subject {
    Contact(i64),
    /// Kind and value.
    Identifier(String, Vec<u8>),
    Merge(i64),
}

impl Subject {
    /// Reads the row again and returns what is wrong with it now.
    pub(super) async fn findings(
        &self,
        database: &Database,
        region: Option<Region>,
    ) -> Result<Vec<Finding>, StoreError> {
        Ok(match self {
            Self::Contact(id) => {
                let rows = database.audit_contacts(Rows::Only(*id)).await?;
                rows.iter().flat_map(|row| check_contact(row, region)).collect()
            }
            Self::Identifier(kind, value) => {
                let row = database.audit_identifier(kind, value).await?;
                row.as_ref().and_then(check_identifier).into_iter().collect()
            }
            Self::Merge(id) => database.audit_merges(Rows::Only(*id)).await?.iter().flat_map(check_merge).collect(),
        })
    }

    /// Repairs the row, if there is only one way to do so. Returns what it changed.
    pub(super) async fn repair(&self, database: &Database, region: Option<Region>) -> Result<Vec<Repair>, StoreError> {
        match self {
            Self::Contact(id) => repair_contacts(database, &BTreeSet::from([ContactId(*id)]), region).await,
            Self::Identifier(kind, value) => repair_identifier(database, kind, value, region).await,
            // The tables do not say which contact was meant, or why the merge was undone.
            Self::Merge(_) => Ok(Vec::new()),
        }
    }

    /// Returns what [`Subject::repair`] would change. Changes nothing.
    pub(super) async fn plan(&self, database: &Database, region: Option<Region>) -> Result<Vec<Repair>, StoreError> {
        match self {
            Self::Contact(id) => {
                let plan = plan_repair(database, &BTreeSet::from([ContactId(*id)]), region).await?;
                Ok(plan.map(|plan| plan.repairs).unwrap_or_default())
            }
            Self::Identifier(kind, value) => plan_identifier(database, kind, value, region).await,
            Self::Merge(_) => Ok(Vec::new()),
        }
    }
}

/// Repairs the owner's identity first: one of its live contacts may carry the identifier and becomes its owner.
///
/// Contacts of other identities that carry the identifier got it already: `verify` checks contacts first.
async fn repair_identifier(
    database: &Database,
    kind: &str,
    value: &[u8],
    region: Option<Region>,
) -> Result<Vec<Repair>, StoreError> {
    let Some(row) = database.audit_identifier(kind, value).await? else { return Ok(Vec::new()) };
    let owner = row.owner.id;
    let mut repairs = repair_contacts(database, &BTreeSet::from([owner]), region).await?;
    let left = database.audit_identifier(kind, value).await?;
    let is_left = left.is_some_and(|row| row.owner.id == owner && check_identifier(&row).is_some());
    // Releases only the row that was read: the service may have given the identifier a new owner by now.
    if is_left && database.release(kind, value, owner).await? {
        repairs.push(Repair::Released { kind: kind.to_owned(), contact: owner.0 });
    }
    Ok(repairs)
}

async fn plan_identifier(
    database: &Database,
    kind: &str,
    value: &[u8],
    region: Option<Region>,
) -> Result<Vec<Repair>, StoreError> {
    let Some(row) = database.audit_identifier(kind, value).await? else { return Ok(Vec::new()) };
    let owner = row.owner.id;
    let plan = plan_repair(database, &BTreeSet::from([owner]), region).await?;
    let is_settled = plan.as_ref().is_some_and(|plan| plan.settles(kind, value));
    let mut repairs = plan.map(|RepairPlan { repairs, .. }| repairs).unwrap_or_default();
    if !is_settled {
        repairs.push(Repair::Released { kind: kind.to_owned(), contact: owner.0 });
    }
    Ok(repairs)
}
