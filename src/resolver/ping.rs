use std::time::Duration;

use tokio::sync::mpsc;

use super::database_health::DatabaseHealth;
use super::job::Job;
use super::panic_guard::catch_panic;
use crate::store::Store;

/// Time between two pings of the database.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps [`DatabaseHealth`] current while there are no requests, until the resolver is gone.
pub(super) async fn ping_database<S: Store>(
    store: S,
    database: DatabaseHealth,
    resolver: mpsc::WeakUnboundedSender<Job>,
) {
    while resolver.upgrade().is_some() {
        database.record_ping(catch_panic(store.ping()).await);
        tokio::time::sleep(PING_INTERVAL).await;
    }
}
