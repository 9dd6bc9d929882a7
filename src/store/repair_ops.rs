//! What a repair needs of a transaction beyond [`Transaction`].

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{Alias, Query, UpdateStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryTrait, Select};

use super::audit::{self, Owner, StoredContact};
use super::database::{Database, DatabaseTransaction};
use super::entity::contact;
use super::entity::identifier::{self, Column};
use super::error::StoreError;
use super::evidence;
use super::orphans;
use super::rows::to_naive;
use super::sql::contact_column;
use super::traits::Transaction;
use super::write;
use crate::domain::{ContactId, Identifier, IdentifierKind, Timestamp};

/// What came of [`DatabaseTransaction::release_identifier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The row was deleted.
    Done,
    /// There is no such row.
    Absent,
    /// The row names another contact, or a live contact holds the identifier.
    Kept,
}

impl DatabaseTransaction {
    /// Returns the contacts that have one of these ids or link to one, soft-deleted ones included.
    ///
    /// # Errors
    /// As every read.
    pub async fn query_linked(&mut self, ids: &BTreeSet<ContactId>) -> Result<Vec<StoredContact>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        self.lease.bounded(audit::query_linked(&self.transaction, self.lease.engine(), &ids)).await
    }

    /// Returns the owner of each of these identifiers that has one.
    ///
    /// # Errors
    /// As every read.
    pub async fn query_owners(
        &mut self,
        identifiers: &[Identifier],
    ) -> Result<BTreeMap<Identifier, Owner>, StoreError> {
        self.lease.bounded(audit::query_owners(&self.transaction, self.lease.engine(), identifiers)).await
    }

    /// Gives an identifier to another contact, if this one still owns it.
    ///
    /// # Errors
    /// As every write.
    pub async fn reassign(
        &mut self,
        identifier: &Identifier,
        from: ContactId,
        to: ContactId,
    ) -> Result<(), StoreError> {
        let update = reassign_row(identifier, from, to);
        self.lease.bounded(self.transaction.execute(&update)).await.map(drop)
    }

    /// Deletes the row of an identifier, if this contact still owns it.
    ///
    /// # Errors
    /// As every write.
    pub async fn disown(&mut self, identifier: &Identifier, owner: ContactId) -> Result<(), StoreError> {
        let (kind, value) = (identifier.kind().name(), identifier.value().as_bytes());
        self.lease.bounded(orphans::delete_if_owned(&self.transaction, kind, value, owner.0)).await.map(drop)
    }

    /// Deletes an `Identifier` row if it still names this contact and no live contact of its identity holds the
    /// identifier. Locks and writes the root of the identity, as every change does.
    ///
    /// # Errors
    /// As every write.
    pub async fn release_identifier(
        &mut self,
        kind: &str,
        value: &[u8],
        owner: ContactId,
    ) -> Result<Release, StoreError> {
        let found = self.query_linked(&BTreeSet::from([owner])).await?;
        let root = found.iter().find(|contact| contact.id == owner).map_or(owner, StoredContact::root);
        let roots = BTreeSet::from([root]);
        self.lock_contacts(&roots).await?;
        let now = self.now();
        let contacts = self.query_linked(&roots).await?;
        let holds = |contact: &StoredContact| {
            let mut held = contact.identifiers.iter();
            held.any(|held| held.kind().name() == kind && held.value().as_bytes() == value)
        };
        if contacts.iter().any(|contact| !contact.is_deleted && holds(contact)) {
            return Ok(Release::Kept);
        }
        let at = now.after(contacts.iter().map(|contact| contact.updated_at).max());
        let release = async {
            if orphans::delete_if_owned(&self.transaction, kind, value, owner.0).await? {
                let is_freed = |one: &str, freed: &str| one == kind && freed.as_bytes() == value;
                let engine = self.lease.engine();
                evidence::delete_sets_with(&self.transaction, engine, &[root.0], is_freed).await?;
                write::touch(&self.transaction, &[root], at).await?;
                return Ok::<_, StoreError>(Release::Done);
            }
            let row = identifier_row(kind, value).one(&self.transaction).await?;
            Ok(if row.is_none() { Release::Absent } else { Release::Kept })
        };
        self.lease.bounded_with_lock(release).await
    }

    /// Replaces the value that a contact holds in the column of this kind. `None` becomes NULL.
    ///
    /// # Errors
    /// As every write.
    pub async fn rewrite(
        &mut self,
        contact: ContactId,
        kind: IdentifierKind,
        value: Option<&Identifier>,
        updated_at: Timestamp,
    ) -> Result<(), StoreError> {
        let update = rewrite_row(contact, kind, value, updated_at)?;
        self.lease.bounded(self.transaction.execute(&update)).await.map(drop)
    }
}

/// The statement of [`DatabaseTransaction::reassign`].
pub(super) fn reassign_row(identifier: &Identifier, from: ContactId, to: ContactId) -> UpdateStatement {
    identifier::Entity::update_many()
        .col_expr(Column::ContactId, to.0.into())
        .filter(orphans::owned_by(identifier.kind().name(), identifier.value().as_bytes(), from.0))
        .into_query()
}

/// The row of an identifier.
pub(super) fn identifier_row(kind: &str, value: &[u8]) -> Select<identifier::Entity> {
    identifier::Entity::find().filter(Column::Kind.eq(kind)).filter(Column::Value.eq(value.to_vec()))
}

/// The statement of [`DatabaseTransaction::rewrite`].
pub(super) fn rewrite_row(
    contact: ContactId,
    kind: IdentifierKind,
    value: Option<&Identifier>,
    updated_at: Timestamp,
) -> Result<UpdateStatement, StoreError> {
    let mut update = Query::update();
    update
        .table(contact::Entity)
        .value(Alias::new(contact_column(kind)), value.map(|value| value.value().to_owned()))
        .value(contact::Column::UpdatedAt, to_naive(updated_at)?)
        .and_where(contact::Column::Id.eq(contact.0));
    Ok(update)
}

impl Database {
    /// Returns the contacts that have one of these ids or link to one, soft-deleted ones included.
    ///
    /// # Errors
    /// As every read.
    pub async fn query_linked(&self, ids: &BTreeSet<ContactId>) -> Result<Vec<StoredContact>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
        let lease = self.pool.lease().await?;
        let read = async { audit::query_linked(&lease.connected().take().await?, lease.engine(), &ids).await };
        lease.bounded(read).await
    }

    /// Returns the owner of each of these identifiers that has one.
    ///
    /// # Errors
    /// As every read.
    pub async fn query_owners(&self, identifiers: &[Identifier]) -> Result<BTreeMap<Identifier, Owner>, StoreError> {
        let lease = self.pool.lease().await?;
        let read = async { audit::query_owners(&lease.connected().take().await?, lease.engine(), identifiers).await };
        lease.bounded(read).await
    }
}
