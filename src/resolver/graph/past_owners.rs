//! Who owned some identifiers at an earlier moment.
//!
//! The row of an identifier names a contact, and the history of that contact's identity says who owned the identifier.
//! So an identifier whose row is gone has no past: that of deleted contacts, once it was given to another customer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::{history, locked};
use crate::domain::graph::PastIdentity;
use crate::domain::{ContactId, Identifier, OwnerRow, Timestamp};
use crate::resolver::aside::{Aside, run_aside};
use crate::resolver::deadline::has_passed;
use crate::store::{HistoryRows, MAX_LOOKUP, Store, StoreError};

/// The identities of one answer have so many contacts together: a bound on memory, far above the size of an answer.
const MAX_CONTACTS: usize = 200_000;

/// No row has this id, so its history is empty: the read says what time it is.
const NO_CONTACT: ContactId = ContactId(0);

/// Which identifiers, and when.
#[derive(Clone, Debug)]
pub(in crate::resolver) struct PastQuery {
    pub(in crate::resolver) identifiers: Vec<Identifier>,
    pub(in crate::resolver) at: Timestamp,
    /// When nobody waits for the answer any more.
    pub(in crate::resolver) deadline: Instant,
}

/// What is known of some identifiers at a moment.
#[derive(Clone, Debug)]
pub struct PastLookUp {
    /// The database's clock at the read. If the moment is later, nothing else is said.
    pub now: Timestamp,
    /// From when on all evidence is stored.
    pub complete_since: Option<Timestamp>,
    /// The identities that owned any of the identifiers, each once, in the order of the first identifier of each.
    pub identities: Vec<Arc<PastIdentity>>,
    /// The identifiers that nobody owned, in order.
    pub unknown: Vec<Identifier>,
    /// Whether the identities are too large together for any answer. Then `identities` are not all.
    pub is_too_large: bool,
}

/// Returns who owned these identifiers. Each identity is from one consistent read.
///
/// The histories are read one after the other. Of two that have a contact in common, because identities merge
/// meanwhile, the later one says who owned the identifiers. So no two identities have a contact in common.
///
/// `None` if the deadline has passed meanwhile: what was found by then is no answer.
///
/// # Errors
/// As every read. [`StoreError::HistoryTooLarge`] for an identity of too many rows.
pub(super) async fn look_up<S: Store>(store: &S, query: &PastQuery) -> Result<Option<PastLookUp>, StoreError> {
    let PastQuery { identifiers, at, deadline } = query;
    let named = named_contacts(store, identifiers).await?;
    let mut owners: Vec<Option<Arc<PastIdentity>>> = vec![None; identifiers.len()];
    let mut is_read = vec![false; identifiers.len()];
    let mut moments = None;
    for (position, contact) in named.iter().enumerate() {
        let Some(contact) = contact.filter(|_| !is_read[position]) else { continue };
        let read = history::read(store, contact).await?;
        moments.get_or_insert((read.now, read.complete_since));
        if *at > read.now {
            break;
        }
        is_read[position] = true;
        let Some(rows) = read.identity else { continue };
        let is_of = |named: &Option<ContactId>| named.is_some_and(|contact| rows.has_row(contact));
        let asked: Vec<usize> = (0..named.len()).filter(|position| is_of(&named[*position])).collect();
        let of_rows: Vec<Identifier> = asked.iter().map(|position| identifiers[*position].clone()).collect();
        let (at, deadline) = (*at, *deadline);
        let found = run_aside(Aside::History, rows.len(), move || owners_in(rows, &of_rows, at, deadline)).await?;
        let Some(found) = found else { return Ok(None) };
        for (position, owner) in asked.into_iter().zip(found) {
            (owners[position], is_read[position]) = (owner, true);
        }
        if contact_count(&owners) > MAX_CONTACTS {
            break;
        }
    }
    let (now, complete_since) = match moments {
        Some(moments) => moments,
        None => {
            let read = history::read(store, NO_CONTACT).await?;
            (read.now, read.complete_since)
        }
    };
    let is_too_large = contact_count(&owners) > MAX_CONTACTS;
    let without = identifiers.iter().zip(&owners).filter(|(_, owner)| owner.is_none());
    let unknown = without.map(|(identifier, _)| identifier.clone()).collect();
    Ok(Some(PastLookUp { now, complete_since, identities: distinct(&owners), unknown, is_too_large }))
}

/// Returns the contact that the row of each identifier names. An ignored identifier belongs to nobody.
async fn named_contacts<S: Store>(store: &S, identifiers: &[Identifier]) -> Result<Vec<Option<ContactId>>, StoreError> {
    let mut named = HashMap::new();
    for some in identifiers.chunks(MAX_LOOKUP) {
        let rows = owner_rows(store, some).await?;
        let owned = rows.into_iter().filter(|row| !row.is_ignored);
        named.extend(owned.map(|row| (row.identifier, row.contact)));
    }
    Ok(identifiers.iter().map(|identifier| named.get(identifier).copied()).collect())
}

async fn owner_rows<S: Store>(store: &S, identifiers: &[Identifier]) -> Result<Vec<OwnerRow>, StoreError> {
    if store.epoch().is_some() {
        let rows = store.owner_rows(identifiers).await?;
        if store.epoch().is_some() {
            return Ok(rows);
        }
    }
    locked::owner_rows(store, identifiers).await
}

/// Returns who owned each of these identifiers, in order. `None` if the deadline passes meanwhile.
fn owners_in(
    rows: HistoryRows,
    identifiers: &[Identifier],
    at: Timestamp,
    deadline: Instant,
) -> Option<Vec<Option<Arc<PastIdentity>>>> {
    let was_live = rows.contacts.iter().filter(|row| row.deleted_at.is_none_or(|deleted| deleted > at));
    let carried: HashSet<Identifier> = was_live.flat_map(|row| row.contact.identifiers.to_vec()).collect();
    let history = rows.into_history();
    let mut known: HashMap<Identifier, Arc<PastIdentity>> = HashMap::new();
    let mut owners = Vec::with_capacity(identifiers.len());
    for identifier in identifiers {
        if has_passed(deadline) {
            return None;
        }
        let is_new = !known.contains_key(identifier) && carried.contains(identifier);
        if let Some(owner) = if is_new { history.owner_at(identifier, at).map(Arc::new) } else { None } {
            let of_owner = owner.contacts.iter().flat_map(|contact| contact.identifiers.iter());
            known.extend(of_owner.map(|identifier| (identifier.clone(), Arc::clone(&owner))));
        }
        owners.push(known.get(identifier).cloned());
    }
    Some(owners)
}

fn contact_count(owners: &[Option<Arc<PastIdentity>>]) -> usize {
    distinct(owners).iter().map(|identity| identity.contacts.len()).sum()
}

/// Each of these identities once, in order.
fn distinct(owners: &[Option<Arc<PastIdentity>>]) -> Vec<Arc<PastIdentity>> {
    let mut seen = HashSet::new();
    let identities = owners.iter().flatten();
    identities.filter(|identity| seen.insert(identity.contacts.first().map(|one| one.id))).cloned().collect()
}
