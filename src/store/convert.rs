//! Between the tables' types and the domain's.

use chrono::{DateTime, NaiveDateTime};
use sea_orm::QueryResult;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueRef, Postgres};
use sqlx::{Decode, Row as _};

use super::StoreError;
use super::entity::contact::LinkPrecedence;
use super::error::{Cause, from_sqlx};
use crate::domain::{Contact, ContactId, Identifier, IdentifierKind, Identity, Link, Timestamp};

pub(super) fn from_naive(moment: NaiveDateTime) -> Timestamp {
    Timestamp(moment.and_utc().timestamp_micros())
}

pub(super) fn to_naive(moment: Timestamp) -> Result<NaiveDateTime, StoreError> {
    DateTime::from_timestamp_micros(moment.0)
        .map(|moment| moment.naive_utc())
        .ok_or_else(|| rejected("a moment out of range"))
}

/// What the columns of a contact carry. The one place, with [`to_columns`], that knows which column is
/// of which kind.
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

pub(super) fn precedence<Id>(link: &Link<Id>) -> LinkPrecedence {
    match link {
        Link::Primary => LinkPrecedence::Primary,
        Link::SecondaryOf(_) => LinkPrecedence::Secondary,
    }
}

/// A contact, and whether it is live.
pub(super) struct Row {
    contact: Contact,
    is_live: bool,
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
        <i64 as Decode<Postgres>>::decode(value).map(Self)
    }
}

/// A column that has a moment. PostgreSQL's are not read as `NaiveDateTime`: sqlx panics at an infinity.
pub(super) fn moment(row: &QueryResult, index: usize) -> Result<Option<Timestamp>, StoreError> {
    let Some(row) = row.try_as_pg_row() else {
        return Ok(row.try_get_by_index::<Option<NaiveDateTime>>(index)?.map(from_naive));
    };
    let moment: Option<PostgresMoment> = row.try_get(index).map_err(|error| from_sqlx(&error))?;
    moment.map(|moment| moment.timestamp().ok_or_else(|| rejected("an infinite moment"))).transpose()
}

fn rejected(cause: &str) -> StoreError {
    StoreError::Rejected(Cause::new(cause))
}

/// How many columns [`row`] reads.
pub(super) const COLUMNS: usize = 7;

/// A row of [`dialect::find`](super::dialect::find).
pub(super) fn row(row: &QueryResult) -> Result<Row, StoreError> {
    let linked: Option<i64> = row.try_get_by_index(3)?;
    let (created, updated, deleted) = (moment(row, 4)?, moment(row, 5)?, moment(row, 6)?);
    let contact = Contact {
        id: ContactId(row.try_get_by_index(0)?),
        identifiers: from_columns(row.try_get_by_index(1)?, row.try_get_by_index(2)?).into(),
        link: linked.map_or(Link::Primary, |primary| Link::SecondaryOf(ContactId(primary))),
        created_at: created.ok_or_else(|| rejected("no createdAt"))?,
        updated_at: updated.ok_or_else(|| rejected("no updatedAt"))?,
    };
    Ok(Row { contact, is_live: deleted.is_none() })
}

/// Contacts, each of them once, by the identity that they belong to. Where all are deleted, there is none.
pub(super) fn identities(mut rows: Vec<Row>) -> Vec<Identity> {
    let root = |row: &Row| match row.contact.link {
        Link::Primary => row.contact.id,
        Link::SecondaryOf(primary) => primary,
    };
    rows.sort_by_key(|row| (root(row), row.contact.id));
    rows.dedup_by_key(|row| row.contact.id);
    let mut groups: Vec<(ContactId, Vec<Contact>, Vec<Contact>)> = Vec::new();
    for row in rows {
        let root = root(&row);
        match groups.last_mut() {
            Some((same, live, deleted)) if *same == root => if row.is_live { live } else { deleted }.push(row.contact),
            _ if row.is_live => groups.push((root, vec![row.contact], Vec::new())),
            _ => groups.push((root, Vec::new(), vec![row.contact])),
        }
    }
    groups.into_iter().filter_map(|(_, live, deleted)| Some(Identity::new(live)?.with_deleted(deleted))).collect()
}
