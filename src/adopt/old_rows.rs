//! The rows of the old table, read ahead while others are handled.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::domain::adoption::{OldContact, UnreadableParts};
use crate::store::old_table::{OldRow, OldTable, OldTableError};

/// Pages that are read ahead.
const AHEAD: usize = 4;

/// All rows of a table, page by page.
#[derive(Debug)]
pub(super) struct OldRows(mpsc::Receiver<Result<Vec<OldRow>, OldTableError>>);

impl OldRows {
    /// Begins to read all rows, by id.
    pub(super) fn read(table: &Arc<OldTable>) -> Self {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let table = Arc::clone(table);
        tokio::spawn(async move {
            let mut last = 0;
            loop {
                let page = table.rows_after(last, OldTable::PAGE_SIZE).await;
                let rows = page.as_ref().map_or(0, Vec::len);
                let is_last = u64::try_from(rows).is_ok_and(|rows| rows < OldTable::PAGE_SIZE);
                if let Ok(page) = &page {
                    last = page.last().map_or(last, |row| row.id);
                }
                if sender.send(page).await.is_err() || is_last {
                    return;
                }
            }
        });
        Self(receiver)
    }

    /// Returns the next page; `None` at the end.
    ///
    /// # Errors
    /// As every read of the old table.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<OldRow>>, OldTableError> {
        self.0.recv().await.transpose()
    }
}

/// Returns a row as the rules see it.
pub(super) fn contact(row: &OldRow) -> OldContact {
    let unreadable = row.unreadable;
    OldContact {
        id: row.id,
        email: row.email.clone(),
        phone_number: row.phone_number.clone(),
        linked_id: row.linked_id,
        says_primary: row.precedence.is_secondary().map(|is_secondary| !is_secondary),
        created_at: row.created_at,
        updated_at: row.updated_at,
        deleted_at: row.deleted_at,
        unreadable: UnreadableParts {
            email: unreadable.email,
            phone_number: unreadable.phone_number,
            link: unreadable.linked_id,
            created_at: unreadable.created_at,
            updated_at: unreadable.updated_at,
        },
        precedence: row.precedence.as_str().map(str::to_owned),
    }
}
