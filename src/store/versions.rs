//! Reading the versions of identities: the rows of roots, and of identifiers with their roots.

use sea_orm::{ConnectionTrait, QueryResult};

use super::error::{Cause, StoreError};
use super::flags;
use super::rows::{check_is_primary, from_columns, moment, query_or_check};
use super::sql::{Engine, OwnerRowColumn, RootRowColumn};
use crate::domain::{ContactId, Identifier, IdentifierKind, OwnerRow, RootRow};

/// Returns the rows of these contacts that exist. It is one statement.
pub(super) async fn query_root_rows(
    connection: &impl ConnectionTrait,
    engine: Engine,
    roots: &[ContactId],
) -> Result<Vec<RootRow>, StoreError> {
    let ids: Vec<i64> = roots.iter().map(|root| root.0).collect();
    let mut rows = Vec::with_capacity(ids.len());
    for row in &connection.query_all_raw(engine.root_rows(&ids)).await? {
        check_is_primary(engine, row, RootRowColumn::ReadOnly as usize)?;
        rows.extend(root_row(row, 0)?);
    }
    Ok(rows)
}

/// Returns the rows of these identifiers that name a contact which exists. It is one statement.
pub(super) async fn query_owner_rows(
    connection: &impl ConnectionTrait,
    engine: Engine,
    identifiers: &[Identifier],
) -> Result<Vec<OwnerRow>, StoreError> {
    let found = query_or_check(connection, engine, engine.owner_rows(identifiers)).await?;
    let mut rows = Vec::with_capacity(found.len());
    for row in &found {
        check_is_primary(engine, row, OwnerRowColumn::ReadOnly as usize)?;
        rows.extend(owner_row(row)?);
    }
    Ok(rows)
}

/// The row of a root whose columns, those of [`RootRowColumn`], begin at this position. `None` if it does not exist.
fn root_row(row: &QueryResult, first: usize) -> Result<Option<RootRow>, StoreError> {
    let Some(id) = row.try_get_by_index::<Option<i64>>(first + RootRowColumn::Id as usize)? else { return Ok(None) };
    let updated_at = moment(row, first + RootRowColumn::UpdatedAt as usize)?;
    let linked_to: Option<i64> = row.try_get_by_index(first + RootRowColumn::LinkedId as usize)?;
    Ok(Some(RootRow {
        id: ContactId(id),
        updated_at: updated_at.ok_or_else(|| StoreError::Rejected(Cause::new("no updatedAt")))?,
        is_deleted: moment(row, first + RootRowColumn::DeletedAt as usize)?.is_some(),
        linked_to: linked_to.map(ContactId),
    }))
}

/// `None` if the contact does not exist, or if the kind is none of this version.
fn owner_row(row: &QueryResult) -> Result<Option<OwnerRow>, StoreError> {
    let contact: Option<i64> = row.try_get_by_index(OwnerRowColumn::ContactId as usize)?;
    let kind: String = row.try_get_by_index(OwnerRowColumn::Kind as usize)?;
    let value: Vec<u8> = row.try_get_by_index(OwnerRowColumn::Value as usize)?;
    let kind = IdentifierKind::ALL.into_iter().find(|known| known.name() == kind);
    let (Some(contact), Some(kind), Ok(value)) = (contact, kind, String::from_utf8(value)) else { return Ok(None) };
    let flags = row.try_get_by_index::<Option<i16>>(OwnerRowColumn::Flags as usize)?.unwrap_or_default();
    let identifier = Identifier::from_stored(kind, value);
    let email = row.try_get_by_index(OwnerRowColumn::Email as usize)?;
    let phone = row.try_get_by_index(OwnerRowColumn::PhoneNumber as usize)?;
    let is_ignored = flags & flags::HOLDER != 0 && from_columns(email, phone).contains(&identifier);
    Ok(Some(OwnerRow {
        identifier,
        contact: ContactId(contact),
        is_deleted: moment(row, OwnerRowColumn::DeletedAt as usize)?.is_some(),
        is_ignored,
        root: root_row(row, OwnerRowColumn::Root as usize)?,
    }))
}
