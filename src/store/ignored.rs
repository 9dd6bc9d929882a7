//! Identifiers that join nobody: ignoring them, letting them count again, and listing them.
//!
//! Every change writes the root of the identity concerned with a later `updatedAt`, under its lock, as every change of
//! an identity does. So a copy in the memory of any replica is no longer used: see `domain/copies.rs`.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::ConnectionTrait;

use super::audit::{self, Owner, StoredContact};
use super::database::DatabaseTransaction;
use super::error::{Cause, StoreError};
use super::flagged::{self, Showing};
use super::holder;
use super::orphans;
use super::repair_ops::reassign_row;
use super::rows::moment;
use super::traits::{MAX_LOOKUP, Transaction};
use super::write;
use crate::domain::{ContactId, Identifier, IdentifierKind, Region, StoredForm, Timestamp};

/// The result of [`DatabaseTransaction::ignore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It is ignored from now on. Nobody owned it.
    Free,
    /// It is ignored from now on. The identity of this root owned it.
    TakenFrom(ContactId),
    /// It was ignored already.
    Already,
}

/// The result of [`DatabaseTransaction::stop_ignoring`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLongerIgnored {
    /// It counts again. Nobody owns it.
    Free,
    /// It counts again, and this contact owns it.
    GivenTo(ContactId),
    /// It was not ignored.
    WasNot,
}

/// Other transactions changed what this one read. It has to start over.
fn lost_race() -> StoreError {
    StoreError::LostRace(Cause::new("the owner of an identifier changed"))
}

impl DatabaseTransaction {
    /// Ignores an identifier: nobody is joined by it once the transaction has committed. The contacts of its owner show
    /// it from then on, and do not carry it.
    ///
    /// # Errors
    /// As every write. After [`StoreError::LostRace`] and [`StoreError::DuplicateKey`] the transaction has to start
    /// over.
    pub async fn ignore(&mut self, identifier: &Identifier) -> Result<Ignored, StoreError> {
        self.hold(identifier, None).await
    }

    /// Ignores the identifier of a holder again, after somebody has freed it, in its canonical form: the rules or the
    /// phone region may have changed. Returns also whether the form was another one.
    ///
    /// # Errors
    /// As [`Self::ignore`].
    pub async fn hold_again(
        &mut self,
        holder: ContactId,
        region: Option<Region>,
    ) -> Result<(Ignored, bool), StoreError> {
        let Some((row, stored)) = self.holder_row(holder).await? else { return Ok((Ignored::Already, false)) };
        let StoredForm::NotCanonical(canonical) = stored.stored_form(region) else {
            return Ok((self.hold(&stored, Some(&row)).await?, false));
        };
        let done = self.hold(&canonical, Some(&row)).await?;
        let owned = |owner: &Owner| owner.id == holder;
        if self.owner(&stored).await?.as_ref().is_some_and(owned) {
            let (kind, value) = (stored.kind().name(), stored.value().as_bytes());
            self.bounded_write(orphans::delete_if_owned(&self.transaction, kind, value, holder.0)).await?;
        }
        if self.owner(&canonical).await?.as_ref().is_some_and(owned) {
            let at = self.now().after(Some(row.updated_at)).next();
            self.rewrite(holder, canonical.kind(), Some(&canonical), at).await?;
        }
        Ok((done, true))
    }

    /// Gives the identifier to a holder: this one, or a new one. It locks all rows concerned at once, in the order of
    /// their ids, as every transaction does.
    async fn hold(&mut self, identifier: &Identifier, holder: Option<&StoredContact>) -> Result<Ignored, StoreError> {
        let owner = self.owner(identifier).await?;
        let is_held = owner.as_ref().is_some_and(Owner::is_holder);
        let root = owner.as_ref().filter(|_| !is_held).map(root_of);
        let holder = holder.filter(|holder| owner.as_ref().is_none_or(|owner| !is_held || owner.id != holder.id));
        let locked: BTreeSet<ContactId> = root.into_iter().chain(holder.map(|holder| holder.id)).collect();
        let found = if locked.is_empty() { BTreeMap::new() } else { self.lock_contacts(&locked).await? };
        if !locked.is_empty() {
            let again = self.owner(identifier).await?;
            let place = |owner: &Owner| (owner.id, root_of(owner), owner.is_holder());
            if again.as_ref().map(place) != owner.as_ref().map(place) {
                return Err(lost_race());
            }
        }
        if let Some(holder) = holder
            && self.holder_row(holder.id).await?.is_none_or(|(row, _)| row.identifiers != holder.identifiers)
        {
            return Err(lost_race());
        }
        if is_held {
            if let Some(surplus) = holder {
                self.empty_holder(surplus).await?;
            }
            return Ok(Ignored::Already);
        }
        let newest = match root {
            Some(root) => self.query_newest_update(root).await?,
            None => None,
        };
        let at = self.now().after(newest.max(holder.map(|row| row.updated_at)));
        let holder = match holder {
            Some(holder) => {
                self.bounded_write(write::touch(&self.transaction, &[holder.id], at)).await?;
                holder.id
            }
            None => self.insert_holders(std::slice::from_ref(identifier), at).await?[0],
        };
        let (Some(owner), Some(root)) = (owner, root) else {
            let owned = vec![(identifier, holder)];
            self.bounded_write(write::insert_identifiers(&self.transaction, self.lease.engine(), owned)).await?;
            return Ok(Ignored::Free);
        };
        if !self.give(identifier, owner.id, holder).await? {
            return Err(lost_race());
        }
        let carriers = self.query_contacts_with_value(root, identifier, false).await?;
        self.mark(identifier.kind(), &carriers, true, at).await?;
        self.touch_root(root, found.contains_key(&root), at).await?;
        Ok(Ignored::TakenFrom(root))
    }

    /// Writes the root of an identity, under its lock. If there is no such row, the oldest live contact stands in.
    async fn touch_root(&mut self, root: ContactId, is_there: bool, at: Timestamp) -> Result<(), StoreError> {
        let touched = if is_there {
            Some(root)
        } else {
            let rows = self.query_linked(&BTreeSet::from([root])).await?;
            rows.iter().filter(|row| !row.is_deleted).min_by_key(|row| row.age()).map(|row| row.id)
        };
        self.bounded_write(write::touch(&self.transaction, &Vec::from_iter(touched), at)).await
    }

    /// Ignores identifiers that nobody owns, in few statements. For a load of many rows.
    ///
    /// # Errors
    /// As every write. [`StoreError::DuplicateKey`] if one of them has an owner, or is ignored already.
    pub async fn ignore_free(&mut self, identifiers: &[Identifier], at: Timestamp) -> Result<(), StoreError> {
        let holders = self.insert_holders(identifiers, at).await?;
        let owned = identifiers.iter().zip(holders).collect();
        self.bounded_write(write::insert_identifiers(&self.transaction, self.lease.engine(), owned)).await
    }

    /// Lets an identifier count again. What shows or holds it is from [`Database::showing`](super::Database::showing):
    /// the oldest contact becomes the owner, and all contacts of its identity carry it again. No holder is left, also
    /// none whose identifier somebody has freed.
    ///
    /// # Errors
    /// As every write. After [`StoreError::LostRace`] and [`StoreError::DuplicateKey`] that has to be found again.
    pub async fn stop_ignoring(
        &mut self,
        identifier: &Identifier,
        showing: &Showing,
    ) -> Result<NoLongerIgnored, StoreError> {
        let owner = self.owner(identifier).await?;
        let holder = owner.as_ref().filter(|owner| owner.is_holder()).map(|owner| owner.id);
        let holders: BTreeSet<ContactId> = showing.holders.iter().copied().chain(holder).collect();
        if holders.is_empty() {
            return Ok(NoLongerIgnored::WasNot);
        }
        let is_free = owner.is_none() || holder.is_some();
        let oldest = showing.oldest.filter(|_| is_free);
        let root = match oldest {
            Some(oldest) => Some(self.root_of_showing(oldest, identifier).await?.ok_or_else(lost_race)?),
            None => None,
        };
        let locked = holders.iter().copied().chain(root).collect();
        let found = self.lock_contacts(&locked).await?;
        let again = self.owner(identifier).await?;
        if again.as_ref().map(|owner| owner.id) != owner.as_ref().map(|owner| owner.id) {
            return Err(lost_race());
        }
        if let Some(oldest) = oldest
            && self.root_of_showing(oldest, identifier).await? != root
        {
            return Err(lost_race());
        }
        let mut newest = None;
        for holder in holders {
            match self.holder_row(holder).await? {
                Some((row, held)) if held == *identifier => {
                    newest = newest.max(Some(row.updated_at));
                    self.empty_holder(&row).await?;
                }
                _ => return Err(lost_race()),
            }
        }
        let (Some(oldest), Some(root)) = (oldest, root) else {
            if let Some(holder) = holder {
                let (kind, value) = (identifier.kind().name(), identifier.value().as_bytes());
                self.bounded_write(orphans::delete_if_owned(&self.transaction, kind, value, holder.0)).await?;
            }
            let rightful = owner.filter(|owner| owner.rightful_root().is_some());
            return Ok(rightful.map_or(NoLongerIgnored::Free, |owner| NoLongerIgnored::GivenTo(owner.id)));
        };
        let Some(holder) = holder else {
            let owned = vec![(identifier, oldest)];
            self.bounded_write(write::insert_identifiers(&self.transaction, self.lease.engine(), owned)).await?;
            return self.carry_again(identifier, oldest, root, (newest, found.contains_key(&root))).await;
        };
        if !self.give(identifier, holder, oldest).await? {
            return Err(lost_race());
        }
        self.carry_again(identifier, oldest, root, (newest, found.contains_key(&root))).await
    }

    /// Lets all contacts of an identity carry an identifier again that they show.
    async fn carry_again(
        &mut self,
        identifier: &Identifier,
        oldest: ContactId,
        root: ContactId,
        (newest, is_there): (Option<Timestamp>, bool),
    ) -> Result<NoLongerIgnored, StoreError> {
        let newest = newest.max(self.query_newest_update(root).await?);
        let at = self.now().after(newest);
        let contacts = self.query_contacts_with_value(root, identifier, true).await?;
        self.mark(identifier.kind(), &contacts, false, at).await?;
        self.touch_root(root, is_there, at).await?;
        Ok(NoLongerIgnored::GivenTo(oldest))
    }

    /// Returns the root of a live contact that shows this identifier and does not carry it.
    async fn root_of_showing(
        &mut self,
        contact: ContactId,
        identifier: &Identifier,
    ) -> Result<Option<ContactId>, StoreError> {
        let row = self.row(contact).await?;
        let row = row.filter(|row| !row.is_deleted && row.shown.contains(identifier));
        Ok(row.map(|row| row.root()))
    }

    /// Returns a holder and what it holds.
    async fn holder_row(&mut self, holder: ContactId) -> Result<Option<(StoredContact, Identifier)>, StoreError> {
        let row = self.row(holder).await?.filter(|row| row.is_holder);
        Ok(row.and_then(|row| row.identifiers.first().cloned().map(|held| (row, held))))
    }

    /// Returns the row of a contact.
    async fn row(&self, contact: ContactId) -> Result<Option<StoredContact>, StoreError> {
        let work = audit::query_contact(&self.transaction, self.lease.engine(), contact);
        self.lease.bounded(work).await
    }

    /// Returns the contacts of an identity that have this value, deleted ones included, and show it only, or do not.
    async fn query_contacts_with_value(
        &self,
        root: ContactId,
        identifier: &Identifier,
        is_shown: bool,
    ) -> Result<Vec<ContactId>, StoreError> {
        let statement = flagged::contacts_with_value(self.lease.engine(), root, identifier, is_shown);
        let rows = self.lease.bounded(self.transaction.query_all_raw(statement)).await?;
        rows.iter().map(|row| Ok(ContactId(row.try_get_by_index(0)?))).collect()
    }

    /// Returns the latest `updatedAt` of an identity.
    async fn query_newest_update(&self, root: ContactId) -> Result<Option<Timestamp>, StoreError> {
        let statement = flagged::newest_update(self.lease.engine(), root);
        let row = self.lease.bounded(self.transaction.query_one_raw(statement)).await?;
        row.map_or(Ok(None), |row| moment(&row, 0))
    }

    /// Sets or clears the mark of contacts that show an identifier of this kind and do not carry it.
    ///
    /// # Errors
    /// As every write.
    pub async fn mark(
        &mut self,
        kind: IdentifierKind,
        contacts: &[ContactId],
        is_ignored: bool,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let engine = self.lease.engine();
        for piece in contacts.chunks(MAX_LOOKUP) {
            let statement = flagged::mark_rows(engine, kind, piece, is_ignored, at)?;
            self.bounded_write(self.transaction.execute_raw(statement)).await?;
        }
        Ok(())
    }

    async fn owner(&mut self, identifier: &Identifier) -> Result<Option<Owner>, StoreError> {
        Ok(self.query_owners(std::slice::from_ref(identifier)).await?.remove(identifier))
    }

    /// Gives the row of an identifier to another contact. Returns whether `from` had it.
    async fn give(&mut self, identifier: &Identifier, from: ContactId, to: ContactId) -> Result<bool, StoreError> {
        let update = reassign_row(identifier, from, to);
        Ok(self.bounded_write(self.transaction.execute(&update)).await?.rows_affected() == 1)
    }

    async fn insert_holders(
        &mut self,
        identifiers: &[Identifier],
        at: Timestamp,
    ) -> Result<Vec<ContactId>, StoreError> {
        let id_step = self.clock.id_step;
        let (transaction, engine) = (&self.transaction, self.lease.engine());
        self.bounded_write(holder::insert_holders(transaction, engine, identifiers, at, id_step)).await
    }

    /// Makes a holder a deleted contact of nobody, without a value.
    async fn empty_holder(&mut self, holder: &StoredContact) -> Result<(), StoreError> {
        let at = self.now().after(Some(holder.updated_at));
        let update = flagged::empty_row(holder.id, at)?;
        self.bounded_write(self.transaction.execute(&update)).await.map(drop)
    }

    async fn bounded_write<T>(
        &self,
        work: impl Future<Output = Result<T, impl Into<StoreError>>>,
    ) -> Result<T, StoreError> {
        self.lease.bounded_with_lock(work).await
    }
}

/// The root by which the identity of an owner is found.
fn root_of(owner: &Owner) -> ContactId {
    owner.found.as_ref().map_or(owner.id, |found| found.root)
}
