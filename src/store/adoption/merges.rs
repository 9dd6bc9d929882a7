//! The joins that the other system did not have, as rows of `ContactMerge`.

use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter};

use serde::Deserialize;

use super::digest::TableDigest;
use super::row_chunks::{ROWS_PER_STATEMENT, statements};
use super::state::{AdoptionPhase, AdoptionRun};
use crate::domain::Timestamp;
use crate::domain::adoption::AdoptedMerge;
use crate::store::database::Database;
use crate::store::entity::contact_merge::{self, CauseIdentifier, Column, MergeCause};
use crate::store::error::StoreError;
use crate::store::evidence_copy::page_of_merges;
use crate::store::rows::to_naive;

/// A merge with its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMerge(contact_merge::Model);

impl StoredMerge {
    /// Returns the row of a merge.
    ///
    /// # Errors
    /// When the moment is out of range.
    pub fn new(id: i64, merge: AdoptedMerge, at: Timestamp) -> Result<Self, StoreError> {
        let identifiers = merge.identifiers.iter().map(|identifier| CauseIdentifier {
            kind: identifier.kind().name().to_owned(),
            value: identifier.value().to_owned(),
        });
        let link = merge.by_link.then(CauseIdentifier::link);
        Ok(Self(contact_merge::Model {
            id,
            survivor_id: merge.survivor,
            absorbed_id: merge.absorbed,
            cause: MergeCause(identifiers.chain(link).collect()),
            created_at: to_naive(at)?,
        }))
    }

    /// Returns the row of a merge that was exported: its own id, and those of the survivor and of the absorbed contact.
    /// `None` if the cause is no list of identifiers, or the moment is out of range.
    pub fn from_export(ids: (i64, i64, i64), cause: &serde_json::Value, at: Timestamp) -> Option<Self> {
        let (id, survivor_id, absorbed_id) = ids;
        let cause = MergeCause(Vec::<CauseIdentifier>::deserialize(cause).ok()?);
        Some(Self(contact_merge::Model { id, survivor_id, absorbed_id, cause, created_at: to_naive(at).ok()? }))
    }

    /// Returns its id.
    pub fn id(&self) -> i64 {
        self.0.id
    }

    /// About so many bytes of a statement.
    fn bytes(&self) -> usize {
        self.0.cause.0.iter().map(|identifier| 64 + identifier.value.len()).sum()
    }

    /// Adds it to a digest.
    pub(super) fn add_to(&self, digest: &mut TableDigest) {
        let contact_merge::Model { id, survivor_id, absorbed_id, cause, created_at } = &self.0;
        digest.numbers(&[*id, *survivor_id, *absorbed_id, created_at.and_utc().timestamp_micros()]);
        for identifier in &cause.0 {
            digest.text(Some(&identifier.kind));
            digest.text(Some(&identifier.value));
        }
    }
}

impl Database {
    /// Returns the merges after this id, by id.
    ///
    /// # Errors
    /// As every read.
    pub async fn adopted_merges(&self, after: i64, limit: u64) -> Result<Vec<StoredMerge>, StoreError> {
        let merges = page_of_merges(after, limit).all(&self.connection()).await?;
        Ok(merges.into_iter().map(StoredMerge).collect())
    }

    /// Deletes the merges from this id on up to the last that the adoption has written, in parts.
    ///
    /// # Errors
    /// As every write. Another run may have taken the adoption.
    pub async fn delete_merges_from(&self, run: &AdoptionRun, id: i64) -> Result<(), StoreError> {
        loop {
            let mut merges = self.adopted_merges(id - 1, ROWS_PER_STATEMENT as u64).await?;
            merges.retain(|merge| merge.id() <= run.last_merge_id);
            if merges.is_empty() {
                return Ok(());
            }
            let delete = async |transaction: &DatabaseTransaction| {
                let ids = merges.iter().map(StoredMerge::id);
                contact_merge::Entity::delete_many().filter(Column::Id.is_in(ids)).exec(transaction).await?;
                Ok(())
            };
            self.in_run(run, AdoptionPhase::Merges, id - 1, delete).await?;
        }
    }

    /// Inserts merges in one transaction, which also records the last id.
    ///
    /// # Errors
    /// As every write. Then nothing was written. Another run may have taken the adoption.
    pub async fn insert_adopted_merges(&self, run: &mut AdoptionRun, merges: &[StoredMerge]) -> Result<(), StoreError> {
        let Some(last) = merges.last() else { return Ok(()) };
        let insert = async |transaction: &DatabaseTransaction| {
            for rows in statements(merges, StoredMerge::bytes) {
                let rows = rows.iter().map(|merge| contact_merge::ActiveModel {
                    id: Set(merge.0.id),
                    survivor_id: Set(merge.0.survivor_id),
                    absorbed_id: Set(merge.0.absorbed_id),
                    cause: Set(merge.0.cause.clone()),
                    created_at: Set(merge.0.created_at),
                });
                contact_merge::Entity::insert_many(rows).exec_without_returning(transaction).await?;
            }
            Ok(())
        };
        run.last_merge_id = Ord::max(run.last_merge_id, last.id());
        self.in_run(run, AdoptionPhase::Merges, last.id(), insert).await
    }
}
