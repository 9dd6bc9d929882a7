//! What a repair needs of a transaction beside what the resolver does.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryTrait};

use super::entity::identifier::{self, Column};
use super::inspect::{self, Owner, StoredContact};
use super::{Database, DatabaseTransaction, StoreError};
use crate::domain::{ContactId, Identifier};

impl DatabaseTransaction {
    /// Contacts, deleted ones too, that have one of these ids, or whose link names one.
    ///
    /// # Errors
    /// As every read.
    pub async fn linked(&mut self, ids: &BTreeSet<ContactId>) -> Result<Vec<StoredContact>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.lease.bounded(inspect::linked(&self.transaction, &ids)).await
    }

    /// Who owns these identifiers, as far as somebody does.
    ///
    /// # Errors
    /// As every read.
    pub async fn owners(&mut self, identifiers: &[Identifier]) -> Result<BTreeMap<Identifier, Owner>, StoreError> {
        self.lease.bounded(inspect::owners(&self.transaction, identifiers)).await
    }

    /// Gives an identifier to another contact, if this one still has it.
    ///
    /// # Errors
    /// As every write.
    pub async fn reassign(
        &mut self,
        identifier: &Identifier,
        from: ContactId,
        to: ContactId,
    ) -> Result<(), StoreError> {
        let update = identifier::Entity::update_many()
            .col_expr(Column::ContactId, to.0.into())
            .filter(Column::Kind.eq(identifier.kind().name()))
            .filter(Column::Value.eq(identifier.value().as_bytes().to_vec()))
            .filter(Column::ContactId.eq(from.0))
            .into_query();
        self.lease.bounded(self.transaction.execute(&update)).await.map(drop)
    }
}

impl Database {
    /// Removes an `Identifier` row, if it still names this contact; whether it did.
    ///
    /// # Errors
    /// As every write.
    pub async fn release(&self, kind: &str, value: &[u8], owner: ContactId) -> Result<bool, StoreError> {
        let delete = identifier::Entity::delete_many()
            .filter(Column::Kind.eq(kind))
            .filter(Column::Value.eq(value.to_vec()))
            .filter(Column::ContactId.eq(owner.0))
            .into_query();
        let lease = self.pool.lease().await?;
        let done = lease.bounded(lease.connection().execute(&delete)).await?;
        Ok(done.rows_affected() == 1)
    }
}
