//! The columns of the statements of a read by version.

/// The columns of [`Engine::root_rows`](super::Engine::root_rows), in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RootRowColumn {
    Id,
    UpdatedAt,
    DeletedAt,
    LinkedId,
    /// Only where the database has a column that says so.
    ReadOnly,
}

/// The columns of [`Engine::owner_rows`](super::Engine::owner_rows), in order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OwnerRowColumn {
    Kind,
    Value,
    ContactId,
    DeletedAt,
    Flags,
    Email,
    PhoneNumber,
    /// The first of four: those of [`RootRowColumn`].
    Root,
    /// Only where the database has a column that says so.
    ReadOnly = 11,
}

/// The columns of [`RootRowColumn`], of a contact.
pub(super) fn root_row_columns(contact: &str) -> String {
    ["id", "updatedAt", "deletedAt", "linkedId"].map(|column| format!(r#"{contact}."{column}""#)).join(", ")
}

/// The columns of [`OwnerRowColumn`]: of an identifier `i`, its contact `o` and the root `r` of that.
pub(super) fn owner_row_columns() -> String {
    let root = root_row_columns("r");
    format!(r#"i."kind", i."value", o."id", o."deletedAt", o."flags", o."email", o."phoneNumber", {root}"#)
}
