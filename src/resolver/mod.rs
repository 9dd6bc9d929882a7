//! Use cases: what the doors ask for. The only writer.

use std::time::Instant;

use crate::domain::{Answer, Observation};

/// Why an observation got no answer. Nothing of it is stored, or all of it: calling again is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// More requests wait than the service takes on; it was not begun.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The database cannot be reached, or the service is shutting down.
    #[error("the database cannot be reached")]
    Unavailable,
    /// The caller's deadline passed first.
    #[error("the deadline passed before there was an answer")]
    DeadlineExceeded,
    /// A fault of the service or of its tables; the log has the cause.
    #[error("the request could not be handled")]
    Internal,
}

/// What the doors need of the resolver; a trait so that their tests can put a failing one in its place.
pub trait Identify: Clone + Send + Sync + 'static {
    /// Finds or makes the identity that the observation belongs to, before the deadline.
    ///
    /// # Errors
    /// [`IdentifyError`], see there.
    fn identify(
        &self,
        observation: Observation,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, IdentifyError>> + Send;
}
