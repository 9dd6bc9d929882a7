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

/// A row of [`dialect::find`](super::dialect::find).
pub(super) fn contact(row: &QueryResult) -> Result<Contact, StoreError> {
    let linked: Option<i64> = row.try_get_by_index(3)?;
    Ok(Contact {
        id: ContactId(row.try_get_by_index(0)?),
        identifiers: from_columns(row.try_get_by_index(1)?, row.try_get_by_index(2)?).into(),
        link: linked.map_or(Link::Primary, |primary| Link::SecondaryOf(ContactId(primary))),
        created_at: from_naive(row.try_get_by_index(4)?),
        updated_at: from_naive(row.try_get_by_index(5)?),
    })
}

/// Contacts, each of them once, by the identity that they belong to.
pub(super) fn identities(mut contacts: Vec<Contact>) -> Vec<Identity> {
    let root = |contact: &Contact| match contact.link {
        Link::Primary => contact.id,
        Link::SecondaryOf(primary) => primary,
    };
    contacts.sort_by_key(|contact| (root(contact), contact.id));
    contacts.dedup_by_key(|contact| contact.id);
    contacts.chunk_by(|one, next| root(one) == root(next)).filter_map(|group| Identity::new(group.to_vec())).collect()
}
