//! Panics: a panic ends no lane, and fails only the request that caused it.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::time::sleep;

use super::backoff::MAX_PAUSE;
use crate::store::{Cause, StoreError};

/// Runs work on the store and turns a panic into [`StoreError::Rejected`].
///
/// The lanes then treat the panic like a statement that the database always rejects. The log says where the panic was
/// (see [`telemetry`](crate::telemetry)).
pub(super) async fn catch_panic<T, E: From<StoreError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let panicked = |_| Err(StoreError::Rejected(Cause::new("a panic")).into());
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(panicked)
}

/// A task that handles one item after another until its queue ends.
pub(super) trait Worker: Send + 'static {
    /// Handles the items of the queue until the queue ends.
    fn run(&mut self) -> impl Future<Output = ()> + Send;
}

/// Starts a worker on the current tokio runtime, and starts it again after a panic.
///
/// A panic drops the item in work. Its caller gets [`IdentifyError::Internal`](super::IdentifyError::Internal).
pub(super) fn spawn(mut worker: impl Worker) {
    tokio::spawn(async move {
        while AssertUnwindSafe(worker.run()).catch_unwind().await.is_err() {
            tracing::error!("a lane of the resolver panicked; it continues with the next request");
            sleep(MAX_PAUSE).await; // A worker that panics each time must not use all processor time.
        }
    });
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    struct Fragile(mpsc::UnboundedReceiver<u32>, mpsc::UnboundedSender<u32>);

    impl Worker for Fragile {
        async fn run(&mut self) {
            while let Some(number) = self.0.recv().await {
                assert_ne!(number, 1, "a fault");
                self.1.send(number).unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lane_goes_on_after_a_panic() {
        let (numbers, queue) = mpsc::unbounded_channel();
        let (done, mut seen) = mpsc::unbounded_channel();
        spawn(Fragile(queue, done));
        for number in [0, 1, 2, 1, 3] {
            numbers.send(number).unwrap();
        }
        drop(numbers);
        let mut all = Vec::new();
        while let Some(number) = seen.recv().await {
            all.push(number);
        }
        assert_eq!(all, [0, 2, 3]);
    }
}
