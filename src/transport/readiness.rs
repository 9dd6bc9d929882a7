//! Whether the service can take calls.

use futures::Stream;
use futures::stream::unfold;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::resolver::DatabaseState;
use crate::store::Outage;

/// Whether the service can take calls: the database can be used, and the service is not shutting down.
///
/// A shutdown has two steps. First the service says that it is not ready, and still serves: load balancers need time to
/// see it. After `DRAIN_DELAY` the listeners close and streams end.
#[derive(Clone, Debug)]
pub struct Readiness {
    database: watch::Receiver<DatabaseState>,
    shutdown: CancellationToken,
    closing: CancellationToken,
}

impl Readiness {
    /// Follows `database`, which says whether the database can be used, `shutdown`, which ends all readiness, and
    /// `closing`, which ends all streams.
    pub fn new(
        database: watch::Receiver<DatabaseState>,
        shutdown: CancellationToken,
        closing: CancellationToken,
    ) -> Self {
        Self { database, shutdown, closing }
    }

    /// Returns whether the service is ready now.
    pub fn is_ready(&self) -> bool {
        !self.is_shutting_down() && self.database.borrow().is_usable()
    }

    /// Returns why the database cannot be used, if it cannot.
    pub fn outage(&self) -> Option<Outage> {
        match *self.database.borrow() {
            DatabaseState::Usable => None,
            DatabaseState::Unusable(outage) => Some(outage),
        }
    }

    /// Returns whether a shutdown has begun.
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    /// Resolves when streams must end: an open stream would block the shutdown.
    pub async fn closing(self) {
        self.closing.cancelled().await;
    }

    /// Returns whether the service is ready now, and then each change. It is `false` when a shutdown begins, and ends
    /// when the listeners close.
    pub fn changes(self) -> impl Stream<Item = bool> + Send + 'static {
        unfold(Some((self, None)), |state| async {
            let (mut readiness, last) = state?;
            loop {
                let is_shutting_down = readiness.is_shutting_down();
                let now = readiness.database.borrow_and_update().is_usable() && !is_shutting_down;
                if last != Some(now) {
                    return Some((now, Some((readiness, Some(now)))));
                }
                if is_shutting_down {
                    readiness.closing.cancelled().await;
                    return None;
                }
                tokio::select! {
                    () = readiness.shutdown.cancelled() => {}
                    changed = readiness.database.changed() => if changed.is_err() {
                        // The database is not watched any more: only the shutdown can change anything.
                        readiness.shutdown.cancelled().await;
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
    async fn follows_the_database_and_ends_when_the_listeners_close() {
        let away = DatabaseState::Unusable(Outage::Unreachable);
        let (database, receiver) = watch::channel(away);
        let (shutdown, closing) = (CancellationToken::new(), CancellationToken::new());
        let readiness = Readiness::new(receiver, shutdown.clone(), closing.clone());
        let mut changes = pin!(readiness.clone().changes());

        assert_eq!(changes.next().await, Some(false));
        assert!(changes.next().now_or_never().is_none());
        assert_eq!(readiness.outage(), Some(Outage::Unreachable));
        database.send_replace(DatabaseState::Usable);
        assert!(readiness.is_ready());
        assert_eq!(changes.next().await, Some(true));
        database.send_replace(DatabaseState::Usable);
        assert!(changes.next().now_or_never().is_none());
        drop(database);
        assert!(changes.next().now_or_never().is_none());
        shutdown.cancel();
        assert!(!readiness.is_ready() && readiness.is_shutting_down());
        assert_eq!(changes.next().await, Some(false));
        assert!(changes.next().now_or_never().is_none());
        closing.cancel();
        assert_eq!(changes.next().await, None);
    }
}
