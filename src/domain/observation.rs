use std::sync::Arc;

use super::Identifier;

/// What one checkout event says: identifiers that belong to one customer. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation(Arc<[Identifier]>);

/// An event without any identifier says nothing about anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at least one identifier must be given")]
pub struct NoIdentifier;

impl Observation {
    /// An event that carries these identifiers; doubles count once.
    ///
    /// # Errors
    /// [`NoIdentifier`] when there are none.
    pub fn new(identifiers: impl IntoIterator<Item = Identifier>) -> Result<Self, NoIdentifier> {
        let mut identifiers: Vec<Identifier> = identifiers.into_iter().collect();
        identifiers.sort();
        identifiers.dedup();
        if identifiers.is_empty() { Err(NoIdentifier) } else { Ok(Self(identifiers.into())) }
    }

    /// The identifiers, sorted, each once.
    pub fn identifiers(&self) -> &[Identifier] {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<[Identifier]> {
        Arc::clone(&self.0)
    }
}
