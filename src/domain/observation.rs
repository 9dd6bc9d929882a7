use std::sync::Arc;

use super::identifier::Identifier;

/// The identifiers of one checkout event, which belong to one customer. It is never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation(Arc<[Identifier]>);

/// A checkout event has no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at least one identifier must be given")]
pub struct NoIdentifier;

impl Observation {
    /// Returns an observation of these identifiers. Equal identifiers count once.
    ///
    /// # Errors
    /// [`NoIdentifier`] when there is no identifier.
    pub fn new(identifiers: impl IntoIterator<Item = Identifier>) -> Result<Self, NoIdentifier> {
        let mut identifiers: Vec<Identifier> = identifiers.into_iter().collect();
        identifiers.sort();
        identifiers.dedup();
        if identifiers.is_empty() { Err(NoIdentifier) } else { Ok(Self(identifiers.into())) }
    }

    /// Returns the identifiers: sorted, each once.
    pub fn identifiers(&self) -> &[Identifier] {
        &self.0
    }

    /// Splits the observation into what joins customers and the identifiers that are ignored, which are the second.
    /// The first is `None` if all are ignored.
    pub(super) fn split_ignored(&self, is_ignored: impl Fn(&Identifier) -> bool) -> (Option<Self>, Vec<Identifier>) {
        let (ignored, others): (Vec<_>, Vec<_>) = self.0.iter().cloned().partition(is_ignored);
        (Self::new(others).ok(), ignored)
    }

    pub(super) fn shared(&self) -> Arc<[Identifier]> {
        Arc::clone(&self.0)
    }
}
