//! Inserting the rows that hold ignored identifiers.

use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, Statement};

use super::entity::contact::{self, LinkPrecedence};
use super::error::{Cause, StoreError};
use super::flags;
use super::pieces::pieces;
use super::rows::{to_columns, to_naive};
use super::sql::Engine;
use super::traits::MAX_LOOKUP;
use super::write;
use crate::domain::{ContactId, Identifier, Timestamp};

/// Inserts rows of `Contact`. Each has an identifier and [`HOLDER`](flags::HOLDER), and is deleted from the start.
/// Returns their ids, in order.
///
/// `id_step` is that of the [`Clock`](super::clock::Clock).
pub(super) async fn insert_holders(
    connection: &impl ConnectionTrait,
    engine: Engine,
    identifiers: &[Identifier],
    at: Timestamp,
    id_step: i64,
) -> Result<Vec<ContactId>, StoreError> {
    let mut ids = Vec::with_capacity(identifiers.len());
    let largest = if id_step == 0 { 1 } else { MAX_LOOKUP };
    for piece in identifiers.chunks(largest).flat_map(pieces) {
        ids.extend(write::run_insert(connection, engine, holder_rows(engine, piece, at)?, piece.len(), id_step).await?);
    }
    if ids.len() == identifiers.len() {
        Ok(ids)
    } else {
        Err(StoreError::Rejected(Cause::new("a row was not inserted")))
    }
}

/// The statement of [`insert_holders`].
pub(super) fn holder_rows(engine: Engine, identifiers: &[Identifier], at: Timestamp) -> Result<Statement, StoreError> {
    let at = to_naive(at)?;
    let row = |identifier: &Identifier| {
        let (email, phone_number) = to_columns(std::slice::from_ref(identifier));
        contact::ActiveModel {
            email: Set(email),
            phone_number: Set(phone_number),
            link_precedence: Set(LinkPrecedence::Primary),
            created_at: Set(at),
            updated_at: Set(at),
            deleted_at: Set(Some(at)),
            flags: Set(flags::HOLDER),
            ..Default::default()
        }
    };
    Ok(write::insert_contact_rows(engine, identifiers.iter().map(row).collect()))
}
