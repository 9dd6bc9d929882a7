//! Carrying a plan out.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDateTime;
use sea_orm::sea_query::extension::mysql::{IndexHintScope, MySqlSelectStatementExt};
use sea_orm::sea_query::{
    CaseStatement, Expr, LockBehavior, LockType, Query, SelectStatement, SimpleExpr, UpdateStatement,
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryFilter, QuerySelect,
    QueryTrait,
};

use super::convert::{moment, precedence, to_columns, to_naive};
use super::dialect::Clock;
use super::entity::contact::{self, Column, LinkPrecedence};
use super::entity::{contact_merge, identifier};
use super::error::Cause;
use super::find::Orphan;
use super::{MAX_LOOKUP, StoreError};
use crate::domain::{ContactId, ContactRef, Identifier, Link, NewContact, Plan, Timestamp};

/// Writes all of the plan, new contacts first; `step` is [`Clock::id_step`].
pub(super) async fn apply(
    connection: &impl ConnectionTrait,
    plan: &Plan,
    step: i64,
) -> Result<Vec<ContactId>, StoreError> {
    let ids = insert_contacts(connection, &plan.new_contacts, step).await?;
    let resolve = |contact: ContactRef| match contact {
        ContactRef::Stored(id) => id,
        ContactRef::Planned(index) => ids[index],
    };
    let owned = plan.new_identifiers.iter().map(|(identifier, owner)| (identifier, resolve(*owner))).collect();
    insert_identifiers(connection, owned).await?;
    link_new(connection, plan, &ids).await?;
    relink(connection, plan, resolve).await?;
    insert_merges(connection, plan, resolve).await?;
    touch(connection, &plan.touched, plan.updated_at).await?;
    Ok(ids)
}

/// Splits a list into pieces of 128, 96, 64, 48, … 4, 3, 2, 1, so that a connection prepares few statements
/// and sends few for each list.
///
/// Larger ones would not fit into a record of TLS (16 KiB), and of two records in a row the second waits for
/// the acknowledgement of the first, 40 ms on Linux: sqlx 0.9.0 leaves Nagle's algorithm on
/// (transact-rs/sqlx#4335).
fn pieces<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let power = (rest.len() + 1).next_power_of_two() / 2;
        let size = if power + power / 2 <= rest.len() { power + power / 2 } else { power };
        let size = MAX_LOOKUP.min(size);
        let (piece, later) = rest.split_at(size);
        rest = later;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Ids for a list of keys, filled up to a power of two with the last.
fn padded(ids: &[i64]) -> Vec<i64> {
    let last = ids.last().copied().into_iter().cycle();
    ids.iter().copied().chain(last).take(ids.len().next_power_of_two()).collect()
}

async fn insert_contacts(
    connection: &impl ConnectionTrait,
    new: &[NewContact],
    step: i64,
) -> Result<Vec<ContactId>, StoreError> {
    let mut ids = Vec::with_capacity(new.len());
    // Without a step, each row has to tell its own.
    let largest = if step == 0 { 1 } else { MAX_LOOKUP };
    for piece in new.chunks(largest).flat_map(pieces) {
        let mut rows = Vec::with_capacity(piece.len());
        for contact in piece {
            let (email, phone_number) = to_columns(&contact.identifiers);
            rows.push(contact::ActiveModel {
                email: Set(email),
                phone_number: Set(phone_number),
                link_precedence: Set(precedence(&contact.link)),
                linked_id: Set(match contact.link {
                    Link::SecondaryOf(ContactRef::Stored(primary)) => Some(primary.0),
                    Link::SecondaryOf(ContactRef::Planned(_)) | Link::Primary => None, // See `link_new`.
                }),
                created_at: Set(to_naive(contact.created_at)?),
                updated_at: Set(to_naive(contact.updated_at)?),
                ..Default::default()
            });
        }
        let mut insert = contact::Entity::insert_many(rows).into_query();
        if connection.get_database_backend() == DbBackend::MySql {
            // The first id; the rest follow in steps that are not 1 on a cluster.
            let inserted = connection.execute(&insert).await.map_err(of_automatic_id)?;
            let first = inserted.last_insert_id();
            let first = i64::try_from(first).map_err(|_| StoreError::Rejected(Cause::new("an id out of range")))?;
            ids.extend((0_i64..).take(piece.len()).map(|n| ContactId(first + n * step)));
        } else {
            insert.returning_col(Column::Id);
            let mut given: Vec<i64> = Vec::with_capacity(piece.len());
            for row in connection.query_all(&insert).await.map_err(of_automatic_id)? {
                given.push(row.try_get_by_index(0)?);
            }
            given.sort(); // Given in the order of the rows, but SQLite returns them in any.
            ids.extend(given.into_iter().map(ContactId));
        }
    }
    if ids.len() == new.len() { Ok(ids) } else { Err(StoreError::Rejected(Cause::new("a row was not inserted"))) }
}

fn of_automatic_id(error: DbErr) -> StoreError {
    StoreError::from(error).of_automatic_id()
}

async fn insert_identifiers(
    connection: &impl ConnectionTrait,
    owned: Vec<(&Identifier, ContactId)>,
) -> Result<(), StoreError> {
    for piece in pieces(&owned) {
        let rows = piece.iter().map(|(identifier, owner)| identifier::ActiveModel {
            kind: Set(identifier.kind().name().to_owned()),
            value: Set(identifier.value().as_bytes().to_vec()),
            contact_id: Set(owner.0),
        });
        connection.execute(&identifier::Entity::insert_many(rows).into_query()).await?;
    }
    Ok(())
}

/// Links new contacts to primaries that are new themselves: their ids are known only now.
async fn link_new(connection: &impl ConnectionTrait, plan: &Plan, ids: &[ContactId]) -> Result<(), StoreError> {
    let links = plan.new_contacts.iter().zip(ids).filter_map(|(new, id)| match new.link {
        Link::SecondaryOf(ContactRef::Planned(primary)) => Some((id.0, ids[primary].0)),
        Link::SecondaryOf(ContactRef::Stored(_)) | Link::Primary => None,
    });
    for piece in pieces(&links.collect::<Vec<_>>()) {
        connection.execute(&contact::Entity::update_many().set_links(piece).into_query()).await?;
    }
    Ok(())
}

async fn relink(
    connection: &impl ConnectionTrait,
    plan: &Plan,
    resolve: impl Fn(ContactRef) -> ContactId,
) -> Result<(), StoreError> {
    let updated_at = to_naive(plan.updated_at)?;
    let (mut promoted, mut linked) = (Vec::new(), Vec::new());
    for relink in &plan.relinks {
        match relink.link {
            Link::Primary => promoted.push(relink.contact.0),
            Link::SecondaryOf(primary) => linked.push((relink.contact.0, resolve(primary).0)),
        }
    }
    for piece in pieces(&linked) {
        connection.execute(&absorb(piece, updated_at)).await?;
    }
    for piece in pieces(&promoted) {
        let update = contact::Entity::update_many()
            .col_expr(Column::LinkedId, Expr::value(Option::<i64>::None))
            .col_expr(Column::LinkPrecedence, enum_value(LinkPrecedence::Primary))
            .col_expr(Column::UpdatedAt, Expr::value(updated_at))
            .filter(Column::Id.is_in(padded(piece)));
        connection.execute(&update.into_query()).await?;
    }
    Ok(())
}

/// Makes each first a secondary of the second.
pub(super) fn absorb(links: &[(i64, i64)], updated_at: NaiveDateTime) -> UpdateStatement {
    contact::Entity::update_many()
        .set_links(links)
        .col_expr(Column::LinkPrecedence, enum_value(LinkPrecedence::Secondary))
        .col_expr(Column::UpdatedAt, Expr::value(updated_at))
        .into_query()
}

/// PostgreSQL wants a cast for a value of its enum.
fn enum_value(precedence: LinkPrecedence) -> SimpleExpr {
    Column::LinkPrecedence.save_as(Expr::val(precedence))
}

trait SetLinks {
    /// Sets `linkedId` of each first to the second.
    fn set_links(self, links: &[(i64, i64)]) -> Self;
}

impl SetLinks for sea_orm::UpdateMany<contact::Entity> {
    fn set_links(self, links: &[(i64, i64)]) -> Self {
        let ids: Vec<i64> = links.iter().map(|(id, _)| *id).collect();
        let case = links
            .iter()
            .fold(CaseStatement::new(), |case, (id, primary)| case.case(Column::Id.eq(*id), Expr::value(*primary)));
        self.col_expr(Column::LinkedId, case.into()).filter(Column::Id.is_in(ids))
    }
}

async fn insert_merges(
    connection: &impl ConnectionTrait,
    plan: &Plan,
    resolve: impl Fn(ContactRef) -> ContactId,
) -> Result<(), StoreError> {
    let created_at = to_naive(plan.updated_at)?;
    for piece in pieces(&plan.merges) {
        let rows = piece.iter().map(|merge| {
            let cause = merge.cause.iter().map(|identifier| contact_merge::CauseIdentifier {
                kind: identifier.kind().name().to_owned(),
                value: identifier.value().to_owned(),
            });
            contact_merge::ActiveModel {
                survivor_id: Set(resolve(merge.survivor).0),
                absorbed_id: Set(resolve(merge.absorbed).0),
                cause: Set(contact_merge::Cause(cause.collect())),
                created_at: Set(created_at),
                ..Default::default()
            }
        });
        let insert = contact_merge::Entity::insert_many(rows).into_query();
        connection.execute(&insert).await.map_err(of_automatic_id)?;
    }
    Ok(())
}

pub(super) async fn touch(
    connection: &impl ConnectionTrait,
    primaries: &[ContactId],
    updated_at: Timestamp,
) -> Result<(), StoreError> {
    let updated_at = to_naive(updated_at)?;
    let ids: Vec<i64> = primaries.iter().map(|id| id.0).collect();
    for piece in ids.chunks(MAX_LOOKUP) {
        connection.execute(&touch_rows(piece, updated_at)).await?;
    }
    Ok(())
}

pub(super) fn touch_rows(ids: &[i64], updated_at: NaiveDateTime) -> UpdateStatement {
    contact::Entity::update_many()
        .col_expr(Column::UpdatedAt, Expr::value(updated_at))
        .filter(Column::Id.is_in(padded(ids)))
        .into_query()
}

/// Removes these rows, and writes those of the roots: whoever read the identities before must look again.
pub(super) async fn release(
    connection: &impl ConnectionTrait,
    orphans: &[Orphan],
    at: Timestamp,
) -> Result<(), StoreError> {
    for Orphan { identifier, contact, .. } in orphans {
        release_one(connection, identifier.kind().name(), identifier.value().as_bytes(), *contact).await?;
    }
    let roots: BTreeSet<ContactId> = orphans.iter().filter_map(|orphan| orphan.root.map(ContactId)).collect();
    touch(connection, &roots.into_iter().collect::<Vec<_>>(), at).await
}

/// Removes an identifier's row; whether there was one. Only the one that was seen: a rival may have given the
/// identifier a new owner by now.
pub(super) async fn release_one(
    connection: &impl ConnectionTrait,
    kind: &str,
    value: &[u8],
    contact: i64,
) -> Result<bool, DbErr> {
    let delete = identifier::Entity::delete_many().filter(owned_by(kind, value, contact));
    Ok(connection.execute(&delete.into_query()).await?.rows_affected() == 1)
}

/// The row of an identifier, if this contact owns it.
pub(super) fn owned_by(kind: &str, value: &[u8], contact: i64) -> Condition {
    Condition::all()
        .add(identifier::Column::Kind.eq(kind))
        .add(identifier::Column::Value.eq(value.to_vec()))
        .add(identifier::Column::ContactId.eq(contact))
}

/// What locked rows tell.
pub(super) struct Locked {
    /// The `updatedAt` of each that is there, unless it was deleted.
    pub(super) written: BTreeMap<ContactId, Option<Timestamp>>,
    /// The clock, if there was any; it may be as old as the wait for the locks.
    pub(super) clock: Option<Clock>,
}

/// Locks the rows of these contacts, in the order of their ids. Where one transaction at a time writes anyhow,
/// they are read alone.
pub(super) async fn lock(connection: &impl ConnectionTrait, ids: &[i64]) -> Result<Locked, StoreError> {
    let backend = connection.get_database_backend();
    let mut locked = Locked { written: BTreeMap::new(), clock: None };
    for piece in ids.chunks(MAX_LOOKUP) {
        for row in &connection.query_all(&lock_rows(backend, piece)).await? {
            let updated_at = moment(row, 1)?.ok_or_else(|| StoreError::Rejected(Cause::new("no updatedAt")))?;
            let is_deleted = row.try_get_by_index::<Option<NaiveDateTime>>(2)?.is_some();
            locked.written.insert(ContactId(row.try_get_by_index(0)?), (!is_deleted).then_some(updated_at));
            locked.clock = Some(Clock::told(backend, row, 3)?);
        }
    }
    Ok(locked)
}

/// Which of these contacts' rows are there, and locked by another transaction. The rest is locked by this one then.
pub(super) async fn locked(connection: &impl ConnectionTrait, ids: &[i64]) -> Result<BTreeSet<ContactId>, StoreError> {
    let mut locked = BTreeSet::new();
    for piece in ids.chunks(MAX_LOOKUP) {
        let mut select = lock_rows(connection.get_database_backend(), piece);
        let free = select.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let free = connection.query_all(free).await?;
        let all = contact::Entity::find().select_only().column(Column::Id).filter(Column::Id.is_in(padded(piece)));
        for row in &connection.query_all(&all.into_query()).await? {
            locked.insert(ContactId(row.try_get_by_index(0)?));
        }
        for row in &free {
            locked.remove(&ContactId(row.try_get_by_index(0)?));
        }
    }
    Ok(locked)
}

pub(super) fn lock_rows(backend: DbBackend, ids: &[i64]) -> SelectStatement {
    let mut select = Query::select();
    select.columns([Column::Id, Column::UpdatedAt, Column::DeletedAt]);
    for column in Clock::columns(backend) {
        select.expr(Expr::cust(*column));
    }
    select.from(contact::Entity).and_where(Column::Id.is_in(padded(ids)));
    select.order_by(Column::Id, sea_orm::Order::Asc);
    if backend != DbBackend::Sqlite {
        select.lock_exclusive();
    }
    if backend == DbBackend::MySql {
        // On a small table it would scan, and wait for rows that are none of its business.
        select.force_index("PRIMARY", IndexHintScope::All);
    }
    select
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_few_and_of_few_sizes_and_leave_nothing_out() {
        let sizes = |count: usize| pieces(&vec![(); count]).map(<[()]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(0), [0; 0]);
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(127), [96, 24, 6, 1]);
        assert_eq!(sizes(300), [128, 128, 32, 12]);
        let mut distinct = BTreeSet::new();
        for count in 0..2_000 {
            assert_eq!(sizes(count).iter().sum::<usize>(), count);
            distinct.extend(sizes(count));
        }
        assert_eq!(distinct.len(), 14);
    }
}
