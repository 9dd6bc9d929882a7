//! The rows of `Engine::history`.

/// The columns of `Engine::history`, in order. What a row is says [`Self::Part`].
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum HistoryColumn {
    /// [`CONTACT`], [`SET`], [`LINK`] or [`STATE`].
    Part,
    /// Of the contact, of the set, or of the absorbed contact.
    Id,
    Email,
    PhoneNumber,
    /// The row that the contact is linked to, or the survivor of the merge.
    LinkedId,
    /// Of the contact, the set or the merge. The database's clock in the row [`STATE`].
    CreatedAt,
    /// Of the contact. In the row [`STATE`] it is from when on the evidence is complete.
    UpdatedAt,
    DeletedAt,
    Flags,
    Origin,
    /// The set, or the cause of the merge: a text of JSON.
    Identifiers,
    /// Only in the row [`STATE`], and only where `Engine::read_only_column` has one.
    ReadOnly,
}

/// A row of `Contact`.
pub(in crate::store) const CONTACT: &str = "contact";
/// A row of `Evidence`.
pub(in crate::store) const SET: &str = "set";
/// A row of `ContactMerge` whose cause can be a link.
pub(in crate::store) const LINK: &str = "link";
/// One row: what holds for the whole read.
pub(in crate::store) const STATE: &str = "state";

/// How many rows `Engine::history` returns at most: one more than an identity may have.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct HistoryLimit {
    pub(in crate::store) contacts: usize,
    pub(in crate::store) sets: usize,
}
