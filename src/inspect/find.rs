use super::inspected::Inspected;
use crate::domain::graph::History;
use crate::domain::{ContactId, Identifier, Timestamp};
use crate::store::{Database, Store, StoreError};

/// Whose identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// That of this contact.
    Contact(ContactId),
    /// That which owns this identifier.
    Owner(Identifier),
}

/// What is read.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Whose identity.
    pub who: Who,
    /// The moment. `None` is now.
    pub at: Option<Timestamp>,
    /// Whether values are printed as they are.
    pub shows_values: bool,
}

/// Why there is no identity. One line for the operator, without a value.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The contact does not exist, or did not exist then, or is deleted.
    #[error("no identity has a contact with this id")]
    UnknownContact,
    /// Nobody owns the identifier, or owned it then.
    #[error("nobody owns this {0}")]
    UnknownIdentifier(&'static str),
    /// An operator ignores the identifier.
    #[error("this {0} is ignored: it belongs to nobody")]
    Ignored(&'static str),
    /// The moment has not come.
    #[error("--read-time: must not be later than the clock of the database")]
    LaterThanNow,
    /// The database cannot be read.
    #[error("the identity cannot be read: {0}")]
    Store(#[from] StoreError),
}

impl InspectError {
    /// Returns whether the database has no such identity.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::UnknownContact | Self::UnknownIdentifier(_) | Self::Ignored(_))
    }

    /// Returns whether the command line is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::LaterThanNow)
    }
}

/// Reads an identity. It is one consistent read, without locks.
///
/// # Errors
/// [`InspectError`].
pub async fn find_identity(database: &Database, lookup: Lookup) -> Result<Inspected, InspectError> {
    let Lookup { who, at, shows_values } = lookup;
    let contact = match &who {
        Who::Contact(id) => *id,
        Who::Owner(identifier) => named_contact(database, identifier).await?,
    };
    let read = database.whole_history_of(contact).await?;
    if at.is_some_and(|at| at > read.now) {
        return Err(InspectError::LaterThanNow);
    }
    let rows = read.identity.filter(|rows| at.is_some() || rows.has_live(contact)).ok_or_else(|| unknown(&who))?;
    let past = |history: &History, at| match &who {
        Who::Contact(id) => history.identity_at(*id, at),
        Who::Owner(identifier) => history.owner_at(identifier, at),
    };
    Inspected::new(rows, read.complete_since, at, shows_values, past).ok_or_else(|| unknown(&who))
}

/// Returns the contact that the row of an identifier names.
async fn named_contact(database: &Database, identifier: &Identifier) -> Result<ContactId, InspectError> {
    let rows = database.owner_rows(std::slice::from_ref(identifier)).await?;
    let kind = identifier.kind().name();
    match rows.into_iter().next() {
        None => Err(InspectError::UnknownIdentifier(kind)),
        Some(row) if row.is_ignored => Err(InspectError::Ignored(kind)),
        Some(row) => Ok(row.contact),
    }
}

fn unknown(who: &Who) -> InspectError {
    match who {
        Who::Contact(_) => InspectError::UnknownContact,
        Who::Owner(identifier) => InspectError::UnknownIdentifier(identifier.kind().name()),
    }
}
