//! Who is to own which identifier, and who does.

use futures::TryStreamExt;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, StreamTrait,
};
use tokio::sync::mpsc::Sender;

use super::row_chunks::ROWS_PER_STATEMENT;
use super::state::{AdoptionPhase, AdoptionRun};
use crate::domain::IdentifierKind;
use crate::store::database::Database;
use crate::store::entity::identifier::{self, Column};
use crate::store::error::StoreError;
use crate::store::flags;
use crate::store::sql::{Engine, contact_column};

/// An identifier and its owner.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedIdentifier {
    /// The value. Personal data.
    pub value: Vec<u8>,
    /// The id of the contact.
    pub contact: i64,
}

/// A change of the owner of an identifier.
#[derive(Clone)]
pub enum IdentifierChange {
    /// It gets its first owner.
    Insert(OwnedIdentifier),
    /// It loses its owner.
    Delete(Vec<u8>),
}

/// The value and the owner of the next identifiers of a kind above this value, by value.
pub(super) fn page_of_identifiers(
    kind: IdentifierKind,
    after: Option<&[u8]>,
    limit: u64,
) -> Select<identifier::Entity> {
    let mut find = identifier::Entity::find()
        .select_only()
        .column(Column::Value)
        .column(Column::ContactId)
        .filter(Column::Kind.eq(kind.name()));
    if let Some(after) = after {
        find = find.filter(Column::Value.gt(after.to_vec()));
    }
    find.order_by_asc(Column::Kind).order_by_asc(Column::Value).limit(limit)
}

/// The columns of [`carried_sql`], in order.
#[derive(Clone, Copy)]
enum CarriedColumn {
    Value,
    ContactId,
}

/// The statement of [`Database::send_carried_identifiers`]. The columns are those of [`CarriedColumn`].
pub(super) fn carried_sql(engine: Engine, kind: IdentifierKind) -> String {
    let column = format!(r#""{}""#, contact_column(kind));
    let (value, shown) = (engine.bytes_of(&column), flags::ignored(kind));
    format!(
        r#"SELECT {value} AS v, "id" FROM "Contact" WHERE "deletedAt" IS NULL AND {column} IS NOT NULL
            AND "flags" & {shown} = 0 ORDER BY {value}, "createdAt", "id""#
    )
}

impl Database {
    /// Sends the value of this kind of each live contact, by value and age: the first of those with one value is to own
    /// it. The database sorts them, so that they are inserted in the order of the key.
    ///
    /// # Errors
    /// As every read.
    pub async fn send_carried_identifiers(
        &self,
        kind: IdentifierKind,
        receiver: Sender<Vec<OwnedIdentifier>>,
    ) -> Result<(), StoreError> {
        let engine = self.engine();
        let connection = self.connection();
        let mut rows = connection.stream_raw(engine.statement(carried_sql(engine, kind), Vec::new())).await?;
        let mut batch = Vec::with_capacity(ROWS_PER_STATEMENT);
        while let Some(row) = rows.try_next().await? {
            let value = row.try_get_by_index(CarriedColumn::Value as usize)?;
            let contact = row.try_get_by_index(CarriedColumn::ContactId as usize)?;
            batch.push(OwnedIdentifier { value, contact });
            if batch.len() == ROWS_PER_STATEMENT && receiver.send(std::mem::take(&mut batch)).await.is_err() {
                return Ok(()); // The receiver has failed, and says why.
            }
        }
        let _ = receiver.send(batch).await;
        Ok(())
    }

    /// Returns identifiers of a kind with their owners, by value, after this one.
    ///
    /// # Errors
    /// As every read.
    pub async fn owned_identifiers(
        &self,
        kind: IdentifierKind,
        after: Option<&[u8]>,
        limit: u64,
    ) -> Result<Vec<OwnedIdentifier>, StoreError> {
        let find = page_of_identifiers(kind, after, limit);
        let rows: Vec<(Vec<u8>, i64)> = find.into_tuple().all(&self.connection()).await?;
        Ok(rows.into_iter().map(|(value, contact)| OwnedIdentifier { value, contact }).collect())
    }

    /// Writes changes in one transaction, which also records how many identifiers are as they are to be.
    ///
    /// # Errors
    /// As every write. Then nothing was written. Another run may have taken the adoption.
    pub async fn write_owned_identifiers(
        &self,
        run: &AdoptionRun,
        kind: IdentifierKind,
        changes: &[IdentifierChange],
        progress: i64,
    ) -> Result<(), StoreError> {
        let (mut deleted, mut inserted) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                IdentifierChange::Delete(value) => deleted.push(value.clone()),
                IdentifierChange::Insert(owned) => inserted.push(identifier::ActiveModel {
                    kind: Set(kind.name().to_owned()),
                    value: Set(owned.value.clone()),
                    contact_id: Set(owned.contact),
                }),
            }
        }
        let write = async |transaction: &DatabaseTransaction| {
            for values in deleted.chunks(ROWS_PER_STATEMENT) {
                identifier::Entity::delete_many()
                    .filter(Column::Kind.eq(kind.name()))
                    .filter(Column::Value.is_in(values.iter().cloned()))
                    .exec(transaction)
                    .await?;
            }
            for rows in inserted.chunks(ROWS_PER_STATEMENT) {
                identifier::Entity::insert_many(rows.iter().cloned()).exec_without_returning(transaction).await?;
            }
            Ok(())
        };
        self.in_run(run, AdoptionPhase::Identifiers, progress, write).await
    }
}
