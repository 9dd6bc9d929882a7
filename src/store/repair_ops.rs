//! What a repair needs of a transaction beside what the resolver does.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, EntityTrait, QueryFilter, QueryTrait};

use super::audit::{self, Owner, StoredContact};
use super::entity::identifier::{self, Column};
use super::{Database, DatabaseTransaction, Store, StoreError, Transaction, write};
use crate::domain::{ContactId, Identifier};

impl DatabaseTransaction {
    /// Contacts, deleted ones too, that have one of these ids, or whose link names one.
    ///
    /// # Errors
    /// As every read.
    pub async fn linked(&mut self, ids: &BTreeSet<ContactId>) -> Result<Vec<StoredContact>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.lease.bounded(audit::linked(&self.transaction, &ids)).await
    }

    /// Who owns these identifiers, as far as somebody does.
    ///
    /// # Errors
    /// As every read.
    pub async fn owners(&mut self, identifiers: &[Identifier]) -> Result<BTreeMap<Identifier, Owner>, StoreError> {
        self.lease.bounded(audit::owners(&self.transaction, identifiers)).await
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
            .filter(write::owned_by(identifier.kind().name(), identifier.value().as_bytes(), from.0))
            .into_query();
        self.lease.bounded(self.transaction.execute(&update)).await.map(drop)
    }
}

impl Database {
    /// Removes an `Identifier` row, if it still names this contact, and no live contact of its identity carries the
    /// identifier by now; whether it did. The identity's root is locked and written, as for every change.
    ///
    /// # Errors
    /// As every write.
    pub async fn release(&self, kind: &str, value: &[u8], owner: ContactId) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let found = transaction.linked(&BTreeSet::from([owner])).await?;
        let root = found.iter().find(|contact| contact.id == owner).map_or(owner, StoredContact::root);
        let roots = BTreeSet::from([root]);
        transaction.lock_contacts(&roots).await?;
        let now = transaction.now().await?;
        let contacts = transaction.linked(&roots).await?;
        let carries = |contact: &StoredContact| {
            let mut carried = contact.identifiers.iter();
            carried.any(|carried| carried.kind().name() == kind && carried.value().as_bytes() == value)
        };
        if contacts.iter().any(|contact| !contact.is_deleted && carries(contact)) {
            return Ok(false);
        }
        let at = now.after(contacts.iter().map(|contact| contact.updated_at).max());
        let release = async {
            let is_released = write::release_one(&transaction.transaction, kind, value, owner.0).await?;
            write::touch(&transaction.transaction, &[root], at).await?;
            Ok::<_, StoreError>(is_released)
        };
        let is_released = transaction.lease.bounded_with_lock(release).await?;
        transaction.commit().await?;
        Ok(is_released)
    }
}
