use std::sync::Arc;
use std::time::Instant;

use super::past_owners::PastLookUp;
use crate::domain::graph::{SetName, SetNotes};
use crate::domain::{ContactId, Identifier, Identity, LookUp, Timestamp};
use crate::resolver::error::IdentifyError;
use crate::resolver::identify::{Identify, Reserved};
use crate::store::HistoryRead;

/// A page of all identities.
#[derive(Clone, Debug, Default)]
pub struct IdentityPage {
    /// The identities, in the order of their roots.
    pub identities: Vec<Arc<Identity>>,
    /// The root after which the next page begins. `None` if this is the last page.
    pub next: Option<ContactId>,
}

/// The reads of the service. Each contains what was acknowledged before it began. It is a trait so that tests of the
/// APIs can replace the resolver.
///
/// `reserved` is the place that [`reserve`](Identify::reserve) has taken for the call.
pub trait ReadGraph: Identify {
    /// Returns the identity of a contact, or `None` if no identity has this contact. It is one consistent read.
    ///
    /// # Errors
    /// See [`IdentifyError`].
    fn identity_of(
        &self,
        reserved: Reserved,
        contact: ContactId,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<Arc<Identity>>, IdentifyError>> + Send;

    /// Returns the identities that own these identifiers, of which there is at least one. Each identity is one
    /// consistent read.
    ///
    /// # Errors
    /// See [`IdentifyError`].
    fn look_up(
        &self,
        reserved: Reserved,
        identifiers: Vec<Identifier>,
        deadline: Instant,
    ) -> impl Future<Output = Result<LookUp, IdentifyError>> + Send;

    /// Returns who owned these identifiers, of which there is at least one, at a moment. Each identity is one
    /// consistent read.
    ///
    /// # Errors
    /// See [`IdentifyError`].
    fn look_up_at(
        &self,
        reserved: Reserved,
        identifiers: Vec<Identifier>,
        at: Timestamp,
        deadline: Instant,
    ) -> impl Future<Output = Result<PastLookUp, IdentifyError>> + Send;

    /// Reads all that the tables say about the past of the identity of a contact, in one consistent read, and returns
    /// what this work makes of it. The work can take long: it runs beside the async workers, for few calls at once.
    ///
    /// # Errors
    /// See [`IdentifyError`]. [`IdentifyError::HistoryTooLarge`] for an identity of too many rows.
    fn read_history<T, F>(
        &self,
        reserved: Reserved,
        contact: ContactId,
        deadline: Instant,
        work: F,
    ) -> impl Future<Output = Result<T, IdentifyError>> + Send
    where
        T: Send + 'static,
        F: FnOnce(HistoryRead) -> T + Send + Sync + 'static;

    /// Returns the notes of these sets, as they are now. It is for a call that has its place.
    ///
    /// # Errors
    /// See [`IdentifyError`].
    fn notes_of(
        &self,
        sets: Vec<SetName>,
        deadline: Instant,
    ) -> impl Future<Output = Result<SetNotes, IdentifyError>> + Send;

    /// Returns the identities after this root: at most so many, and fewer if they have many contacts. Each identity is
    /// one consistent read.
    ///
    /// # Errors
    /// See [`IdentifyError`].
    fn list_identities(
        &self,
        reserved: Reserved,
        after: Option<ContactId>,
        limit: usize,
        deadline: Instant,
    ) -> impl Future<Output = Result<IdentityPage, IdentifyError>> + Send;
}
