//! Reads histories: all that the tables say about the past of an identity, in one consistent read.

use super::locked;
use crate::domain::ContactId;
use crate::store::{HistoryRead, Store, StoreError};

/// Reads the history of the identity of a contact.
///
/// # Errors
/// As every read. [`StoreError::HistoryTooLarge`] for an identity of too many rows.
pub(super) async fn read<S: Store>(store: &S, contact: ContactId) -> Result<HistoryRead, StoreError> {
    if store.epoch().is_some() {
        let read = store.history_of(contact).await?;
        if store.epoch().is_some() {
            return Ok(read);
        }
    }
    locked::history_of(store, contact).await
}
