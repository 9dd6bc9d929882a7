//! Pages of what a history has.

use prost::Message;

use super::identity_message::size_in_list;
use crate::domain::ContactId;
use crate::domain::graph::History;
use crate::store::HistoryRead;
use crate::transport::errors::ApiError;

/// Returns the history of the identity of a contact that is not deleted.
///
/// # Errors
/// [`ApiError::UnknownIdentity`].
pub(super) fn live_history(read: HistoryRead, contact: ContactId) -> Result<History, ApiError> {
    let rows = read.identity.filter(|rows| rows.has_live(contact)).ok_or(ApiError::UnknownIdentity)?;
    Ok(rows.into_history())
}

/// What a page may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct HistoryPage {
    /// Maximum entries.
    pub(super) limit: usize,
    /// Maximum bytes. The first entry is on the page in any case.
    pub(super) room: usize,
}

impl HistoryPage {
    /// Returns the entries after this key, as messages, in the order of their keys. If there are more, returns also the
    /// key of the last one.
    pub(super) fn messages_after<K: Copy + Ord, T, M: Message>(
        self,
        mut entries: Vec<(K, &T)>,
        after: Option<K>,
        message: impl Fn(&T) -> M,
    ) -> (Vec<M>, Option<K>) {
        entries.retain(|(key, _)| after.is_none_or(|after| *key > after));
        entries.sort_by_key(|(key, _)| *key);
        let (mut messages, mut room) = (Vec::new(), self.room);
        for (_, entry) in entries.iter().take(self.limit) {
            let message = message(entry);
            let size = size_in_list(&message);
            if size > room && !messages.is_empty() {
                break;
            }
            room = room.saturating_sub(size);
            messages.push(message);
        }
        let last = messages.len().checked_sub(1).map(|last| entries[last].0);
        let is_last_page = messages.len() == entries.len();
        (messages, last.filter(|_| !is_last_page))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::identity::v1 as pb;

    fn pages(limit: usize, room: usize, mut after: Option<i64>) -> Vec<Vec<i64>> {
        let all: Vec<i64> = [5, 3, 9, 1, 7].into();
        let mut pages = Vec::new();
        loop {
            let entries = all.iter().map(|number| (*number, number)).collect();
            let message = |number: &i64| pb::Part { primary_contact_id: *number, ..Default::default() };
            let (page, next) = HistoryPage { limit, room }.messages_after(entries, after, message);
            pages.push(page.into_iter().map(|one| one.primary_contact_id).collect());
            after = next;
            if after.is_none() {
                return pages;
            }
        }
    }

    #[test]
    fn pages_have_each_entry_once_and_in_order() {
        assert_eq!(pages(5, 1_000, None), [vec![1, 3, 5, 7, 9]]);
        assert_eq!(pages(2, 1_000, None), [vec![1, 3], vec![5, 7], vec![9]]);
        assert_eq!(pages(2, 1_000, Some(4)), [vec![5, 7], vec![9]], "the entry itself can be gone");
        assert_eq!(pages(2, 1_000, Some(9)), [Vec::<i64>::new()]);
        assert_eq!(pages(5, 8, None), [vec![1, 3], vec![5, 7], vec![9]], "an entry takes 4 bytes");
        assert_eq!(pages(5, 0, None).len(), 5, "the first one fits always");
    }
}
