//! The rows of an old table as the rules see them.

use crate::domain::adoption::{OldContact, UnreadableParts};
use crate::store::old_table::OldRow;

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
        shown: [false; 2],
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
