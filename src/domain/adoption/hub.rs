//! What alone joins more identities of the old table than is usual.

use crate::domain::identifier::IdentifierKind;

/// What joins many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HubCause {
    /// An identifier of this kind, such as the phone number of a shop.
    Identifier(IdentifierKind),
    /// Links to one row that does not exist.
    MissingRow,
}

impl HubCause {
    /// Returns its name in reports and in the files of `--ignore` and `--accept`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identifier(kind) => kind.name(),
            Self::MissingRow => "link",
        }
    }
}

/// Something that alone joins more identities of the old table than is usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hub {
    /// What it is.
    pub cause: HubCause,
    /// How many identities of the old table an identifier joins, or how many rows link to the missing row.
    pub identities: usize,
    /// The id of the first live row that carries the identifier, or the id of the missing row.
    pub contact: i64,
    /// Whether somebody has decided that it joins them.
    pub is_accepted: bool,
}
