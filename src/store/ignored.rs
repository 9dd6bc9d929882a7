//! Identifiers that join nobody: ignoring them, letting them count again, and listing them.
//!
//! Every change writes the root of the identity concerned with a later `updatedAt`, under its lock, as every change of
//! an identity does. So a copy in the memory of any replica is no longer used: see `domain/copies.rs`.

use std::collections::BTreeSet;

use sea_orm::sea_query::{Alias, Query, UpdateStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryTrait, Statement, Value};

use super::audit::{self, Owner, StoredContact};
use super::database::{Database, DatabaseTransaction};
use super::entity::contact;
use super::entity::identifier::{self, Column};
use super::error::{Cause, StoreError};
use super::flags;
use super::holder;
use super::rows::{from_columns, moment, to_naive};
use super::sql::{Engine, contact_column, padded_ids};
use super::traits::{MAX_LOOKUP, Transaction};
use super::write;
use crate::domain::{ContactId, Identifier, IdentifierKind, Timestamp};

/// What came of [`DatabaseTransaction::ignore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It is ignored from now on. Nobody owned it.
    Free,
    /// It is ignored from now on. The identity of this root owned it.
    TakenFrom(ContactId),
    /// It was ignored already.
    Already,
}

/// What came of [`DatabaseTransaction::stop_ignoring`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLongerIgnored {
    /// It counts again. Nobody owns it.
    Free,
    /// It counts again, and this contact owns it.
    GivenTo(ContactId),
    /// It was not ignored.
    WasNot,
}

/// An ignored identifier.
#[derive(Clone, Debug)]
pub struct IgnoredIdentifier {
    /// The identifier.
    pub identifier: Identifier,
    /// The row that holds it.
    pub holder: ContactId,
    /// Since when it is ignored.
    pub since: Timestamp,
    /// Whether its row in `Identifier` names the holder. If not, it joins customers all the same: a process of an older
    /// version, or somebody by SQL, has freed it.
    pub is_in_force: bool,
}

/// Rows that one statement looks through for flags: there is no index on them.
const PAGE_SIZE: u64 = 20_000;

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

    /// Ignores the identifier of a holder again, after somebody has freed it.
    ///
    /// # Errors
    /// As [`Self::ignore`].
    pub async fn hold_again(&mut self, holder: ContactId) -> Result<Ignored, StoreError> {
        self.lock_contacts(&BTreeSet::from([holder])).await?;
        let row = self.linked(&BTreeSet::from([holder])).await?.into_iter().find(|row| row.id == holder);
        let Some(row) = row.filter(|row| row.is_holder) else { return Ok(Ignored::Already) };
        let mut done = Ignored::Already;
        for identifier in &row.identifiers {
            done = self.hold(identifier, Some(&row)).await?;
        }
        Ok(done)
    }

    /// Gives the identifier to a holder: this one, or a new one.
    async fn hold(&mut self, identifier: &Identifier, holder: Option<&StoredContact>) -> Result<Ignored, StoreError> {
        let owner = self.owner(identifier).await?;
        if let Some(owner) = owner.as_ref().filter(|owner| owner.is_holder()) {
            if let Some(surplus) = holder.filter(|holder| holder.id != owner.id) {
                self.empty_holder(surplus).await?;
            }
            return Ok(Ignored::Already);
        }
        let contacts = match &owner {
            Some(owner) => self.lock_identity_of(identifier, owner, holder.map(|holder| holder.id)).await?,
            None => Vec::new(),
        };
        let newest = contacts.iter().chain(holder).map(|row| row.updated_at).max();
        let at = self.now().await?.after(newest);
        let holder = match holder {
            Some(holder) => {
                self.bounded_write(write::touch(&self.transaction, &[holder.id], at)).await?;
                holder.id
            }
            None => self.insert_holders(std::slice::from_ref(identifier), at).await?[0],
        };
        let Some(owner) = owner else {
            self.bounded_write(write::insert_identifiers(&self.transaction, vec![(identifier, holder)])).await?;
            return Ok(Ignored::Free);
        };
        if !self.give(identifier, owner.id, holder).await? {
            return Err(lost_race());
        }
        let root = root_of(&owner);
        let carries = |row: &&StoredContact| row.identifiers.contains(identifier);
        let carriers: Vec<ContactId> = contacts.iter().filter(carries).map(|row| row.id).collect();
        self.mark(identifier.kind(), &carriers, true, at).await?;
        let touched = contacts.iter().any(|row| row.id == root).then_some(root);
        let stand_in = contacts.iter().filter(|row| !row.is_deleted).min_by_key(|row| row.age()).map(|row| row.id);
        let touched: Vec<ContactId> = touched.or(stand_in).into_iter().collect();
        self.bounded_write(write::touch(&self.transaction, &touched, at)).await?;
        Ok(Ignored::TakenFrom(root))
    }

    /// Ignores identifiers that nobody owns, in few statements. For a load of many rows.
    ///
    /// # Errors
    /// As every write. [`StoreError::DuplicateKey`] if one of them has an owner, or is ignored already.
    pub async fn ignore_free(&mut self, identifiers: &[Identifier], at: Timestamp) -> Result<(), StoreError> {
        let holders = self.insert_holders(identifiers, at).await?;
        let owned = identifiers.iter().zip(holders).collect();
        self.bounded_write(write::insert_identifiers(&self.transaction, owned)).await
    }

    /// Lets an identifier count again. `oldest` is the oldest live contact that shows it
    /// ([`Database::oldest_showing`]): it becomes the owner, and all contacts of its identity carry it again.
    ///
    /// # Errors
    /// As every write. After [`StoreError::LostRace`] `oldest` has to be found again.
    pub async fn stop_ignoring(
        &mut self,
        identifier: &Identifier,
        oldest: Option<ContactId>,
    ) -> Result<NoLongerIgnored, StoreError> {
        let Some(holder) = self.owner(identifier).await?.filter(Owner::is_holder) else {
            return Ok(NoLongerIgnored::WasNot);
        };
        let rows = match oldest {
            Some(oldest) => self.linked(&BTreeSet::from([oldest])).await?,
            None => Vec::new(),
        };
        let root_of_oldest = |rows: &[StoredContact]| {
            let shows =
                |row: &&StoredContact| Some(row.id) == oldest && !row.is_deleted && row.shown.contains(identifier);
            rows.iter().find(shows).map(StoredContact::root)
        };
        let root = root_of_oldest(&rows);
        self.lock_contacts(&BTreeSet::from_iter([holder.id].into_iter().chain(root))).await?;
        let contacts = match root {
            Some(root) => self.linked(&BTreeSet::from([root, holder.id])).await?,
            None => self.linked(&BTreeSet::from([holder.id])).await?,
        };
        let is_same = self.owner(identifier).await?.is_some_and(|owner| owner.is_holder() && owner.id == holder.id);
        let Some(held) = contacts.iter().find(|row| row.id == holder.id).filter(|_| is_same) else {
            return Err(lost_race());
        };
        if oldest.is_some() && (root.is_none() || root_of_oldest(&contacts) != root) {
            return Err(lost_race());
        }
        self.empty_holder(held).await?;
        let (Some(oldest), Some(root)) = (oldest, root) else {
            let (kind, value) = (identifier.kind().name(), identifier.value().as_bytes());
            self.bounded_write(write::release_one(&self.transaction, kind, value, holder.id.0)).await?;
            return Ok(NoLongerIgnored::Free);
        };
        if !self.give(identifier, holder.id, oldest).await? {
            return Err(lost_race());
        }
        let at = self.now().await?.after(contacts.iter().map(|row| row.updated_at).max());
        let of_identity = contacts.iter().filter(|row| row.id != holder.id);
        let showing: Vec<ContactId> =
            of_identity.clone().filter(|row| row.shown.contains(identifier)).map(|row| row.id).collect();
        self.mark(identifier.kind(), &showing, false, at).await?;
        let is_there = of_identity.clone().any(|row| row.id == root);
        let touched = if is_there { root } else { oldest };
        self.bounded_write(write::touch(&self.transaction, &[touched], at)).await?;
        Ok(NoLongerIgnored::GivenTo(oldest))
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
            let statement = mark_rows(engine, kind, piece, is_ignored, at)?;
            self.bounded_write(self.transaction.execute_raw(statement)).await?;
        }
        Ok(())
    }

    /// Locks the identity of the owner of an identifier, as every change of it does. Returns its rows.
    async fn lock_identity_of(
        &mut self,
        identifier: &Identifier,
        owner: &Owner,
        also: Option<ContactId>,
    ) -> Result<Vec<StoredContact>, StoreError> {
        let root = BTreeSet::from([root_of(owner)]);
        let rows = self.linked(&root).await?;
        let has_root = rows.iter().any(|row| root.contains(&row.id));
        // If the root's row is gone, the oldest live contact stands in for it.
        let stand_in = rows.iter().filter(|row| !row.is_deleted && !has_root).min_by_key(|row| row.age());
        let locked = root.iter().copied().chain(stand_in.map(|row| row.id)).chain(also).collect();
        self.lock_contacts(&locked).await?;
        let again = self.owner(identifier).await?;
        if again.is_none_or(|again| again.id != owner.id || !root.contains(&root_of(&again))) {
            return Err(lost_race());
        }
        self.linked(&root).await
    }

    async fn owner(&mut self, identifier: &Identifier) -> Result<Option<Owner>, StoreError> {
        Ok(self.owners(std::slice::from_ref(identifier)).await?.remove(identifier))
    }

    /// Gives the row of an identifier to another contact. Returns whether `from` had it.
    async fn give(&mut self, identifier: &Identifier, from: ContactId, to: ContactId) -> Result<bool, StoreError> {
        let update = identifier::Entity::update_many()
            .col_expr(Column::ContactId, to.0.into())
            .filter(write::owned_by(identifier.kind().name(), identifier.value().as_bytes(), from.0))
            .into_query();
        Ok(self.bounded_write(self.transaction.execute(&update)).await?.rows_affected() == 1)
    }

    async fn insert_holders(
        &mut self,
        identifiers: &[Identifier],
        at: Timestamp,
    ) -> Result<Vec<ContactId>, StoreError> {
        self.now().await?; // It reads the step of ids too.
        let id_step = self.clock.map_or(1, |clock| clock.id_step);
        let (transaction, engine) = (&self.transaction, self.lease.engine());
        self.bounded_write(holder::insert_holders(transaction, engine, identifiers, at, id_step)).await
    }

    /// Makes a holder a deleted contact of nobody, without a value.
    async fn empty_holder(&mut self, holder: &StoredContact) -> Result<(), StoreError> {
        let at = self.now().await?.after(Some(holder.updated_at));
        let update = empty_row(holder.id, at)?;
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

/// The statement of [`DatabaseTransaction::mark`].
pub(super) fn mark_rows(
    engine: Engine,
    kind: IdentifierKind,
    contacts: &[ContactId],
    is_ignored: bool,
    at: Timestamp,
) -> Result<Statement, StoreError> {
    let ids = padded_ids(&contacts.iter().map(|id| id.0).collect::<Vec<_>>());
    let (bit, list) = (flags::ignored(kind), vec!["?"; ids.len()].join(", "));
    let flags = if is_ignored { format!(r#""flags" | {bit}"#) } else { format!(r#""flags" & {}"#, !bit & i16::MAX) };
    let sql = format!(r#"UPDATE "Contact" SET "flags" = {flags}, "updatedAt" = ? WHERE "id" IN ({list})"#);
    let params = [Value::from(to_naive(at)?)].into_iter().chain(ids.into_iter().map(Value::from));
    Ok(engine.statement(sql, params.collect()))
}

/// The statement of [`DatabaseTransaction::empty_holder`].
pub(super) fn empty_row(holder: ContactId, at: Timestamp) -> Result<UpdateStatement, StoreError> {
    let mut update = Query::update();
    update.table(contact::Entity);
    for kind in IdentifierKind::ALL {
        update.value(Alias::new(contact_column(kind)), Option::<String>::None);
    }
    update
        .value(contact::Column::Flags, 0_i16)
        .value(contact::Column::UpdatedAt, to_naive(at)?)
        .and_where(contact::Column::Id.eq(holder.0));
    Ok(update)
}

impl Database {
    /// Returns the oldest live contact that shows this identifier and does not carry it. Looks through all contacts.
    ///
    /// # Errors
    /// As every read.
    pub async fn oldest_showing(&self, identifier: &Identifier) -> Result<Option<ContactId>, StoreError> {
        let value = self.engine().bytes_of(&format!(r#"c."{}""#, contact_column(identifier.kind())));
        let filter = format!(
            r#"c."flags" & {} <> 0 AND c."deletedAt" IS NULL AND {value} = ?"#,
            flags::ignored(identifier.kind())
        );
        let sql = page_sql(r#"c."id", c."createdAt""#, &filter);
        let (mut after, mut oldest) = (i64::MIN, None);
        while let Some(end) = self.end_of_page(after).await? {
            let lease = self.pool.lease().await?;
            let params = vec![after.into(), end.into(), identifier.value().as_bytes().to_vec().into()];
            let statement = lease.engine().statement(sql.clone(), params);
            for row in &lease.bounded(lease.connection().query_all_raw(statement)).await? {
                let created_at = moment(row, 1)?.ok_or_else(|| StoreError::Rejected(Cause::new("no createdAt")))?;
                let age = (created_at, ContactId(row.try_get_by_index(0)?));
                oldest = Some(oldest.map_or(age, |other: (Timestamp, ContactId)| other.min(age)));
            }
            after = end;
        }
        Ok(oldest.map(|(_, id)| id))
    }

    /// Returns the ignored identifiers of the next contacts after this id, and the id up to which it has looked. `None`
    /// if there are no more contacts.
    ///
    /// # Errors
    /// As every read.
    pub async fn ignored_identifiers(&self, after: i64) -> Result<Option<(Vec<IgnoredIdentifier>, i64)>, StoreError> {
        let Some(end) = self.end_of_page(after).await? else { return Ok(None) };
        let filter = format!(r#"c."flags" & {} <> 0"#, flags::HOLDER);
        let sql = page_sql(r#"c."id", c."createdAt", c."email", c."phoneNumber""#, &filter);
        let lease = self.pool.lease().await?;
        let statement = lease.engine().statement(sql, vec![after.into(), end.into()]);
        let mut found = Vec::new();
        for row in &lease.bounded(lease.connection().query_all_raw(statement)).await? {
            let holder = ContactId(row.try_get_by_index(0)?);
            let since = moment(row, 1)?.ok_or_else(|| StoreError::Rejected(Cause::new("no createdAt")))?;
            for identifier in from_columns(row.try_get_by_index(2)?, row.try_get_by_index(3)?) {
                found.push(IgnoredIdentifier { identifier, holder, since, is_in_force: false });
            }
        }
        let identifiers: Vec<Identifier> = found.iter().map(|one| one.identifier.clone()).collect();
        let owners = lease.bounded(audit::query_owners(lease.connection(), lease.engine(), &identifiers)).await?;
        for one in &mut found {
            one.is_in_force = owners.get(&one.identifier).is_some_and(|owner| owner.id == one.holder);
        }
        Ok(Some((found, end)))
    }

    /// Returns the last id of the next page of contacts after this id.
    async fn end_of_page(&self, after: i64) -> Result<Option<i64>, StoreError> {
        let sql = format!(
            r#"SELECT MAX(c."id") FROM (SELECT "id" FROM "Contact" WHERE "id" > ? ORDER BY "id" LIMIT {PAGE_SIZE}) c"#
        );
        let lease = self.pool.lease().await?;
        let statement = lease.engine().statement(sql, vec![after.into()]);
        let row = lease.bounded(lease.connection().query_one_raw(statement)).await?;
        row.map_or(Ok(None), |row| Ok(row.try_get_by_index(0)?))
    }
}

/// These columns of the contacts between two ids that meet a condition.
pub(super) fn page_sql(columns: &str, filter: &str) -> String {
    format!(r#"SELECT {columns} FROM "Contact" c WHERE c."id" > ? AND c."id" <= ? AND {filter} ORDER BY c."id""#)
}
