//! Lists of all identities.

use sea_orm::{ConnectionTrait, QueryResult};

use super::error::StoreError;
use super::flags;
use super::rows::{check_is_primary, query_or_check};
use super::sql::{Engine, ROWS_OF_A_WINDOW, WindowColumn};
use super::traits::RootWindow;
use crate::domain::ContactId;

/// Returns the next roots after this id, at most so many, among the rows of a window. It is one statement.
pub(super) async fn query_roots_after(
    connection: &impl ConnectionTrait,
    engine: Engine,
    after: Option<ContactId>,
    limit: usize,
) -> Result<RootWindow, StoreError> {
    let rows = query_or_check(connection, engine, engine.rows_after(id_before(after))).await?;
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

/// The id after which a list begins.
pub(super) fn id_before(after: Option<ContactId>) -> i64 {
    after.map_or(i64::MIN, |id| id.0)
}

/// Whether a row of [`Engine::rows_after`] is a root. Holders of ignored identifiers are none.
fn is_root(row: &QueryResult) -> Result<bool, StoreError> {
    let linked_to: Option<i64> = row.try_get_by_index(WindowColumn::LinkedId as usize)?;
    let flags = row.try_get_by_index::<Option<i16>>(WindowColumn::Flags as usize)?.unwrap_or_default();
    Ok(linked_to.unwrap_or_default() == 0 && flags & flags::HOLDER == 0)
}
