//! Reads a page of all identities.

use std::sync::Arc;

use super::job::PageQuery;
use super::read_graph::IdentityPage;
use crate::domain::{ContactId, Identity};
use crate::store::{ExpectedSize, MAX_LOOKUP, RootWindow, Store, StoreError, Transaction};

/// A page ends when its identities have so many contacts together.
const MAX_CONTACTS: usize = 16_384;

/// A page ends after so many statements for roots, however few of them have an identity: a million rows in a row can be
/// secondaries, or customers that an operator has deleted.
const MAX_PARTS: usize = 16;

/// Where a part of a page is read.
enum Source<'a, S: Store> {
    Store(&'a S),
    /// Under locks, where several servers take writes.
    Locked(S::Transaction),
}

impl<S: Store> Source<'_, S> {
    async fn roots_after(&mut self, after: Option<ContactId>, limit: usize) -> Result<RootWindow, StoreError> {
        match self {
            Self::Store(store) => store.roots_after(after, limit).await,
            Self::Locked(transaction) => transaction.roots_after(after, limit).await,
        }
    }

    async fn identities_of(&mut self, roots: &[ContactId], size: ExpectedSize) -> Result<Vec<Identity>, StoreError> {
        match self {
            Self::Store(store) => store.identities_of(roots, size).await,
            Self::Locked(transaction) => transaction.identities_of(roots, size).await,
        }
    }

    async fn end(self) -> Result<(), StoreError> {
        match self {
            Self::Store(_) => Ok(()),
            Self::Locked(transaction) => transaction.commit().await,
        }
    }
}

/// Returns a page. It is not complete if nobody wants it any more: no further statement is run then.
///
/// # Errors
/// As every read.
pub(super) async fn page<S: Store>(
    store: &S,
    query: PageQuery,
    is_wanted: impl Fn() -> bool,
) -> Result<IdentityPage, StoreError> {
    if store.epoch().is_some() {
        let page = read_page(store, query, false, &is_wanted).await?;
        if store.epoch().is_some() || !is_wanted() {
            return Ok(page);
        }
    }
    read_page(store, query, true, &is_wanted).await
}

async fn read_page<S: Store>(
    store: &S,
    query: PageQuery,
    is_locked: bool,
    is_wanted: &impl Fn() -> bool,
) -> Result<IdentityPage, StoreError> {
    let mut page = IdentityPage { identities: Vec::new(), next: query.after };
    let mut room = MAX_CONTACTS;
    for _ in 0..MAX_PARTS {
        let wanted = query.limit.saturating_sub(page.identities.len()).min(MAX_LOOKUP);
        if wanted == 0 || room == 0 || !is_wanted() {
            return Ok(page);
        }
        let mut source = if is_locked { Source::Locked(store.begin().await?) } else { Source::Store(store) };
        let RootWindow { roots, next } = source.roots_after(page.next, wanted).await?;
        let last = read_part(&mut source, &roots, &mut page.identities, &mut room, is_wanted).await?;
        source.end().await?;
        if last == roots.last().copied() {
            page.next = next;
        } else {
            page.next = last.or(page.next);
        }
        if page.next.is_none() {
            return Ok(page);
        }
    }
    Ok(page)
}

/// Adds the identities of these roots, until there is no more room, or nobody waits any more. Returns the last root
/// that was read.
///
/// A root that another identity has absorbed meanwhile has none.
async fn read_part<S: Store>(
    source: &mut Source<'_, S>,
    roots: &[ContactId],
    identities: &mut Vec<Arc<Identity>>,
    room: &mut usize,
    is_wanted: &impl Fn() -> bool,
) -> Result<Option<ContactId>, StoreError> {
    let mut parts = vec![roots];
    let mut last = None;
    while let Some(part) = parts.pop().filter(|part| !part.is_empty() && *room > 0 && is_wanted()) {
        let size = if part.len() == 1 { ExpectedSize::Large } else { ExpectedSize::NotLarge };
        match source.identities_of(part, size).await {
            Ok(read) => {
                for identity in read.into_iter().filter(|identity| identity.missing_root().is_none()) {
                    *room = room.saturating_sub(identity.contacts().len());
                    identities.push(Arc::new(identity));
                }
                last = part.last().copied();
            }
            // A large one is read alone, and so are those before it.
            Err(StoreError::OneIsLarge(_) | StoreError::TooSlow(_) | StoreError::CutShort(_)) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(last)
}
