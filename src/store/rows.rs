//! Between the types of the tables and those of the domain.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime};
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueFormat, PgValueRef, Postgres};
use sqlx::{Decode, Row as _};

use super::classify;
use super::entity::contact::LinkPrecedence;
use super::entity::contact_merge::{CauseIdentifier, MergeCause};
use super::error::{Cause, StoreError};
use super::flags;
use super::sql::{Engine, LookupColumn, sqlite};
use super::traits::FoundIdentities;
use crate::domain::{Contact, ContactId, Identifier, IdentifierKind, Identity, Link, Timestamp};

/// A moment of a table.
pub(super) fn from_naive(moment: NaiveDateTime) -> Timestamp {
    Timestamp(moment.and_utc().timestamp_micros())
}

/// A moment for a table.
pub(super) fn to_naive(moment: Timestamp) -> Result<NaiveDateTime, StoreError> {
    DateTime::from_timestamp_micros(moment.0)
        .map(|moment| moment.naive_utc())
        .ok_or_else(|| rejected("a moment out of range"))
}

/// The identifiers in the columns of a contact. With [`to_columns`] and
/// [`contact_column`](super::sql::contact_column), it is the place that knows which column holds which kind.
pub(super) fn from_columns(email: Option<String>, phone: Option<String>) -> Vec<Identifier> {
    let email = email.map(|value| Identifier::from_stored(IdentifierKind::Email, value));
    let phone = phone.map(|value| Identifier::from_stored(IdentifierKind::Phone, value));
    email.into_iter().chain(phone).collect()
}

/// The columns `email` and `phoneNumber`.
pub(super) fn to_columns(identifiers: &[Identifier]) -> (Option<String>, Option<String>) {
    let column = |kind| identifiers.iter().find(|identifier| identifier.kind() == kind);
    let value = |identifier: &Identifier| identifier.value().to_owned();
    (column(IdentifierKind::Email).map(value), column(IdentifierKind::Phone).map(value))
}

/// Identifiers for the column `identifiers` of `Evidence`, or `cause` of `ContactMerge`.
pub(super) fn identifiers_to_json(identifiers: &[Identifier]) -> MergeCause {
    let one = |identifier: &Identifier| CauseIdentifier {
        kind: identifier.kind().name().to_owned(),
        value: identifier.value().to_owned(),
    };
    MergeCause(identifiers.iter().map(one).collect())
}

/// The identifiers in such a column, sorted. `None` if one is of no kind of this version.
pub(super) fn identifiers_from_json(identifiers: &MergeCause) -> Option<Vec<Identifier>> {
    let one = |stored: &CauseIdentifier| {
        let kind = IdentifierKind::ALL.into_iter().find(|kind| kind.name() == stored.kind)?;
        Some(Identifier::from_stored(kind, stored.value.as_str()))
    };
    let mut found: Vec<Identifier> = identifiers.0.iter().map(one).collect::<Option<_>>()?;
    found.sort();
    found.dedup();
    Some(found)
}

/// The column `linkPrecedence`.
pub(super) fn precedence<Id>(link: &Link<Id>) -> LinkPrecedence {
    match link {
        Link::Primary => LinkPrecedence::Primary,
        Link::SecondaryOf(_) => LinkPrecedence::Secondary,
    }
}

/// A moment as PostgreSQL sends it: microseconds since the beginning of 2000, or an infinity.
struct PostgresMoment(i64);

impl PostgresMoment {
    /// The beginning of 2000, in microseconds since the Unix epoch.
    const EPOCH: i64 = 946_684_800_000_000;

    fn timestamp(&self) -> Option<Timestamp> {
        let is_finite = ![i64::MIN, i64::MAX].contains(&self.0);
        self.0.checked_add(Self::EPOCH).filter(|_| is_finite).map(Timestamp)
    }
}

impl sqlx::Type<Postgres> for PostgresMoment {
    fn type_info() -> PgTypeInfo {
        <NaiveDateTime as sqlx::Type<Postgres>>::type_info()
    }
}

impl Decode<'_, Postgres> for PostgresMoment {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => <i64 as Decode<Postgres>>::decode(value).map(Self),
            // The answer to statements without parameters. The driver sets the style of dates of each session.
            PgValueFormat::Text => {
                let moment = NaiveDateTime::parse_from_str(value.as_str()?, "%Y-%m-%d %H:%M:%S%.f")?;
                Ok(Self(moment.and_utc().timestamp_micros() - Self::EPOCH))
            }
        }
    }
}

/// A column that holds a moment. PostgreSQL's are not read as `NaiveDateTime`: sqlx panics at an infinity. SQLite's are
/// not if they are as this service writes them: sqlx tries one form after another, which takes a tenth of a look-up.
pub(super) fn moment(row: &QueryResult, index: usize) -> Result<Option<Timestamp>, StoreError> {
    if let Some(row) = row.try_as_sqlite_row() {
        let text: Option<&str> = row.try_get_unchecked(index).map_err(|error| classify::store_error(&error))?;
        let Some(text) = text else { return Ok(None) };
        if let Some(moment) = sqlite::moment(text) {
            return Ok(Some(moment));
        }
    }
    let Some(row) = row.try_as_pg_row() else {
        return Ok(row.try_get_by_index::<Option<NaiveDateTime>>(index)?.map(from_naive));
    };
    let moment: Option<PostgresMoment> = row.try_get(index).map_err(|error| classify::store_error(&error))?;
    moment.map(|moment| moment.timestamp().ok_or_else(|| rejected("an infinite moment"))).transpose()
}

fn rejected(cause: &str) -> StoreError {
    StoreError::Rejected(Cause::new(cause))
}

/// Fails if [`Engine::read_only_column`], at this position, says that the server takes no writes: the rest of the row
/// may be stale.
pub(super) fn check_is_primary(engine: Engine, row: &QueryResult, position: usize) -> Result<(), StoreError> {
    match engine {
        Engine::Postgres | Engine::Sqlite => return Ok(()),
        Engine::Mysql | Engine::Mariadb => {}
    }
    let is_read_only = match row.try_get_by_index::<i64>(position) {
        Ok(number) => number != 0,
        Err(_) => row.try_get_by_index::<String>(position)? != "OFF", // MariaDB 12 has words for it.
    };
    if is_read_only { Err(StoreError::read_only()) } else { Ok(()) }
}

/// Fails if the server takes no writes any more. It is for a read without a row, on the connection of that read: no row
/// has said it, and another connection may lead to another server.
pub(super) async fn check_takes_writes(connection: &impl ConnectionTrait, engine: Engine) -> Result<(), StoreError> {
    let Some(column) = engine.read_only_column() else { return Ok(()) };
    let question = engine.statement(format!("SELECT {column}"), Vec::new());
    let row = connection.query_one_raw(question).await?.ok_or_else(|| rejected("no answer of the server"))?;
    check_is_primary(engine, &row, 0)
}

/// Runs a read whose answer can be that there is nothing: see [`check_takes_writes`].
pub(super) async fn query_or_check(
    connection: &impl ConnectionTrait,
    engine: Engine,
    read: Statement,
) -> Result<Vec<QueryResult>, StoreError> {
    let rows = connection.query_all_raw(read).await?;
    if rows.is_empty() {
        check_takes_writes(connection, engine).await?;
    }
    Ok(rows)
}

/// A contact in a row of [`Engine::lookup`] or [`Engine::lookup_large`], and whether it is live.
pub(super) struct LookupRow {
    contact: Contact,
    is_live: bool,
    /// Whether it is no contact, and holds an ignored identifier.
    is_holder: bool,
}

impl LookupRow {
    /// Adds the contacts of a row, which has so many. Fails if its server takes no writes.
    pub(super) fn add(
        rows: &mut Vec<Self>,
        engine: Engine,
        row: &QueryResult,
        contacts: usize,
    ) -> Result<(), StoreError> {
        let width = LookupColumn::End as usize;
        check_is_primary(engine, row, contacts * width)?;
        for first in (0..contacts).map(|contact| contact * width) {
            rows.extend(Self::from_columns(row, first)?);
        }
        Ok(())
    }

    /// The contact whose columns begin at this position. `None` if it has no id: there is none.
    fn from_columns(row: &QueryResult, first: usize) -> Result<Option<Self>, StoreError> {
        let at = |column: LookupColumn| first + column as usize;
        let Some(id) = row.try_get_by_index::<Option<i64>>(at(LookupColumn::Id))? else { return Ok(None) };
        let moment = |column: LookupColumn| moment(row, at(column));
        let linked: Option<i64> = row.try_get_by_index(at(LookupColumn::LinkedId))?;
        let email = row.try_get_by_index(at(LookupColumn::Email))?;
        let phone = row.try_get_by_index(at(LookupColumn::PhoneNumber))?;
        let flags: i16 = row.try_get_by_index(at(LookupColumn::Flags))?;
        let is_holder = flags & flags::HOLDER != 0;
        let (carried, ignored) = flags::split(from_columns(email, phone), flags);
        let contact = Contact {
            id: ContactId(id),
            identifiers: carried.into(),
            ignored: ignored.into(),
            link: linked.map_or(Link::Primary, |primary| Link::SecondaryOf(ContactId(primary))),
            created_at: moment(LookupColumn::CreatedAt)?.ok_or_else(|| rejected("no createdAt"))?,
            updated_at: moment(LookupColumn::UpdatedAt)?.ok_or_else(|| rejected("no updatedAt"))?,
        };
        Ok(Some(Self { contact, is_live: moment(LookupColumn::DeletedAt)?.is_none(), is_holder }))
    }

    /// The id by which the contact's identity is found.
    fn root(&self) -> ContactId {
        match self.contact.link {
            Link::Primary => self.contact.id,
            Link::SecondaryOf(primary) => primary,
        }
    }
}

/// Groups contacts by identity, each contact once. An identity whose contacts are all soft-deleted is left out. Holders
/// say which identifiers are ignored.
pub(super) fn identities_from_rows(mut rows: Vec<LookupRow>) -> FoundIdentities {
    let holders = rows.extract_if(.., |row| row.is_holder);
    let ignored: BTreeSet<Identifier> = holders.flat_map(|row| row.contact.identifiers.to_vec()).collect();
    rows.sort_by_key(|row| (row.root(), row.contact.id));
    rows.dedup_by_key(|row| row.contact.id);
    let mut groups: Vec<(ContactId, Vec<Contact>, Vec<Contact>)> = Vec::new();
    for row in rows {
        let root = row.root();
        match groups.last_mut() {
            Some((same, live, deleted)) if *same == root => if row.is_live { live } else { deleted }.push(row.contact),
            _ if row.is_live => groups.push((root, vec![row.contact], Vec::new())),
            _ => groups.push((root, Vec::new(), vec![row.contact])),
        }
    }
    let identities =
        groups.into_iter().filter_map(|(_, live, deleted)| Some(Identity::new(live)?.with_deleted(deleted)));
    FoundIdentities { identities: identities.collect(), ignored }
}

#[cfg(test)]
mod tests {
    use sea_orm::DbBackend;

    use super::*;

    #[tokio::test]
    async fn a_read_only_server_is_known_by_number_and_by_word() {
        let database = sea_orm::Database::connect("sqlite::memory:").await.unwrap();
        let read_only = 1;
        for (said, is_primary) in
            [("0", true), ("'OFF'", true), ("1", false), ("'ON'", false), ("'NO_LOCK_NO_ADMIN'", false)]
        {
            let select = Statement::from_string(DbBackend::Sqlite, format!("SELECT 7, {said}"));
            let row = database.query_one_raw(select).await.unwrap().unwrap();
            for engine in [Engine::Mysql, Engine::Mariadb] {
                assert_eq!(check_is_primary(engine, &row, read_only).is_ok(), is_primary, "{said}");
            }
            assert!(check_is_primary(Engine::Sqlite, &row, read_only).is_ok());
        }
    }
}
