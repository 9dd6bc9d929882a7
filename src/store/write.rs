//! Writing a plan.

use chrono::NaiveDateTime;
use sea_orm::sea_query::{CaseStatement, Expr, InsertStatement, SimpleExpr, UpdateStatement};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryTrait, Statement,
    StatementBuilder,
};

use super::entity::contact::{self, Column, LinkPrecedence};
use super::entity::contact_merge::{CauseIdentifier, MergeCause};
use super::entity::{contact_merge, identifier};
use super::error::{Cause, StoreError};
use super::evidence;
use super::notes;
use super::pieces::pieces;
use super::rows::{identifiers_to_json, precedence, to_columns, to_naive};
use super::sql::{Engine, mariadb, padded_ids, postgres};
use super::traits::MAX_LOOKUP;
use crate::domain::{ContactId, ContactRef, Identifier, Link, Merge, NewContact, Plan, Timestamp};

/// Writes the plan, new contacts first. Returns their ids. `id_step` is that of the [`Clock`](super::clock::Clock).
pub(super) async fn apply(
    connection: &impl ConnectionTrait,
    engine: Engine,
    plan: &Plan,
    id_step: i64,
) -> Result<Vec<ContactId>, StoreError> {
    let ids = insert_contacts(connection, engine, &plan.new_contacts, id_step).await?;
    let resolve = |contact: ContactRef| match contact {
        ContactRef::Stored(id) => id,
        ContactRef::Planned(index) => ids[index],
    };
    let owned = plan.new_identifiers.iter().map(|(identifier, owner)| (identifier, resolve(*owner))).collect();
    insert_identifiers(connection, engine, owned).await?;
    link_new(connection, plan, &ids).await?;
    move_secondaries(connection, engine, plan, resolve).await?;
    relink(connection, plan, resolve).await?;
    insert_merges(connection, plan, resolve).await?;
    evidence::insert_evidence(connection, plan, resolve).await?;
    notes::insert_notes(connection, plan, &ids).await?;
    touch(connection, &plan.touched, plan.updated_at).await?;
    Ok(ids)
}

/// Inserts contacts. Returns their ids, in order.
async fn insert_contacts(
    connection: &impl ConnectionTrait,
    engine: Engine,
    new: &[NewContact],
    id_step: i64,
) -> Result<Vec<ContactId>, StoreError> {
    let mut ids = Vec::with_capacity(new.len());
    // Without a step, the id of each row has to be read by itself.
    let largest = if id_step == 0 { 1 } else { MAX_LOOKUP };
    for piece in new.chunks(largest).flat_map(pieces) {
        ids.extend(run_insert(connection, engine, contact_rows(engine, piece)?, piece.len(), id_step).await?);
    }
    if ids.len() == new.len() { Ok(ids) } else { Err(StoreError::Rejected(Cause::new("a row was not inserted"))) }
}

/// Runs a statement of [`insert_contact_rows`] for so many rows. Returns the ids that the database gave, in order.
pub(super) async fn run_insert(
    connection: &impl ConnectionTrait,
    engine: Engine,
    insert: Statement,
    rows: usize,
    id_step: i64,
) -> Result<Vec<ContactId>, StoreError> {
    match engine {
        Engine::Mysql => {
            // MySQL returns the first id; the rest follow in steps that are not 1 on a cluster.
            let first = connection.execute_raw(insert).await.map_err(automatic_id_error)?.last_insert_id();
            let first = i64::try_from(first).map_err(|_| StoreError::Rejected(Cause::new("an id out of range")))?;
            Ok((0_i64..).take(rows).map(|n| ContactId(first + n * id_step)).collect())
        }
        Engine::Mariadb | Engine::Postgres | Engine::Sqlite => {
            let mut given: Vec<i64> = Vec::with_capacity(rows);
            for row in connection.query_all_raw(insert).await.map_err(automatic_id_error)? {
                given.push(row.try_get_by_index(0)?);
            }
            given.sort(); // Ids rise in the order of the rows, but SQLite returns them in any order.
            Ok(given.into_iter().map(ContactId).collect())
        }
    }
}

/// Inserts new contacts, and returns the id of each where the database can. A link to another new contact is left out:
/// see [`link_new`].
pub(super) fn contact_rows(engine: Engine, new: &[NewContact]) -> Result<Statement, StoreError> {
    let mut rows = Vec::with_capacity(new.len());
    for contact in new {
        let (email, phone_number) = to_columns(&contact.identifiers);
        rows.push(contact::ActiveModel {
            email: Set(email),
            phone_number: Set(phone_number),
            link_precedence: Set(precedence(&contact.link)),
            linked_id: Set(match contact.link {
                Link::SecondaryOf(ContactRef::Stored(primary)) => Some(primary.0),
                Link::SecondaryOf(ContactRef::Planned(_)) | Link::Primary => None,
            }),
            created_at: Set(to_naive(contact.created_at)?),
            updated_at: Set(to_naive(contact.updated_at)?),
            ..Default::default()
        });
    }
    Ok(insert_contact_rows(engine, rows))
}

/// Inserts rows of `Contact`, and returns the id of each where the database can.
pub(super) fn insert_contact_rows(engine: Engine, rows: Vec<contact::ActiveModel>) -> Statement {
    let mut insert = contact::Entity::insert_many(rows).into_query();
    insert.returning_col(Column::Id); // Left out for MySQL's syntax.
    let mut statement = StatementBuilder::build(&insert, &engine.backend());
    match engine {
        Engine::Mariadb => statement.sql.push_str(mariadb::INSERTED_IDS),
        Engine::Mysql | Engine::Postgres | Engine::Sqlite => {}
    }
    statement
}

/// The error of an insert whose only key is the automatic id.
fn automatic_id_error(error: DbErr) -> StoreError {
    StoreError::from(error).of_automatic_id()
}

pub(super) async fn insert_identifiers(
    connection: &impl ConnectionTrait,
    engine: Engine,
    owned: Vec<(&Identifier, ContactId)>,
) -> Result<(), StoreError> {
    let pieces: Vec<&[_]> = match engine {
        Engine::Postgres => owned.chunks(MAX_LOOKUP).collect(),
        Engine::Mysql | Engine::Mariadb | Engine::Sqlite => pieces(&owned).collect(),
    };
    for piece in pieces {
        connection.execute_raw(identifier_rows(engine, piece)).await?;
    }
    Ok(())
}

/// Inserts identifiers with their owners. One statement takes at most [`MAX_LOOKUP`] on PostgreSQL.
pub(super) fn identifier_rows(engine: Engine, owned: &[(&Identifier, ContactId)]) -> Statement {
    match engine {
        Engine::Postgres => {
            return postgres::identifier_rows(owned.iter().map(|(identifier, owner)| (*identifier, owner.0)));
        }
        Engine::Mysql | Engine::Mariadb | Engine::Sqlite => {}
    }
    let rows = owned.iter().map(|(identifier, owner)| identifier::ActiveModel {
        kind: Set(identifier.kind().name().to_owned()),
        value: Set(identifier.value().as_bytes().to_vec()),
        contact_id: Set(owner.0),
    });
    StatementBuilder::build(&identifier::Entity::insert_many(rows).into_query(), &engine.backend())
}

/// Links new contacts to primaries that are new themselves: their ids are known only now.
async fn link_new(connection: &impl ConnectionTrait, plan: &Plan, ids: &[ContactId]) -> Result<(), StoreError> {
    let links = plan.new_contacts.iter().zip(ids).filter_map(|(new, id)| match new.link {
        Link::SecondaryOf(ContactRef::Planned(primary)) => Some((id.0, ids[primary].0)),
        Link::SecondaryOf(ContactRef::Stored(_)) | Link::Primary => None,
    });
    for piece in pieces(&links.collect::<Vec<_>>()) {
        connection.execute(&link_rows(piece)).await?;
    }
    Ok(())
}

/// Links each first to the second.
pub(super) fn link_rows(links: &[(i64, i64)]) -> UpdateStatement {
    contact::Entity::update_many().set_links(links).into_query()
}

/// Links all secondaries of each root that moves to another one.
async fn move_secondaries(
    connection: &impl ConnectionTrait,
    engine: Engine,
    plan: &Plan,
    resolve: impl Fn(ContactRef) -> ContactId,
) -> Result<(), StoreError> {
    let updated_at = to_naive(plan.updated_at)?;
    let moves: Vec<(i64, i64)> = plan.moves.iter().map(|moved| (moved.from.0, resolve(moved.to).0)).collect();
    for piece in pieces(&moves) {
        connection.execute_raw(engine.move_secondaries(piece, updated_at)).await?;
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
        connection.execute(&absorb_rows(piece, updated_at)).await?;
    }
    for piece in pieces(&promoted) {
        connection.execute(&promote_rows(piece, updated_at)).await?;
    }
    Ok(())
}

/// Makes these contacts primaries.
pub(super) fn promote_rows(ids: &[i64], updated_at: NaiveDateTime) -> UpdateStatement {
    contact::Entity::update_many()
        .col_expr(Column::LinkedId, Expr::value(Option::<i64>::None))
        .col_expr(Column::LinkPrecedence, enum_value(LinkPrecedence::Primary))
        .col_expr(Column::UpdatedAt, Expr::value(updated_at))
        .filter(Column::Id.is_in(padded_ids(ids)))
        .into_query()
}

/// Makes each first a secondary of the second.
pub(super) fn absorb_rows(links: &[(i64, i64)], updated_at: NaiveDateTime) -> UpdateStatement {
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
        connection.execute(&merge_rows(piece, created_at, &resolve)).await.map_err(automatic_id_error)?;
    }
    Ok(())
}

/// Inserts merges.
pub(super) fn merge_rows(
    merges: &[Merge],
    created_at: NaiveDateTime,
    resolve: impl Fn(ContactRef) -> ContactId,
) -> InsertStatement {
    let rows = merges.iter().map(|merge| contact_merge::ActiveModel {
        survivor_id: Set(resolve(merge.survivor).0),
        absorbed_id: Set(resolve(merge.absorbed).0),
        cause: Set(cause(merge)),
        created_at: Set(created_at),
        ..Default::default()
    });
    contact_merge::Entity::insert_many(rows).into_query()
}

/// The column `cause`.
fn cause(merge: &Merge) -> MergeCause {
    let MergeCause(mut cause) = identifiers_to_json(&merge.cause);
    cause.extend(merge.is_repair.then(CauseIdentifier::repair));
    MergeCause(cause)
}

/// Sets `updatedAt` of these contacts.
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

/// The statement of [`touch`].
pub(super) fn touch_rows(ids: &[i64], updated_at: NaiveDateTime) -> UpdateStatement {
    contact::Entity::update_many()
        .col_expr(Column::UpdatedAt, Expr::value(updated_at))
        .filter(Column::Id.is_in(padded_ids(ids)))
        .into_query()
}
