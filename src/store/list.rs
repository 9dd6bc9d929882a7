//! Lists of all identities, and locks for reads where several servers take writes.

use sea_orm::{ConnectionTrait, Statement};

use super::error::StoreError;
use super::rows::check_is_primary;
use super::sql::Engine;
use super::traits::MAX_LOOKUP;
use crate::domain::{ContactId, Identifier};

/// Returns the next roots after this id, at most so many, in the order of their ids. It is one statement.
pub(super) async fn query_roots_after(
    connection: &impl ConnectionTrait,
    engine: Engine,
    after: Option<ContactId>,
    limit: usize,
) -> Result<Vec<ContactId>, StoreError> {
    query_roots(connection, engine, engine.roots_after(first(after), limit)).await
}

/// Does the same, and locks the rows in id order until the transaction ends.
pub(super) async fn lock_roots_after(
    connection: &impl ConnectionTrait,
    engine: Engine,
    after: Option<ContactId>,
    limit: usize,
) -> Result<Vec<ContactId>, StoreError> {
    query_roots(connection, engine, engine.lock_roots_after(first(after), limit)).await
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

async fn query_roots(
    connection: &impl ConnectionTrait,
    engine: Engine,
    statement: Statement,
) -> Result<Vec<ContactId>, StoreError> {
    let mut roots = Vec::new();
    for row in &connection.query_all_raw(statement).await? {
        check_is_primary(engine, row, 1)?;
        roots.push(ContactId(row.try_get_by_index(0)?));
    }
    Ok(roots)
}
