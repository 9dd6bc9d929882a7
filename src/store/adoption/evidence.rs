//! The sets of an export that no contact carries, as rows of `Evidence`.

use std::collections::BTreeSet;

use chrono::NaiveDateTime;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, UpdateMany,
};

use super::digest::TableDigest;
use super::row_chunks::statements;
use super::state::{AdoptionPhase, AdoptionRun};
use crate::domain::{EvidenceOrigin, Identifier, SetKey, Timestamp};
use crate::store::database::Database;
use crate::store::entity::evidence::{self, Column};
use crate::store::entity::evidence_state;
use crate::store::error::StoreError;
use crate::store::evidence_copy::ID;
use crate::store::rows::{identifiers_to_json, to_naive};
use crate::store::stored_sets::query_stored_sets;
use crate::store::traits::Transaction;

/// A set with its id and its contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedSet(evidence::Model);

impl AdoptedSet {
    /// Returns the row of a set: its own id, and that of a contact of its identity.
    ///
    /// # Errors
    /// When the moment is out of range.
    pub fn new(
        (id, contact): (i64, i64),
        origin: EvidenceOrigin,
        identifiers: &[Identifier],
        at: Timestamp,
    ) -> Result<Self, StoreError> {
        Ok(Self(evidence::Model {
            id,
            set_key: SetKey::of(identifiers).as_bytes().to_vec(),
            contact_id: contact,
            origin: origin.name().to_owned(),
            identifiers: identifiers_to_json(identifiers),
            created_at: to_naive(at)?,
            retracted_by: None,
        }))
    }

    /// Returns its id.
    pub fn id(&self) -> i64 {
        self.0.id
    }

    /// About so many bytes of a statement.
    fn bytes(&self) -> usize {
        64 + self.0.identifiers.0.iter().map(|identifier| 64 + identifier.value.len()).sum::<usize>()
    }

    /// Adds it to a digest.
    pub(super) fn add_to(&self, digest: &mut TableDigest) {
        let row = &self.0;
        let retracted = row.retracted_by.unwrap_or(0);
        digest.numbers(&[row.id, row.contact_id, row.created_at.and_utc().timestamp_micros(), retracted]);
        digest.bytes(Some(&row.set_key));
        digest.text(Some(&row.origin));
        for identifier in &row.identifiers.0 {
            digest.text(Some(&identifier.kind));
            digest.text(Some(&identifier.value));
        }
    }
}

/// The next sets above an id, by id.
pub(super) fn page_of_sets(after: i64, limit: u64) -> Select<evidence::Entity> {
    evidence::Entity::find().filter(Column::Id.gt(after)).order_by_asc(Column::Id).limit(limit)
}

/// Says that evidence is complete from this moment on. A moment that is not known stays unknown: a null is never less.
pub(super) fn move_complete_since_forward(now: NaiveDateTime) -> UpdateMany<evidence_state::Entity> {
    let since = evidence_state::Column::CompleteSince;
    let update = evidence_state::Entity::update_many().col_expr(since, Expr::value(now));
    update.filter(evidence_state::Column::Id.eq(ID)).filter(since.lt(now))
}

impl Database {
    /// Records that evidence is complete from now on, unless it is not known since when it is. The other system had
    /// none, or it is not known since when.
    ///
    /// # Errors
    /// As every write. Another run may have taken the adoption.
    pub async fn begin_evidence(&self, run: &AdoptionRun) -> Result<(), StoreError> {
        self.in_run_with_clock(run, async |transaction| {
            let update = move_complete_since_forward(to_naive(transaction.now())?);
            update.exec(&transaction.transaction).await?;
            Ok(())
        })
        .await
    }

    /// Returns the sets after this id, by id.
    ///
    /// # Errors
    /// As every read.
    pub async fn adopted_sets(&self, after: i64, limit: u64) -> Result<Vec<AdoptedSet>, StoreError> {
        Ok(page_of_sets(after, limit).all(&self.connection()).await?.into_iter().map(AdoptedSet).collect())
    }

    /// Inserts those of these sets that are not stored yet, in one transaction.
    ///
    /// # Errors
    /// As every write. Then nothing was written. Another run may have taken the adoption.
    pub async fn insert_adopted_sets(&self, run: &AdoptionRun, sets: &[AdoptedSet]) -> Result<(), StoreError> {
        let keys = sets.iter().filter_map(|set| <[u8; 16]>::try_from(&set.0.set_key[..]).ok());
        let keys: Vec<SetKey> = keys.map(SetKey::from_stored).collect();
        let stored = query_stored_sets(&self.connection(), self.engine(), &keys).await?;
        let mut stored: BTreeSet<Vec<u8>> = stored.keys().map(|key| key.as_bytes().to_vec()).collect();
        // By other rules two sets of the file can be one.
        let new: Vec<AdoptedSet> = sets.iter().filter(|set| stored.insert(set.0.set_key.clone())).cloned().collect();
        let Some(last) = new.last() else { return Ok(()) };
        let insert = async |transaction: &DatabaseTransaction| {
            for rows in statements(&new, AdoptedSet::bytes) {
                let rows = rows.iter().map(|set| evidence::ActiveModel {
                    id: Set(set.0.id),
                    set_key: Set(set.0.set_key.clone()),
                    contact_id: Set(set.0.contact_id),
                    origin: Set(set.0.origin.clone()),
                    identifiers: Set(set.0.identifiers.clone()),
                    created_at: Set(set.0.created_at),
                    retracted_by: Set(None),
                });
                evidence::Entity::insert_many(rows).exec_without_returning(transaction).await?;
            }
            Ok(())
        };
        self.in_run(run, AdoptionPhase::Merges, last.id(), insert).await
    }
}
