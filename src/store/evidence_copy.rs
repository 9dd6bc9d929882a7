//! The sets of merges that processes of older versions recorded: they wrote the cause of a merge, and no evidence.
//!
//! They are copied in pages, each in a transaction under the locks of the identities concerned, beside live traffic.
//! It is safe to stop, to repeat and to run from several processes: a set is stored once, by its key. An older process
//! may commit a merge after one with a higher id, so what is younger than [`SETTLED_AFTER`] is looked at again.

use std::collections::BTreeSet;

use chrono::NaiveDateTime;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, UpdateMany,
};

use super::clock::Clock;
use super::database::Database;
use super::entity::{adoption, contact_merge, evidence_state};
use super::error::{Cause, StoreError};
use super::rows::{from_naive, identifiers_from_json, to_naive};
use super::sql::Engine;
use super::traits::{ExpectedSize, IfNothing, MAX_LOOKUP, Store, Transaction};
use crate::domain::{
    ContactId, Identifier, NewEvidence, Plan, SetKey, Snapshot, StoredSets, Timestamp, is_of_one_request,
    sets_of_merges,
};

/// The id of the row of `EvidenceState`.
pub(super) const ID: i64 = 1;

/// Merges of one transaction.
const PAGE_SIZE: u64 = MAX_LOOKUP as u64 / 2;

/// A merge that is so old is seen by every later read: no transaction takes so long. In microseconds: an hour.
const SETTLED_AFTER: i64 = 3_600_000_000;

/// Attempts at a page that loses races.
const ATTEMPTS: u32 = 20;

/// What is known about the evidence as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvidenceState {
    /// The merges up to this id were copied.
    pub copied_merge_id: i64,
    /// From when on every set that was seen is stored. `None` if a process of an older version may have written since.
    pub complete_since: Option<Timestamp>,
}

/// Makes the row of a database whose tables this process has just made: its evidence is complete from now on.
///
/// # Errors
/// As every write.
pub(super) async fn insert_new_state(connection: &impl ConnectionTrait, engine: Engine) -> Result<(), DbErr> {
    // A migration that was undone by half, or applied by half, leaves the row.
    if evidence_state::Entity::find_by_id(ID).one(connection).await?.is_some() {
        return Ok(());
    }
    let now = match engine.clock_columns() {
        Some(columns) => {
            let sql = format!("SELECT {}", columns[0]);
            let row = connection.query_one_raw(engine.statement(sql, Vec::new())).await?;
            row.map(|row| row.try_get_by_index(0)).transpose()?
        }
        None => to_naive(Clock::of_this_process().now).ok(),
    };
    let row = evidence_state::ActiveModel { id: Set(ID), copied_merge_id: Set(0), complete_since: Set(now) };
    evidence_state::Entity::insert(row).exec_without_returning(connection).await.map(drop)
}

impl Database {
    /// Returns what is known about the evidence as a whole. Makes the row if there is none. Only
    /// the migration makes it for a new database: an older version can have made the tables, and serve from them.
    ///
    /// # Errors
    /// As every write.
    pub async fn evidence_state(&self) -> Result<EvidenceState, StoreError> {
        let connection = self.connection();
        loop {
            if let Some(row) = evidence_state::Entity::find_by_id(ID).one(&connection).await? {
                let complete_since = row.complete_since.map(from_naive);
                return Ok(EvidenceState { copied_merge_id: row.copied_merge_id, complete_since });
            }
            let row = evidence_state::ActiveModel { id: Set(ID), copied_merge_id: Set(0), complete_since: Set(None) };
            let inserted = evidence_state::Entity::insert(row).exec_without_returning(&connection).await;
            match inserted.map_err(StoreError::from) {
                Ok(_) | Err(StoreError::DuplicateKey(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Stores the sets of the merges that processes of older versions recorded. Returns how many were new. Does nothing
    /// if the evidence is complete.
    ///
    /// # Errors
    /// As every write. What was copied stays: the next run goes on from there.
    pub async fn copy_evidence_of_merges(&self) -> Result<usize, StoreError> {
        let state = self.evidence_state().await?;
        if state.complete_since.is_some() {
            return Ok(0);
        }
        let (mut after, mut copied) = (state.copied_merge_id.max(self.last_adopted_merge().await?), 0);
        let settled_before = self.begin().await?.now().0 - SETTLED_AFTER;
        let mut is_settled = true;
        loop {
            let page = page_of_merges(after, PAGE_SIZE).all(&self.connection()).await?;
            let Some(last) = page.last().map(|merge| merge.id) else { return Ok(copied) };
            // What a repair or an adoption joined has a mark, so that it is no list of identifiers.
            let causes = page.iter().filter_map(|merge| identifiers_from_json(&merge.cause));
            let causes: Vec<Vec<Identifier>> = causes.filter(|cause| is_of_one_request(cause)).collect();
            let mut parts = Parts::of(&causes);
            while let Some(part) = parts.next() {
                match self.copy_page(part).await {
                    Ok(count) => copied += count,
                    Err(error) => parts.halve(part, error)?,
                }
            }
            after = last;
            is_settled &= page.iter().all(|merge| from_naive(merge.created_at).0 < settled_before);
            if is_settled {
                copied_up_to(last).exec(&self.connection()).await?;
            }
        }
    }

    /// Records that no process of an older version runs any more: copies what those wrote meanwhile. From now on the
    /// evidence is complete. Returns since when it is.
    ///
    /// # Errors
    /// As [`Self::copy_evidence_of_merges`].
    pub async fn finish_evidence(&self) -> Result<Timestamp, StoreError> {
        let state = self.evidence_state().await?;
        if let Some(since) = state.complete_since {
            return Ok(since);
        }
        let now = self.begin().await?.now();
        self.copy_evidence_of_merges().await?;
        set_complete_since_if_unknown(to_naive(now)?).exec(&self.connection()).await?;
        Ok(self.evidence_state().await?.complete_since.unwrap_or(now))
    }

    /// The merges of an adoption have causes that were not seen in one observation: contacts carry all that was.
    async fn last_adopted_merge(&self) -> Result<i64, StoreError> {
        let row = adoption::Entity::find().one(&self.connection()).await?;
        Ok(row.map_or(0, |row| row.last_merge_id))
    }

    async fn copy_page(&self, causes: &[Vec<Identifier>]) -> Result<usize, StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.try_page(causes).await {
                Err(StoreError::LostRace(_) | StoreError::DuplicateKey(_)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(std::time::Duration::from_millis(fastrand::u64(5..50))).await;
                }
                done => return done,
            }
        }
    }

    async fn try_page(&self, causes: &[Vec<Identifier>]) -> Result<usize, StoreError> {
        let identifiers = distinct(causes.iter().flatten());
        let mut new = Vec::new();
        // Without a lock first: most causes have a contact that carries them, or were copied.
        for some in identifiers.chunks(MAX_LOOKUP) {
            let found = Store::find_identities(self, some, ExpectedSize::Usual, IfNothing::CheckServer).await?;
            let found = found.found.into_snapshot();
            new.extend(sets_of_merges(&found, causes));
        }
        let keys: Vec<SetKey> = new.iter().map(|(_, new)| new.key).collect();
        keep_unstored(&mut new, &self.stored_sets(&keys).await?);
        if new.is_empty() {
            return Ok(0);
        }
        let roots: BTreeSet<ContactId> = new.iter().map(|(root, _)| *root).collect();
        let mut transaction = self.begin().await?;
        let locked = transaction.lock_contacts(&roots).await?;
        let identifiers = distinct(new.iter().flat_map(|(_, new)| new.identifiers.iter()));
        let known = transaction.find_identities(&identifiers, ExpectedSize::Usual).await?.into_snapshot();
        let mut new = sets_of_merges(&known, causes);
        if !transaction.is_exclusive() && new.iter().any(|(root, _)| !roots.contains(root)) {
            return Err(StoreError::LostRace(Cause::new("an identity was merged")));
        }
        let keys: Vec<SetKey> = new.iter().map(|(_, new)| new.key).collect();
        keep_unstored(&mut new, &transaction.stored_evidence(&keys, &BTreeSet::new()).await?.sets);
        let touched: BTreeSet<ContactId> = new.iter().map(|(root, _)| *root).collect();
        let new: Vec<NewEvidence> = new.into_iter().map(|(_, new)| new).collect();
        let count = new.len();
        if count == 0 {
            return Ok(0);
        }
        let newest = newest_of(&known).max(locked.values().copied().flatten().max());
        let mut plan = Plan::from_evidence(new, touched.iter().copied(), transaction.now().after(newest));
        if transaction.must_write_what_it_locks() {
            plan.touch_also(&roots - &touched, None);
        }
        transaction.apply(&plan).await?;
        transaction.commit().await?;
        Ok(count)
    }
}

/// The next merges above an id, by id.
pub(super) fn page_of_merges(after: i64, limit: u64) -> Select<contact_merge::Entity> {
    use contact_merge::Column;
    contact_merge::Entity::find().filter(Column::Id.gt(after)).order_by_asc(Column::Id).limit(limit)
}

/// Says that the merges up to this id were copied.
pub(super) fn copied_up_to(merge: i64) -> UpdateMany<evidence_state::Entity> {
    evidence_state::Entity::update_many()
        .col_expr(evidence_state::Column::CopiedMergeId, Expr::value(merge))
        .filter(evidence_state::Column::Id.eq(ID))
        .filter(evidence_state::Column::CopiedMergeId.lt(merge))
}

/// Says that evidence is complete since this moment, unless it is known since when.
pub(super) fn set_complete_since_if_unknown(moment: NaiveDateTime) -> UpdateMany<evidence_state::Entity> {
    evidence_state::Entity::update_many()
        .col_expr(evidence_state::Column::CompleteSince, Expr::value(moment))
        .filter(evidence_state::Column::Id.eq(ID))
        .filter(evidence_state::Column::CompleteSince.is_null())
}

/// The parts of a page that are still to do. A part that takes too long is done in halves.
struct Parts<'a, T>(Vec<&'a [T]>);

impl<'a, T> Parts<'a, T> {
    fn of(all: &'a [T]) -> Self {
        Self(vec![all])
    }

    fn next(&mut self) -> Option<&'a [T]> {
        self.0.pop()
    }

    /// Takes back the halves of a part that took too long.
    ///
    /// # Errors
    /// The error of the part, if it is another one, or if the part cannot be halved.
    fn halve(&mut self, part: &'a [T], error: StoreError) -> Result<(), StoreError> {
        if !matches!(error, StoreError::TooSlow(_) | StoreError::CutShort(_)) || part.len() < 2 {
            return Err(error);
        }
        let (first, second) = part.split_at(part.len() / 2);
        self.0.extend([second, first]);
        Ok(())
    }
}

/// Leaves out the sets that are stored for the identities of these roots. A row that leads elsewhere is replaced.
pub(super) fn keep_unstored(new: &mut Vec<(ContactId, NewEvidence)>, stored: &StoredSets) {
    new.retain_mut(|(root, new)| {
        let row = stored.get(&new.key);
        new.replaces = row.is_some();
        row != Some(&Some(*root))
    });
}

/// Returns the latest `updatedAt` of these identities.
fn newest_of(known: &Snapshot) -> Option<Timestamp> {
    known.identities().iter().flat_map(|identity| identity.rows().map(|row| row.updated_at).max()).max()
}

fn distinct<'a>(identifiers: impl Iterator<Item = &'a Identifier>) -> Vec<Identifier> {
    identifiers.cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_too_slow_together_is_done_in_parts() {
        let all: Vec<usize> = (0..13).collect();
        let (mut parts, mut done) = (Parts::of(&all), Vec::new());
        while let Some(part) = parts.next() {
            match part.len() {
                0..=3 => done.extend_from_slice(part),
                _ => parts.halve(part, StoreError::TooSlow(Duration::ZERO)).unwrap(),
            }
        }
        assert_eq!(done, all, "each once, in order");
        let one = parts.halve(&all[..1], StoreError::CutShort(Cause::new("as planned")));
        assert!(matches!(one, Err(StoreError::CutShort(_))), "one that is too slow alone");
        assert!(parts.halve(&all, StoreError::Rejected(Cause::new("as planned"))).is_err());
    }
}
