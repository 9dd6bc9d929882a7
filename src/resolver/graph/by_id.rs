//! Reads identities by the ids of their contacts.
//!
//! 1. Of an identity in the cache, only the row of its root is read: a copy with that version is the identity.
//! 2. Otherwise one statement reads the contacts that have the id, or are linked to it. For the root of an identity
//!    that is all. For another contact it is that contact alone, and a second statement reads the identity of its root.
//!
//! Each identity is as the last statement about it found it. If it was absorbed between two statements, the next one
//! follows the link.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::locked;
use crate::domain::{ContactId, Identity, Link};
use crate::resolver::cache::{IdentityCache, ReadAt};
use crate::store::{Cause, Epoch, ExpectedSize, Store, StoreError};

/// The most statements in a row that follow a link. A link never leads to a secondary, so a second statement follows
/// one only if identities merge meanwhile.
const MAX_STEPS: usize = 8;

/// Reads from a store and its cache.
pub(in crate::resolver) struct IdReader<S> {
    pub(in crate::resolver) store: S,
    pub(in crate::resolver) cache: IdentityCache,
}

/// A contact whose identity is sought, and the id by which the next statement reads it.
struct Sought {
    contact: ContactId,
    by: ContactId,
}

impl<S: Store> IdReader<S> {
    /// Returns the identity of each of these contacts (at most [`MAX_LOOKUP`](crate::store::MAX_LOOKUP)), in order.
    /// `None` if no identity has the contact.
    ///
    /// # Errors
    /// As every read. [`StoreError::OneIsLarge`] if the expected size is [`ExpectedSize::NotLarge`].
    pub(super) async fn identities_of(
        &self,
        contacts: &[ContactId],
        size: ExpectedSize,
    ) -> Result<Vec<Option<Arc<Identity>>>, StoreError> {
        if let Some(epoch) = self.store.epoch() {
            let found = self.read(contacts, epoch, size).await?;
            if self.store.epoch().is_some() {
                return Ok(contacts.iter().map(|contact| found.get(contact).cloned()).collect());
            }
        }
        let mut found = Vec::with_capacity(contacts.len());
        for contact in contacts {
            found.push(locked::identity_of(&self.store, *contact).await?);
        }
        Ok(found)
    }

    async fn read(
        &self,
        contacts: &[ContactId],
        epoch: Epoch,
        size: ExpectedSize,
    ) -> Result<HashMap<ContactId, Arc<Identity>>, StoreError> {
        let mut found = self.current_copies(contacts, epoch).await?;
        let is_found = |contact: &&ContactId| found.contains_key(contact);
        let others = contacts.iter().filter(|contact| !is_found(contact));
        let mut sought: Vec<Sought> = others.map(|contact| Sought { contact: *contact, by: *contact }).collect();
        for _ in 0..MAX_STEPS {
            if sought.is_empty() {
                return Ok(found);
            }
            let read = self.read_by(&sought, epoch, size).await?;
            let mut next = Vec::new();
            for Sought { contact, by } in sought {
                let Some(identity) = read.get(&by) else { continue };
                match identity.missing_root().filter(|root| *root != by) {
                    Some(root) => next.push(Sought { contact, by: root }),
                    None if identity.has_contact(contact) => drop(found.insert(contact, Arc::clone(identity))),
                    None => {}
                }
            }
            sought = next;
        }
        Err(StoreError::LostRace(Cause::new("an identity moved with each read")))
    }

    /// Returns the copies of the cache that are roots of this list and still right.
    async fn current_copies(
        &self,
        contacts: &[ContactId],
        epoch: Epoch,
    ) -> Result<HashMap<ContactId, Arc<Identity>>, StoreError> {
        let copies = contacts.iter().filter_map(|root| Some((*root, self.cache.find_root(*root, epoch)?.identity)));
        let copies: HashMap<ContactId, Arc<Identity>> = copies.collect();
        if copies.is_empty() {
            return Ok(copies);
        }
        let roots: Vec<ContactId> = copies.keys().copied().collect();
        let rows = self.store.root_rows(&roots).await?;
        if self.store.epoch() != Some(epoch) {
            return Ok(HashMap::new());
        }
        let current = rows.iter().filter_map(|row| {
            let copy = copies.get(&row.id)?;
            row.proves(copy).then(|| (row.id, Arc::clone(copy)))
        });
        Ok(current.collect())
    }

    /// Reads the identities of these contacts, by the ids of this step. Keeps copies of them.
    async fn read_by(
        &self,
        sought: &[Sought],
        epoch: Epoch,
        size: ExpectedSize,
    ) -> Result<HashMap<ContactId, Arc<Identity>>, StoreError> {
        let mut ids: Vec<ContactId> = sought.iter().map(|sought| sought.by).collect();
        ids.sort_unstable();
        ids.dedup();
        let begun = Instant::now();
        let identities = self.store.identities_of(&ids, size).await?;
        let is_same_epoch = self.store.epoch() == Some(epoch);
        let mut read = HashMap::new();
        for identity in identities.into_iter().map(Arc::new) {
            if is_same_epoch && identity.missing_root().is_none() {
                self.cache.put(&identity, ReadAt { epoch, time: begun }, []);
            }
            // Also the id that its contacts are linked to, if that row is gone.
            let linked_to = match identity.primary().link {
                Link::Primary => None,
                Link::SecondaryOf(root) => Some(root),
            };
            let rows = identity.rows().map(|contact| contact.id).chain(linked_to);
            let asked: Vec<ContactId> = rows.filter(|id| ids.binary_search(id).is_ok()).collect();
            read.extend(asked.into_iter().map(|id| (id, Arc::clone(&identity))));
        }
        Ok(read)
    }
}
