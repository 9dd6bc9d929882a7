//! Locking rows: of contacts, of the roots of a list, and of identifiers.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDateTime;
use sea_orm::sea_query::extension::mysql::{IndexHintScope, MySqlSelectStatementExt};
use sea_orm::sea_query::{Expr, LockBehavior, LockType, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait};

use super::clock::Clock;
use super::entity::contact::{self, Column};
use super::error::{Cause, StoreError};
use super::list::{id_before, query_roots_after};
use super::rows::{check_is_primary, moment};
use super::sql::{Engine, LockedRootColumn, padded_ids};
use super::traits::{MAX_LOOKUP, RootWindow};
use crate::domain::{ContactId, Identifier, Timestamp};

/// What the locked rows say.
pub(super) struct LockedRows {
    /// `updatedAt` of each existing row, `None` if it is soft-deleted or linked to another one.
    pub(super) updated_at: BTreeMap<ContactId, Option<Timestamp>>,
    /// The latest `updatedAt`, also of soft-deleted rows.
    pub(super) newest: Option<Timestamp>,
    /// The clock, if there was any row. It may be as old as the wait for the locks.
    pub(super) clock: Option<Clock>,
}

/// The columns of [`lock_rows`], in order. Those of the clock follow.
#[derive(Clone, Copy)]
enum LockColumn {
    Id,
    UpdatedAt,
    DeletedAt,
    LinkedId,
    Clock,
}

/// Locks these rows in id order until the transaction ends. Where one transaction at a time writes, it only reads them.
pub(super) async fn lock_contact_rows(
    connection: &impl ConnectionTrait,
    engine: Engine,
    ids: &[i64],
) -> Result<LockedRows, StoreError> {
    let mut locked = LockedRows { updated_at: BTreeMap::new(), newest: None, clock: None };
    for piece in ids.chunks(MAX_LOOKUP) {
        for row in &connection.query_all(&lock_rows(engine, piece)).await? {
            let id = ContactId(row.try_get_by_index(LockColumn::Id as usize)?);
            let updated_at = moment(row, LockColumn::UpdatedAt as usize)?;
            let updated_at = updated_at.ok_or_else(|| StoreError::Rejected(Cause::new("no updatedAt")))?;
            let deleted_at: Option<NaiveDateTime> = row.try_get_by_index(LockColumn::DeletedAt as usize)?;
            let linked_to: Option<i64> = row.try_get_by_index(LockColumn::LinkedId as usize)?;
            let is_live_root = deleted_at.is_none() && linked_to.is_none();
            locked.newest = locked.newest.max(Some(updated_at));
            locked.updated_at.insert(id, is_live_root.then_some(updated_at));
            locked.clock = Some(Clock::from_row(engine, row, LockColumn::Clock as usize)?);
        }
    }
    Ok(locked)
}

/// Returns those of these contacts whose rows exist and are locked by another transaction. Locks the others.
pub(super) async fn locked_by_others(
    connection: &impl ConnectionTrait,
    engine: Engine,
    ids: &[i64],
) -> Result<BTreeSet<ContactId>, StoreError> {
    let mut locked = BTreeSet::new();
    for piece in ids.chunks(MAX_LOOKUP) {
        let free = connection.query_all(&lock_free_rows(engine, piece)).await?;
        for row in &connection.query_all(&existing_rows(piece)).await? {
            locked.insert(ContactId(row.try_get_by_index(0)?));
        }
        for row in &free {
            locked.remove(&ContactId(row.try_get_by_index(LockColumn::Id as usize)?));
        }
    }
    Ok(locked)
}

/// Does what [`query_roots_after`] does, and locks the roots in id order until the transaction ends.
///
/// Rows that this server lacks can follow the last one that it shows. So without a next window the locks have no end.
pub(super) async fn lock_roots_after(
    connection: &impl ConnectionTrait,
    engine: Engine,
    after: Option<ContactId>,
    limit: usize,
) -> Result<RootWindow, StoreError> {
    let RootWindow { next, .. } = query_roots_after(connection, engine, after, limit).await?;
    let up_to = next.map_or(i64::MAX, |next| next.0);
    let mut roots = Vec::new();
    for row in &connection.query_all_raw(engine.lock_roots_after(id_before(after), up_to, limit)).await? {
        check_is_primary(engine, row, LockedRootColumn::ReadOnly as usize)?;
        roots.push(ContactId(row.try_get_by_index(LockedRootColumn::Id as usize)?));
    }
    let next = if roots.len() == limit { roots.last().copied() } else { next };
    Ok(RootWindow { roots, next })
}

/// Locks the rows of these identifiers until the transaction ends.
pub(super) async fn lock_identifiers(
    connection: &impl ConnectionTrait,
    engine: Engine,
    identifiers: &[Identifier],
) -> Result<(), StoreError> {
    for some in identifiers.chunks(MAX_LOOKUP) {
        if let Some(statement) = engine.lock_identifiers(some) {
            connection.query_all_raw(statement).await?;
        }
    }
    Ok(())
}

/// The statement of [`lock_contact_rows`].
pub(super) fn lock_rows(engine: Engine, ids: &[i64]) -> SelectStatement {
    let mut select = Query::select();
    select.columns([Column::Id, Column::UpdatedAt, Column::DeletedAt, Column::LinkedId]);
    for column in engine.clock_columns().unwrap_or_default() {
        select.expr(Expr::cust(*column));
    }
    select.from(contact::Entity).and_where(Column::Id.is_in(padded_ids(ids)));
    select.order_by(Column::Id, sea_orm::Order::Asc);
    if !engine.has_one_writer() {
        select.lock_exclusive();
    }
    match engine {
        // On a small table it would scan, and wait for rows that it does not need.
        Engine::Mysql | Engine::Mariadb => {
            select.force_index("PRIMARY", IndexHintScope::All);
        }
        Engine::Postgres | Engine::Sqlite => {}
    }
    select
}

/// The same for rows that nobody has locked.
pub(super) fn lock_free_rows(engine: Engine, ids: &[i64]) -> SelectStatement {
    lock_rows(engine, ids).lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).take()
}

/// The ids of these contacts that exist.
pub(super) fn existing_rows(ids: &[i64]) -> SelectStatement {
    let all = contact::Entity::find().select_only().column(Column::Id).filter(Column::Id.is_in(padded_ids(ids)));
    all.into_query()
}
