//! Between the tables' types and the domain's.

use chrono::{DateTime, NaiveDateTime};
use sea_orm::QueryResult;

use super::StoreError;
use super::entity::contact::LinkPrecedence;
use super::error::Cause;
use crate::domain::{Contact, ContactId, Identifier, IdentifierKind, Identity, Link, Timestamp};

pub(super) fn from_naive(moment: NaiveDateTime) -> Timestamp {
    Timestamp(moment.and_utc().timestamp_micros())
}

pub(super) fn to_naive(moment: Timestamp) -> Result<NaiveDateTime, StoreError> {
    DateTime::from_timestamp_micros(moment.0)
        .map(|moment| moment.naive_utc())
        .ok_or_else(|| StoreError::Rejected(Cause::new("a moment out of range")))
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

/// A row of [`dialect::find`](super::dialect::find).
pub(super) fn row(row: &QueryResult) -> Result<Row, StoreError> {
    let linked: Option<i64> = row.try_get_by_index(3)?;
    let deleted: Option<NaiveDateTime> = row.try_get_by_index(6)?;
    let contact = Contact {
        id: ContactId(row.try_get_by_index(0)?),
        identifiers: from_columns(row.try_get_by_index(1)?, row.try_get_by_index(2)?).into(),
        link: linked.map_or(Link::Primary, |primary| Link::SecondaryOf(ContactId(primary))),
        created_at: from_naive(row.try_get_by_index(4)?),
        updated_at: from_naive(row.try_get_by_index(5)?),
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
