use std::sync::Arc;

use super::identifier::Identifier;
use super::note::Note;

/// The identifiers of one checkout event, which belong to one customer. It is never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    identifiers: Arc<[Identifier]>,
    note: Option<Arc<Note>>,
}

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
        if identifiers.is_empty() {
            Err(NoIdentifier)
        } else {
            Ok(Self { identifiers: identifiers.into(), note: None })
        }
    }

    /// Returns the same observation with what the caller says about it.
    #[must_use]
    pub fn with_note(self, note: Option<Note>) -> Self {
        Self { note: note.map(Arc::new), ..self }
    }

    /// Returns the identifiers: sorted, each once.
    pub fn identifiers(&self) -> &[Identifier] {
        &self.identifiers
    }

    /// Returns what the caller says about it.
    pub fn note(&self) -> Option<&Arc<Note>> {
        self.note.as_ref()
    }

    /// Splits the observation into what joins customers and the identifiers that are ignored, which are the second.
    /// The first is `None` if all are ignored.
    pub(super) fn split_ignored(&self, is_ignored: impl Fn(&Identifier) -> bool) -> (Option<Self>, Vec<Identifier>) {
        let (ignored, others): (Vec<_>, Vec<_>) = self.identifiers.iter().cloned().partition(is_ignored);
        let joining = Self::new(others).ok().map(|joining| Self { note: self.note.clone(), ..joining });
        (joining, ignored)
    }

    pub(super) fn shared(&self) -> Arc<[Identifier]> {
        Arc::clone(&self.identifiers)
    }

    /// Returns the note to store with the set of its identifiers, if the set is evidence.
    pub(super) fn note_of_set(&self) -> Option<Arc<Note>> {
        self.note.clone().filter(|_| self.identifiers.len() > 1)
    }
}
