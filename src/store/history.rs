//! Reading the history of an identity.

use sea_orm::{ConnectionTrait, QueryResult};
use tokio::task::yield_now;

use super::clock::Clock;
use super::entity::contact_merge::{CauseIdentifier, MergeCause};
use super::error::{Cause, StoreError};
use super::flags;
use super::lookup::ROWS_AT_ONCE;
use super::rows::{check_is_primary, from_columns, identifiers_from_json, moment};
use super::sql::{CONTACT, Engine, HistoryColumn, HistoryLimit, LINK, SET, STATE};
use super::traits::{HistoryRead, HistoryRows, MAX_HISTORY_CONTACTS, MAX_HISTORY_SETS};
use crate::domain::graph::{HistoryContact, LinkMerge, StoredSet};
use crate::domain::{Contact, ContactId, EvidenceOrigin, Link, Timestamp};

/// One more than an identity may have, so that the read shows that it has more.
pub(super) const LIMIT: HistoryLimit = HistoryLimit { contacts: MAX_HISTORY_CONTACTS + 1, sets: MAX_HISTORY_SETS + 1 };

/// Returns the history of the identity of a contact. It is one statement.
///
/// # Errors
/// [`StoreError::HistoryTooLarge`] if there is a limit, and the identity has as many contacts or sets.
pub(super) async fn query_history(
    connection: &impl ConnectionTrait,
    engine: Engine,
    contact: ContactId,
    limit: Option<HistoryLimit>,
) -> Result<HistoryRead, StoreError> {
    let found = connection.query_all_raw(engine.history(contact.0, limit)).await?;
    let (mut read, mut identity) = (None, HistoryRows::default());
    for (position, row) in found.iter().enumerate() {
        if position % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 {
            yield_now().await;
        }
        match &row.try_get_by_index::<String>(HistoryColumn::Part as usize)?[..] {
            CONTACT => identity.contacts.extend(contact_from_row(row)?),
            SET => identity.stored.extend(set_from_row(row)?),
            LINK => identity.links.extend(link_from_row(row)?),
            STATE => read = Some(state_from_row(engine, row)?),
            _ => return Err(rejected("an unknown part")),
        }
    }
    if let Some(limit) = limit
        && (identity.contacts.len() >= limit.contacts || identity.stored.len() >= limit.sets)
    {
        return Err(StoreError::HistoryTooLarge);
    }
    identity.contacts.sort_by_key(|row| row.contact.id);
    identity.contacts.dedup_by_key(|row| row.contact.id); // A damaged row can be linked to itself.
    let own = identity.contacts.iter().find(|row| row.contact.id == contact);
    identity.root = own.map_or(contact, |row| root_of(&row.contact));
    let mut read = read.ok_or_else(|| rejected("no state"))?;
    read.identity = Some(identity).filter(|identity| !identity.contacts.is_empty());
    Ok(read)
}

/// The row that all contacts of an identity but the first are linked to.
fn root_of(contact: &Contact) -> ContactId {
    match contact.link {
        Link::Primary => contact.id,
        Link::SecondaryOf(root) => root,
    }
}

fn state_from_row(engine: Engine, row: &QueryResult) -> Result<HistoryRead, StoreError> {
    check_is_primary(engine, row, HistoryColumn::ReadOnly as usize)?;
    let now = match engine {
        Engine::Sqlite => Clock::of_this_process().now,
        Engine::Mysql | Engine::Mariadb | Engine::Postgres => required(row, HistoryColumn::CreatedAt)?,
    };
    Ok(HistoryRead { now, complete_since: moment(row, HistoryColumn::UpdatedAt as usize)?, identity: None })
}

/// `None` for a holder, which is no contact.
fn contact_from_row(row: &QueryResult) -> Result<Option<HistoryContact>, StoreError> {
    let flags: i16 = row.try_get_by_index(HistoryColumn::Flags as usize)?;
    if flags & flags::HOLDER != 0 {
        return Ok(None);
    }
    let linked: Option<i64> = row.try_get_by_index(HistoryColumn::LinkedId as usize)?;
    let email = row.try_get_by_index(HistoryColumn::Email as usize)?;
    let phone = row.try_get_by_index(HistoryColumn::PhoneNumber as usize)?;
    let (carried, ignored) = flags::split(from_columns(email, phone), flags);
    let contact = Contact {
        id: ContactId(row.try_get_by_index(HistoryColumn::Id as usize)?),
        identifiers: carried.into(),
        ignored: ignored.into(),
        link: linked.map_or(Link::Primary, |root| Link::SecondaryOf(ContactId(root))),
        created_at: required(row, HistoryColumn::CreatedAt)?,
        updated_at: required(row, HistoryColumn::UpdatedAt)?,
    };
    Ok(Some(HistoryContact { contact, deleted_at: moment(row, HistoryColumn::DeletedAt as usize)? }))
}

/// `None` for a set with an identifier of a kind of a later version.
fn set_from_row(row: &QueryResult) -> Result<Option<StoredSet>, StoreError> {
    let name: String = row.try_get_by_index(HistoryColumn::Origin as usize)?;
    let origin = EvidenceOrigin::ALL.into_iter().find(|origin| origin.name() == name);
    let Some(identifiers) = identifiers_from_row(row)?.as_ref().and_then(identifiers_from_json) else {
        return Ok(None);
    };
    Ok(Some(StoredSet {
        id: row.try_get_by_index(HistoryColumn::Id as usize)?,
        identifiers: identifiers.into(),
        origin: origin.unwrap_or(EvidenceOrigin::Match), // One of a later version.
        seen_at: required(row, HistoryColumn::CreatedAt)?,
    }))
}

/// `None` for a merge that identifiers confirm: evidence has those.
fn link_from_row(row: &QueryResult) -> Result<Option<LinkMerge>, StoreError> {
    if identifiers_from_row(row)?.is_none_or(|MergeCause(cause)| cause != [CauseIdentifier::link()]) {
        return Ok(None);
    }
    Ok(Some(LinkMerge {
        absorbed: ContactId(row.try_get_by_index(HistoryColumn::Id as usize)?),
        survivor: ContactId(row.try_get_by_index(HistoryColumn::LinkedId as usize)?),
        at: required(row, HistoryColumn::CreatedAt)?,
    }))
}

fn identifiers_from_row(row: &QueryResult) -> Result<Option<MergeCause>, StoreError> {
    let text: String = row.try_get_by_index(HistoryColumn::Identifiers as usize)?;
    Ok(serde_json::from_str(&text).ok())
}

fn required(row: &QueryResult, column: HistoryColumn) -> Result<Timestamp, StoreError> {
    moment(row, column as usize)?.ok_or_else(|| rejected("no moment"))
}

fn rejected(cause: &str) -> StoreError {
    StoreError::Rejected(Cause::new(cause))
}
