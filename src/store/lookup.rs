//! Reading identities by their identifiers.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, QueryResult};
use tokio::task::yield_now;

use super::error::StoreError;
use super::rows::{LookupRow, identities_from_rows, query_or_check};
use super::sql::{Engine, LookupColumn, lookup_limit};
use super::traits::{ExpectedSize, FoundIdentities, MAX_LOOKUP};
use crate::domain::{ContactId, Identifier, Identity};

/// After so many rows of one result, other tasks run: an identity can have any number of contacts.
pub(super) const ROWS_AT_ONCE: usize = 256;

/// Returns the identities that own any of these identifiers, and which are ignored. A statement takes [`MAX_LOOKUP`]
/// of them.
///
/// The statement for identities of the usual size has a limit of rows. Where its result is not complete, the statement
/// for large ones reads the same identifiers again, unless there is one that the others should not wait for.
pub(super) async fn query_identities(
    connection: &impl ConnectionTrait,
    engine: Engine,
    identifiers: &[Identifier],
    size: ExpectedSize,
) -> Result<FoundIdentities, StoreError> {
    let mut rows = Vec::new();
    for some in identifiers.chunks(MAX_LOOKUP) {
        if size != ExpectedSize::Large {
            let (statement, contacts) = engine.lookup(some);
            let found = connection.query_all_raw(statement).await?;
            if found.len() < lookup_limit(some.len()) {
                add_rows(&mut rows, engine, &found, contacts).await?;
                continue;
            }
            if size == ExpectedSize::NotLarge
                && let Some(root) = largest_root(&found)?
            {
                return Err(StoreError::OneIsLarge(root));
            }
        }
        add_rows(&mut rows, engine, &connection.query_all_raw(engine.lookup_large(some)).await?, 1).await?;
    }
    Ok(identities_from_rows(rows))
}

/// Returns the root of the identity that most rows of a look-up are about, if they are a quarter of all.
fn largest_root(found: &[QueryResult]) -> Result<Option<ContactId>, StoreError> {
    let mut rows: BTreeMap<i64, usize> = BTreeMap::new();
    for row in found {
        let id: Option<i64> = row.try_get_by_index(LookupColumn::Id as usize)?;
        let linked: Option<i64> = row.try_get_by_index(LookupColumn::LinkedId as usize)?;
        if let Some(root) = linked.or(id) {
            *rows.entry(root).or_default() += 1;
        }
    }
    let largest = rows.into_iter().max_by_key(|(_, rows)| *rows).filter(|(_, rows)| *rows >= found.len() / 4);
    Ok(largest.map(|(root, _)| ContactId(root)))
}

/// Returns the identities of these roots, at most [`MAX_LOOKUP`]. `size` is for the limit of rows, as in
/// [`query_identities`].
pub(super) async fn query_identities_of(
    connection: &impl ConnectionTrait,
    engine: Engine,
    roots: &[ContactId],
    size: ExpectedSize,
) -> Result<Vec<Identity>, StoreError> {
    let ids: Vec<i64> = roots.iter().map(|root| root.0).collect();
    let mut rows = Vec::new();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    if size == ExpectedSize::NotLarge {
        let limit = lookup_limit(ids.len());
        let found = query_or_check(connection, engine, engine.contacts_of(&ids, Some(limit))).await?;
        if found.len() < limit {
            add_rows(&mut rows, engine, &found, 1).await?;
            return Ok(identities_from_rows(rows).identities);
        }
        if let Some(root) = largest_root(&found)? {
            return Err(StoreError::OneIsLarge(root));
        }
    }
    let found = query_or_check(connection, engine, engine.contacts_of(&ids, None)).await?;
    add_rows(&mut rows, engine, &found, 1).await?;
    Ok(identities_from_rows(rows).identities)
}

/// Adds the contacts of these rows, each of which has so many.
async fn add_rows(
    rows: &mut Vec<LookupRow>,
    engine: Engine,
    found: &[QueryResult],
    contacts: usize,
) -> Result<(), StoreError> {
    for some in found.chunks(ROWS_AT_ONCE) {
        if !rows.is_empty() {
            yield_now().await;
        }
        for row in some {
            LookupRow::add(rows, engine, row, contacts)?;
        }
    }
    Ok(())
}
