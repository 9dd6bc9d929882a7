//! Rows of `Identifier` whose contact no longer carries the identifier, and how such a row is deleted.

use std::collections::BTreeSet;

use sea_orm::sea_query::DeleteStatement;
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryResult, QueryTrait};

use super::entity::identifier;
use super::error::StoreError;
use super::evidence;
use super::flags;
use super::lock;
use super::rows::{from_columns, moment};
use super::sql::{Engine, OwnerColumn};
use super::traits::MAX_LOOKUP;
use super::write::touch;
use crate::domain::{ContactId, Identifier, Timestamp};

/// An `Identifier` row whose contact is gone, is soft-deleted, or does not carry the identifier. Not that of an ignored
/// one, although the row that it names is soft-deleted.
pub(super) struct Orphan {
    pub(super) identifier: Identifier,
    pub(super) contact: i64,
    /// The root of the contact, if the contact exists.
    pub(super) root: Option<i64>,
}

/// Returns those of these identifiers that have such a row.
pub(super) async fn query_orphans(
    connection: &impl ConnectionTrait,
    engine: Engine,
    identifiers: &[Identifier],
) -> Result<Vec<Orphan>, StoreError> {
    let mut orphans = Vec::new();
    for some in identifiers.chunks(MAX_LOOKUP) {
        for row in &connection.query_all_raw(engine.owners(some)).await? {
            orphans.extend(orphan_from_row(row, some)?);
        }
    }
    Ok(orphans)
}

/// The orphan in a row of [`Engine::owners`], if the row is one.
fn orphan_from_row(row: &QueryResult, identifiers: &[Identifier]) -> Result<Option<Orphan>, StoreError> {
    let kind: String = row.try_get_by_index(OwnerColumn::Kind as usize)?;
    let value: Vec<u8> = row.try_get_by_index(OwnerColumn::Value as usize)?;
    let is_deleted = moment(row, OwnerColumn::DeletedAt as usize)?.is_some();
    let email = row.try_get_by_index(OwnerColumn::Email as usize)?;
    let phone = row.try_get_by_index(OwnerColumn::PhoneNumber as usize)?;
    let owned = identifiers
        .iter()
        .find(|identifier| identifier.kind().name() == kind && identifier.value().as_bytes() == value);
    let Some(identifier) = owned else { return Ok(None) };
    let flags = row.try_get_by_index::<Option<i16>>(OwnerColumn::Flags as usize)?.unwrap_or_default();
    let is_holder = flags & flags::HOLDER != 0;
    let (carried, _) = flags::split(from_columns(email, phone), flags);
    if (is_holder || !is_deleted) && carried.contains(identifier) {
        return Ok(None);
    }
    Ok(Some(Orphan {
        identifier: identifier.clone(),
        contact: row.try_get_by_index(OwnerColumn::ContactId as usize)?,
        root: row.try_get_by_index(OwnerColumn::Root as usize)?,
    }))
}

/// Deletes these rows, and the sets with their identifiers, and writes the rows of their roots: an earlier read of the
/// identities is stale now.
///
/// The transaction need not know those identities, so their versions are read here, under a lock: a version only rises.
pub(super) async fn delete_orphans(
    connection: &impl ConnectionTrait,
    engine: Engine,
    orphans: &[Orphan],
    at: Timestamp,
) -> Result<(), StoreError> {
    let roots: BTreeSet<i64> = orphans.iter().filter_map(|orphan| orphan.root).collect();
    let roots: Vec<i64> = roots.into_iter().collect();
    let newest =
        if roots.is_empty() { None } else { lock::lock_contact_rows(connection, engine, &roots).await?.newest };
    for Orphan { identifier, contact, .. } in orphans {
        delete_if_owned(connection, identifier.kind().name(), identifier.value().as_bytes(), *contact).await?;
    }
    let is_freed = |kind: &str, value: &str| {
        orphans.iter().any(|orphan| orphan.identifier.kind().name() == kind && orphan.identifier.value() == value)
    };
    evidence::delete_sets_with(connection, engine, &roots, is_freed).await?;
    touch(connection, &roots.into_iter().map(ContactId).collect::<Vec<_>>(), at.after(newest)).await
}

/// Deletes the row of an identifier if this contact owns it: another transaction may have given it a new owner.
/// Returns whether there was one.
pub(super) async fn delete_if_owned(
    connection: &impl ConnectionTrait,
    kind: &str,
    value: &[u8],
    contact: i64,
) -> Result<bool, DbErr> {
    Ok(connection.execute(&delete_owned(kind, value, contact)).await?.rows_affected() == 1)
}

/// The statement of [`delete_if_owned`].
pub(super) fn delete_owned(kind: &str, value: &[u8], contact: i64) -> DeleteStatement {
    identifier::Entity::delete_many().filter(owned_by(kind, value, contact)).into_query()
}

/// The row of an identifier, if this contact owns it.
pub(super) fn owned_by(kind: &str, value: &[u8], contact: i64) -> Condition {
    Condition::all()
        .add(identifier::Column::Kind.eq(kind))
        .add(identifier::Column::Value.eq(value.to_vec()))
        .add(identifier::Column::ContactId.eq(contact))
}
