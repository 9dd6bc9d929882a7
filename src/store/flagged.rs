//! The rows of `Contact` that have [`flags`]: holders, and contacts that show what they do not carry.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Alias, Query, UpdateStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, QueryResult, Statement, Value};

use super::audit;
use super::database::Database;
use super::entity::contact;
use super::error::{Cause, StoreError};
use super::flags;
use super::rows::{from_columns, moment, to_naive};
use super::sql::{Engine, contact_column, padded_ids};
use super::traits::MAX_LOOKUP;
use crate::domain::{ContactId, Identifier, IdentifierKind, Timestamp};

/// An ignored identifier.
#[derive(Clone, Debug)]
pub struct IgnoredIdentifier {
    /// The identifier.
    pub identifier: Identifier,
    /// The row that holds it.
    pub holder: ContactId,
    /// Since when it is ignored.
    pub since: Timestamp,
    /// Whether its row in `Identifier` names the holder. If not, a process of an older version, or somebody by SQL, has
    /// freed it, and it joins customers (unless another holder has it).
    pub is_in_force: bool,
}

/// What shows or holds an identifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Showing {
    /// The oldest live contact that shows it and does not carry it.
    pub oldest: Option<ContactId>,
    /// The holders, also those that are not in force.
    pub holders: Vec<ContactId>,
}

/// Rows that one statement looks through for flags: there is no index on them.
const PAGE_SIZE: u64 = 20_000;

/// Sets or clears the mark of these contacts.
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

/// Makes a holder a deleted contact of nobody, without a value.
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

/// The contacts of an identity that have this value, and show it only, or do not. It names an index: statistics take
/// null, which most rows have in `linkedId`, for one value. An identity may have any number of contacts, so it reads no
/// other column.
pub(super) fn contacts_with_value(
    engine: Engine,
    root: ContactId,
    identifier: &Identifier,
    is_shown: bool,
) -> Statement {
    let value = engine.bytes_of(&format!(r#"c."{}""#, contact_column(identifier.kind())));
    let (bit, compared) = (flags::ignored(identifier.kind()), if is_shown { "<>" } else { "=" });
    let half = |column: &str, force: &str| {
        format!(
            r#"SELECT c."id" FROM "Contact" c {force}
        WHERE c."{column}" = ? AND {value} = ? AND c."flags" & {bit} {compared} 0"#
        )
    };
    let linked = half("linkedId", &engine.force_index("Contact_linkedId"));
    let sql = format!("{} UNION ALL {linked}", half("id", ""));
    let half: [Value; 2] = [root.0.into(), identifier.value().as_bytes().to_vec().into()];
    engine.statement(sql, [half.clone(), half].concat())
}

/// The latest `updatedAt` of an identity.
pub(super) fn newest_update(engine: Engine, root: ContactId) -> Statement {
    let force = engine.force_index("Contact_linkedId");
    let sql = format!(
        r#"SELECT MAX(m."updatedAt") FROM (SELECT c."updatedAt" FROM "Contact" c WHERE c."id" = ? UNION ALL
        SELECT c."updatedAt" FROM "Contact" c {force} WHERE c."linkedId" = ?) m"#
    );
    engine.statement(sql, vec![root.0.into(), root.0.into()])
}

/// The oldest contact that shows an identifier, and the rows that hold it.
type OldestAndHolders = (Option<(Timestamp, ContactId)>, Vec<ContactId>);

impl Database {
    /// Returns what shows or holds each of these identifiers. Looks through all contacts, once.
    ///
    /// # Errors
    /// As every read.
    pub async fn showing(&self, identifiers: &[Identifier]) -> Result<BTreeMap<Identifier, Showing>, StoreError> {
        let sql = flagged_sql();
        let mut found: BTreeMap<Identifier, OldestAndHolders> =
            identifiers.iter().map(|identifier| (identifier.clone(), Default::default())).collect();
        let mut after = i64::MIN;
        while let Some(end) = self.end_of_page(after).await? {
            let lease = self.pool.lease().await?;
            let statement = lease.engine().statement(sql.clone(), vec![after.into(), end.into()]);
            for row in &lease.bounded(lease.connection().query_all_raw(statement)).await? {
                let (id, created_at) = (id_from_row(row)?, created_at_from_row(row)?);
                let is_live = moment(row, FlaggedColumn::DeletedAt as usize)?.is_none();
                let flags: i16 = row.try_get_by_index(FlaggedColumn::Flags as usize)?;
                for identifier in &identifiers_from_row(row)? {
                    let Some((oldest, holders)) = found.get_mut(identifier) else { continue };
                    if flags & flags::HOLDER != 0 {
                        holders.push(id);
                    } else if is_live && flags & flags::ignored(identifier.kind()) != 0 {
                        *oldest = Some(oldest.map_or((created_at, id), |other| other.min((created_at, id))));
                    }
                }
            }
            after = end;
        }
        let showing = |(oldest, holders): (Option<(Timestamp, ContactId)>, _)| Showing {
            oldest: oldest.map(|(_, id)| id),
            holders,
        };
        Ok(found.into_iter().map(|(identifier, found)| (identifier, showing(found))).collect())
    }

    /// Returns the ignored identifiers of the next contacts after this id, and the id up to which it has looked. `None`
    /// if there are no more contacts.
    ///
    /// # Errors
    /// As every read.
    pub async fn ignored_identifiers(&self, after: i64) -> Result<Option<(Vec<IgnoredIdentifier>, i64)>, StoreError> {
        let Some(end) = self.end_of_page(after).await? else { return Ok(None) };
        let lease = self.pool.lease().await?;
        let statement = lease.engine().statement(holders_sql(), vec![after.into(), end.into()]);
        let mut found = Vec::new();
        for row in &lease.bounded(lease.connection().query_all_raw(statement)).await? {
            let (holder, since) = (id_from_row(row)?, created_at_from_row(row)?);
            for identifier in identifiers_from_row(row)? {
                found.push(IgnoredIdentifier { identifier, holder, since, is_in_force: false });
            }
        }
        let identifiers: Vec<Identifier> = found.iter().map(|one| one.identifier.clone()).collect();
        let mut owners = BTreeMap::new();
        for some in identifiers.chunks(MAX_LOOKUP) {
            let work = audit::query_owners(lease.connection(), lease.engine(), some);
            owners.extend(lease.bounded(work).await?);
        }
        for one in &mut found {
            one.is_in_force = owners.get(&one.identifier).is_some_and(|owner| owner.id == one.holder);
        }
        Ok(Some((found, end)))
    }

    /// Returns the last id of the next page of contacts after this id.
    async fn end_of_page(&self, after: i64) -> Result<Option<i64>, StoreError> {
        let lease = self.pool.lease().await?;
        let statement = lease.engine().statement(end_of_page_sql(), vec![after.into()]);
        let row = lease.bounded(lease.connection().query_one_raw(statement)).await?;
        row.map_or(Ok(None), |row| Ok(row.try_get_by_index(0)?))
    }
}

/// The columns of [`flagged_sql`], in order. [`holders_sql`] has the first four.
#[derive(Clone, Copy)]
enum FlaggedColumn {
    Id,
    CreatedAt,
    Email,
    PhoneNumber,
    DeletedAt,
    Flags,
}

fn id_from_row(row: &QueryResult) -> Result<ContactId, StoreError> {
    Ok(ContactId(row.try_get_by_index(FlaggedColumn::Id as usize)?))
}

fn created_at_from_row(row: &QueryResult) -> Result<Timestamp, StoreError> {
    let created_at = moment(row, FlaggedColumn::CreatedAt as usize)?;
    created_at.ok_or_else(|| StoreError::Rejected(Cause::new("no createdAt")))
}

fn identifiers_from_row(row: &QueryResult) -> Result<Vec<Identifier>, StoreError> {
    let email = row.try_get_by_index(FlaggedColumn::Email as usize)?;
    Ok(from_columns(email, row.try_get_by_index(FlaggedColumn::PhoneNumber as usize)?))
}

/// The last id of the next page of contacts after an id.
pub(super) fn end_of_page_sql() -> String {
    format!(r#"SELECT MAX(c."id") FROM (SELECT "id" FROM "Contact" WHERE "id" > ? ORDER BY "id" LIMIT {PAGE_SIZE}) c"#)
}

/// The holders between two ids.
pub(super) fn holders_sql() -> String {
    let filter = format!(r#"c."flags" & {} <> 0"#, flags::HOLDER);
    page_sql(r#"c."id", c."createdAt", c."email", c."phoneNumber""#, &filter)
}

/// The contacts between two ids that show an identifier only, or hold one.
pub(super) fn flagged_sql() -> String {
    page_sql(r#"c."id", c."createdAt", c."email", c."phoneNumber", c."deletedAt", c."flags""#, r#"c."flags" <> 0"#)
}

/// These columns of the contacts between two ids that meet a condition.
fn page_sql(columns: &str, filter: &str) -> String {
    format!(r#"SELECT {columns} FROM "Contact" c WHERE c."id" > ? AND c."id" <= ? AND {filter} ORDER BY c."id""#)
}
