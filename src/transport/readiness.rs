//! Whether the service can take calls.

use futures::Stream;
use futures::stream::unfold;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::resolver::DatabaseState;
use crate::store::Outage;

/// Whether the service can take calls: the database can be used, and the service is not shutting down.
#[derive(Clone, Debug)]
pub struct Readiness {
    database: watch::Receiver<DatabaseState>,
    drain: CancellationToken,
}

impl Readiness {
    /// Follows `database`, which says whether the database can be used, and `drain`, which ends all readiness.
    pub fn new(database: watch::Receiver<DatabaseState>, drain: CancellationToken) -> Self {
        Self { database, drain }
    }

    /// Returns whether the service is ready now.
    pub fn is_ready(&self) -> bool {
        !self.drain.is_cancelled() && self.database.borrow().is_usable()
    }

    /// Returns why the database cannot be used, if it cannot.
    pub fn outage(&self) -> Option<Outage> {
        match *self.database.borrow() {
            DatabaseState::Usable => None,
            DatabaseState::Unusable(outage) => Some(outage),
        }
    }

    /// Resolves when the service begins to shut down.
    pub async fn shutdown(self) {
        self.drain.cancelled().await;
    }

    /// Returns whether the service is ready now, and then each change. It ends with `false` at the shutdown: an open
    /// stream would block the shutdown.
    pub fn changes(self) -> impl Stream<Item = bool> + Send + 'static {
        unfold(Some((self, None)), |state| async {
            let (mut readiness, last) = state?;
            loop {
                if readiness.drain.is_cancelled() {
                    return (last != Some(false)).then_some((false, None));
                }
                let now = readiness.database.borrow_and_update().is_usable();
                if last != Some(now) {
                    return Some((now, Some((readiness, Some(now)))));
                }
                tokio::select! {
                    () = readiness.drain.cancelled() => {}
                    changed = readiness.database.changed() => if changed.is_err() {
                        // The database is not watched any more: only the shutdown can change anything.
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
        let away = DatabaseState::Unusable(Outage::Unreachable);
        let (database, receiver) = watch::channel(away);
        let drain = CancellationToken::new();
        let readiness = Readiness::new(receiver, drain.clone());
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
        drain.cancel();
        assert!(!readiness.is_ready());
        assert_eq!(changes.next().await, Some(false));
        assert_eq!(changes.next().await, None);
    }
}
