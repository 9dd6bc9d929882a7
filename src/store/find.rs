//! LookupResult identities.

use sea_orm::ConnectionTrait;

use super::convert::{COLUMNS, Row, from_columns, identities, moment, row};
use super::{MAX_LOOKUP, StoreError, dialect};
use crate::domain::{Identifier, Identity};

/// The identities that own any of these identifiers, [`MAX_LOOKUP`] of them a statement.
pub(super) async fn find(
    connection: &impl ConnectionTrait,
    identifiers: &[Identifier],
) -> Result<Vec<Identity>, StoreError> {
    let backend = connection.get_database_backend();
    let mut rows: Vec<Row> = Vec::new();
    for some in identifiers.chunks(MAX_LOOKUP) {
        for found in &connection.query_all_raw(dialect::find(backend, some)).await? {
            dialect::check_is_primary(backend, found, COLUMNS)?;
            rows.push(row(found)?);
        }
    }
    Ok(identities(rows))
}

/// An `Identifier` row that points at a contact that is gone, deleted, or does not carry the identifier.
pub(super) struct Orphan {
    pub(super) identifier: Identifier,
    pub(super) contact: i64,
    /// Of the contact, if it is there.
    pub(super) root: Option<i64>,
}

/// Which of these identifiers have such a row.
pub(super) async fn orphans(
    connection: &impl ConnectionTrait,
    identifiers: &[Identifier],
) -> Result<Vec<Orphan>, StoreError> {
    let backend = connection.get_database_backend();
    let mut orphans = Vec::new();
    for some in identifiers.chunks(MAX_LOOKUP) {
        for row in &connection.query_all_raw(dialect::owners(backend, some)).await? {
            let (kind, value): (String, Vec<u8>) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            let is_deleted = moment(row, 4)?.is_some();
            let carried = from_columns(row.try_get_by_index(2)?, row.try_get_by_index(3)?);
            let owned = some
                .iter()
                .find(|identifier| identifier.kind().name() == kind && identifier.value().as_bytes() == value);
            if let Some(identifier) = owned
                && (is_deleted || !carried.contains(identifier))
            {
                let (contact, root) = (row.try_get_by_index(5)?, row.try_get_by_index(6)?);
                orphans.push(Orphan { identifier: identifier.clone(), contact, root });
            }
        }
    }
    Ok(orphans)
}
