//! Which sets of identifiers have a row of table `Evidence`, found by their keys.

use sea_orm::sea_query::SelectStatement;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryResult, QuerySelect, QueryTrait, Statement, Value,
};

use super::entity::evidence::{self, Column};
use super::error::{Cause, StoreError};
use super::rows::check_is_primary;
use super::sql::Engine;
use super::traits::MAX_LOOKUP;
use crate::domain::{ContactId, SetKey, StoredSets};

/// Returns those of these sets that have a row. A statement takes [`MAX_LOOKUP`] of them.
pub(super) async fn query_stored_sets(
    connection: &impl ConnectionTrait,
    engine: Engine,
    sets: &[SetKey],
) -> Result<StoredSets, StoreError> {
    let mut stored = StoredSets::new();
    for some in sets.chunks(MAX_LOOKUP) {
        for row in &connection.query_all_raw(stored_sets(engine, some)).await? {
            check_is_primary(engine, row, StoredSetColumn::ReadOnly as usize)?;
            let root: Option<i64> = row.try_get_by_index(StoredSetColumn::Root as usize)?;
            stored.insert(key_from_row(row, StoredSetColumn::SetKey as usize)?, root.map(ContactId));
        }
    }
    Ok(stored)
}

/// The columns of [`stored_sets`], in order.
#[derive(Clone, Copy)]
enum StoredSetColumn {
    SetKey,
    /// The id by which the identity of the contact is found, if the contact exists.
    Root,
    /// Only where [`Engine::read_only_column`] has one.
    ReadOnly,
}

/// The statement of [`query_stored_sets`]. The keys are parameters, of few different numbers. The columns are those of
/// [`StoredSetColumn`].
pub(super) fn stored_sets(engine: Engine, sets: &[SetKey]) -> Statement {
    let last = sets.last().into_iter().cycle();
    let keys = sets.iter().chain(last).take(sets.len().next_power_of_two());
    let params: Vec<Value> = keys.map(|key| key.as_bytes().to_vec().into()).collect();
    let columns = engine.with_read_only_column(r#"e."setKey", COALESCE(c."linkedId", c."id")"#);
    let (force, marks) = (engine.force_index("Evidence_setKey"), vec!["?"; params.len()].join(", "));
    let contacts = engine.contact_join()("c", "id", r#"e."contactId""#, None);
    let sql = format!(
        r#"SELECT {columns} FROM "Evidence" e {force}
            {contacts} WHERE e."setKey" IN ({marks})"#
    );
    engine.statement(sql, params)
}

/// Returns the ids of the rows of these sets, by set. A set without a row is left out.
pub(super) async fn query_ids_of_sets(
    connection: &impl ConnectionTrait,
    sets: &[SetKey],
) -> Result<Vec<(SetKey, i64)>, StoreError> {
    let mut ids = Vec::with_capacity(sets.len());
    for some in sets.chunks(MAX_LOOKUP) {
        for row in connection.query_all(&ids_of_sets(some)).await? {
            let key = key_from_row(&row, SetIdColumn::SetKey as usize)?;
            ids.push((key, row.try_get_by_index(SetIdColumn::Id as usize)?));
        }
    }
    Ok(ids)
}

/// The columns of [`ids_of_sets`], in order.
#[derive(Clone, Copy)]
enum SetIdColumn {
    Id,
    SetKey,
}

/// The statement of [`query_ids_of_sets`]. The columns are those of [`SetIdColumn`].
pub(super) fn ids_of_sets(sets: &[SetKey]) -> SelectStatement {
    let keys = sets.iter().map(|set| set.as_bytes().to_vec());
    let find = evidence::Entity::find().select_only().columns([Column::Id, Column::SetKey]);
    find.filter(Column::SetKey.is_in(keys)).into_query()
}

/// The key of a set, in this column.
fn key_from_row(row: &QueryResult, column: usize) -> Result<SetKey, StoreError> {
    let bytes: Vec<u8> = row.try_get_by_index(column)?;
    let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| StoreError::Rejected(Cause::new("a setKey")))?;
    Ok(SetKey::from_stored(bytes))
}
