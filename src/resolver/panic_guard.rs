//! Panics: one ends no lane, and fails no request but the one that it is about.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::time::sleep;

use super::backoff::LONGEST;
use crate::store::{Cause, StoreError};

/// The outcome of work on the store; a panic in it is an error like that of a statement which the database
/// refuses, and would again. (The log says where it was: see [`telemetry`](crate::telemetry).)
pub(super) async fn caught<T, E: From<StoreError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let panicked = |_| Err(StoreError::Rejected(Cause::new("a panic")).into());
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(panicked)
}

/// What works until nothing more comes.
pub(super) trait Worker: Send + 'static {
    /// Takes what comes, one after the other, to the end.
    fn run(&mut self) -> impl Future<Output = ()> + Send;
}

/// Starts a lane on the current tokio runtime. After a panic it goes on with what comes next; what it had
/// in hand is dropped, and so answered as [`IdentifyError::Internal`](super::IdentifyError::Internal).
pub(super) fn start(mut lane: impl Worker) {
    tokio::spawn(async move {
        while AssertUnwindSafe(lane.run()).catch_unwind().await.is_err() {
            tracing::error!("a lane of the resolver panicked, and goes on");
            sleep(LONGEST).await; // If it does nothing but panic, let it not do so all the time.
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
        start(Fragile(queue, done));
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
