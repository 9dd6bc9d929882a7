//! Lists of all identities, and locks for reads where several servers take writes.

use sea_orm::{ConnectionTrait, QueryResult};

use super::error::StoreError;
use super::flags;
use super::rows::{check_is_primary, check_takes_writes};
use super::sql::{Engine, LockedRootColumn, ROWS_OF_A_WINDOW, WindowColumn};
use super::traits::{MAX_LOOKUP, RootWindow};
use crate::domain::{ContactId, Identifier};

/// Returns the next roots after this id, at most so many, among the rows of a window. It is one statement.
pub(super) async fn query_roots_after(
    connection: &impl ConnectionTrait,
    engine: Engine,
    after: Option<ContactId>,
    limit: usize,
) -> Result<RootWindow, StoreError> {
    let rows = connection.query_all_raw(engine.rows_after(first(after))).await?;
    if rows.is_empty() {
        check_takes_writes(connection, engine).await?;
    }
    let (mut roots, mut last) = (Vec::new(), None);
    for row in &rows {
        check_is_primary(engine, row, WindowColumn::ReadOnly as usize)?;
        let id = ContactId(row.try_get_by_index(WindowColumn::Id as usize)?);
        if is_root(row)? {
            if roots.len() == limit {
                return Ok(RootWindow { roots, next: last });
            }
            roots.push(id);
        }
        last = Some(id);
    }
    Ok(RootWindow { roots, next: last.filter(|_| rows.len() == ROWS_OF_A_WINDOW) })
}

/// Does the same, and locks the roots in id order until the transaction ends.
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
    for row in &connection.query_all_raw(engine.lock_roots_after(first(after), up_to, limit)).await? {
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

/// The id after which a list begins.
fn first(after: Option<ContactId>) -> i64 {
    after.map_or(i64::MIN, |id| id.0)
}

/// Whether a row of [`Engine::rows_after`] is a root. Holders of ignored identifiers are none.
fn is_root(row: &QueryResult) -> Result<bool, StoreError> {
    let linked_to: Option<i64> = row.try_get_by_index(WindowColumn::LinkedId as usize)?;
    let flags = row.try_get_by_index::<Option<i16>>(WindowColumn::Flags as usize)?.unwrap_or_default();
    Ok(linked_to.unwrap_or_default() == 0 && flags & flags::HOLDER == 0)
}
