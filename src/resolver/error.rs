use crate::domain::{IdentityTooLarge, Refusal};
use crate::store::{MAX_HISTORY_CONTACTS, MAX_HISTORY_SETS, StoreError};

/// Why an observation got no answer.
///
/// The service stored either all of the observation or nothing of it, so a caller may always try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// There is no room for the request, or it would wait for too long. The service did not start it.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The service cannot use the database, or it is shutting down.
    #[error("the database cannot be reached, or cannot be used now")]
    Unavailable,
    /// The caller's deadline passed before there was an answer, or the database answers others but takes too long for
    /// this identity.
    #[error("the deadline passed before there was an answer")]
    DeadlineExceeded,
    /// The observation would make an identity of more contacts than an identity may have. It changed nothing, and the
    /// same observation again will be refused again.
    #[error(transparent)]
    IdentityTooLarge(#[from] IdentityTooLarge),
    /// The identity is too large for a read of its history. The same read will fail again.
    #[error(
        "the identity has more than {MAX_HISTORY_CONTACTS} contacts or {MAX_HISTORY_SETS} stored sets: its history is \
         too large for one call"
    )]
    HistoryTooLarge,
    /// All identifiers of the observation are ignored. It changed nothing, and will be refused again.
    #[error("all identifiers of the request are ignored: they belong to no customer")]
    OnlyIgnored,
    /// The database gave a new row an id that another row has. This repeats until an operator raises the database's
    /// counter of automatic ids above the ids in use.
    #[error("the database's automatic ids are behind those in use: an operator must raise them")]
    IdTaken,
    /// The service or its tables have a fault. The log has the cause.
    #[error("the request could not be handled")]
    Internal,
}

impl From<Refusal> for IdentifyError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLarge(error) => Self::IdentityTooLarge(error),
            Refusal::OnlyIgnored => Self::OnlyIgnored,
        }
    }
}

impl From<&StoreError> for IdentifyError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::TimedOut(_) | StoreError::CutShort(_) => Self::Unavailable,
            StoreError::TooSlow(_) => Self::DeadlineExceeded,
            StoreError::IdTaken(_) => Self::IdTaken,
            StoreError::HistoryTooLarge => Self::HistoryTooLarge,
            StoreError::LostRace(_)
            | StoreError::DuplicateKey(_)
            | StoreError::OneIsLarge(_)
            | StoreError::Faulty(_)
            | StoreError::Rejected(_) => Self::Internal,
        }
    }
}
