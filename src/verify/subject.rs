//! The rows that can be damaged, one at a time.

use std::collections::BTreeSet;

use super::repair_plan::Repair;
use super::{Finding, check, repair};
use crate::domain::ContactId;
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
    /// What is wrong with it now.
    pub(super) async fn findings(&self, database: &Database) -> Result<Vec<Finding>, StoreError> {
        Ok(match self {
            Self::Contact(id) => {
                database.audit_contacts(Rows::Only(*id)).await?.iter().flat_map(check::contact).collect()
            }
            Self::Identifier(kind, value) => {
                let row = database.audit_identifier(kind, value).await?;
                row.as_ref().and_then(check::identifier).into_iter().collect()
            }
            Self::Merge(id) => database.audit_merges(Rows::Only(*id)).await?.iter().flat_map(check::merge).collect(),
        })
    }

    /// Puts right what can be; what was done.
    pub(super) async fn mend(&self, database: &Database) -> Result<Vec<Repair>, StoreError> {
        match self {
            Self::Contact(id) => repair::mend(database, &BTreeSet::from([ContactId(*id)])).await,
            Self::Identifier(kind, value) => mend_identifier(database, kind, value).await,
            // Who was meant, or who took the merge back, stands nowhere.
            Self::Merge(_) => Ok(Vec::new()),
        }
    }
}

/// The owner's identity first: a live contact of it may carry the identifier, and gets it. Contacts of other
/// identities that carry it got it when contacts were gone through.
async fn mend_identifier(database: &Database, kind: &str, value: &[u8]) -> Result<Vec<Repair>, StoreError> {
    let Some(row) = database.audit_identifier(kind, value).await? else { return Ok(Vec::new()) };
    let owner = row.owner.id;
    let mut repairs = repair::mend(database, &BTreeSet::from([owner])).await?;
    let left = database.audit_identifier(kind, value).await?;
    let is_left = left.is_some_and(|row| row.owner.id == owner && check::identifier(&row).is_some());
    // Only the row that was seen: the service may have given the identifier a new owner by now.
    if is_left && database.release(kind, value, owner).await? {
        repairs.push(Repair::Released { kind: kind.to_owned(), contact: owner.0 });
    }
    Ok(repairs)
}
