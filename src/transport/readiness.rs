use futures::Stream;
use futures::stream::unfold;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Whether the service can take calls: the database is reachable, and it is not shutting down.
#[derive(Clone, Debug)]
pub struct Readiness {
    database: watch::Receiver<bool>,
    drain: CancellationToken,
}

impl Readiness {
    /// Follows the reachability of the database, and `drain`, which ends all readiness.
    pub fn new(database: watch::Receiver<bool>, drain: CancellationToken) -> Self {
        Self { database, drain }
    }

    /// Whether it is ready now.
    pub fn is_ready(&self) -> bool {
        !self.drain.is_cancelled() && *self.database.borrow()
    }

    /// Resolves when the service begins to shut down.
    pub async fn drained(self) {
        self.drain.cancelled().await;
    }

    /// Whether it is ready now, and then whenever that changes. With the shutdown it says `false` and
    /// ends: a stream that stayed open would hold the shutdown up.
    pub fn changes(self) -> impl Stream<Item = bool> + Send + 'static {
        unfold(Some((self, None)), |state| async {
            let (mut readiness, last) = state?;
            loop {
                if readiness.drain.is_cancelled() {
                    return (last != Some(false)).then_some((false, None));
                }
                let now = *readiness.database.borrow_and_update();
                if last != Some(now) {
                    return Some((now, Some((readiness, Some(now)))));
                }
                tokio::select! {
                    () = readiness.drain.cancelled() => {}
                    changed = readiness.database.changed() => if changed.is_err() {
                        // Nobody watches the database any more: only the shutdown can change anything.
                        readiness.drain.cancelled().await;
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn follows_the_database_and_ends_with_the_drain() {
        let (database, receiver) = watch::channel(false);
        let drain = CancellationToken::new();
        let readiness = Readiness::new(receiver, drain.clone());
        let mut changes = pin!(readiness.clone().changes());

        assert_eq!(changes.next().await, Some(false));
        assert!(changes.next().now_or_never().is_none());
        database.send_replace(true);
        assert!(readiness.is_ready());
        assert_eq!(changes.next().await, Some(true));
        database.send_replace(true);
        assert!(changes.next().now_or_never().is_none());
        drop(database);
        assert!(changes.next().now_or_never().is_none());
        drain.cancel();
        assert!(!readiness.is_ready());
        assert_eq!(changes.next().await, Some(false));
        assert_eq!(changes.next().await, None);
    }
}
