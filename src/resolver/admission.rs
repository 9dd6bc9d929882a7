//! Admission: how many requests may be in the service at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::IdentifyError;

/// One permit for each request in the service, which limits all queues together.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    permits: Arc<Semaphore>,
    limit: usize,
}

impl Admission {
    pub(super) fn new(limit: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(limit)), limit }
    }

    /// Returns the permits for so many requests.
    ///
    /// # Errors
    /// [`IdentifyError::Overloaded`] when there are not enough permits.
    pub(super) fn try_admit(&self, requests: usize) -> Result<OwnedSemaphorePermit, IdentifyError> {
        let permits = Arc::clone(&self.permits).try_acquire_many_owned(self.permits_for(requests));
        permits.map_err(|_| IdentifyError::Overloaded)
    }

    /// Waits for the permits for so many requests. Waiting callers get their permits in order.
    ///
    /// # Errors
    /// None in practice: nothing closes the semaphore.
    pub(super) async fn admit(&self, requests: usize) -> Result<OwnedSemaphorePermit, IdentifyError> {
        let permits = Arc::clone(&self.permits).acquire_many_owned(self.permits_for(requests));
        permits.await.map_err(|_| IdentifyError::Internal)
    }

    /// One permit for each request. A batch that is larger than the limit takes all permits.
    fn permits_for(&self, requests: usize) -> u32 {
        u32::try_from(requests.min(self.limit)).unwrap_or(u32::MAX)
    }
}
