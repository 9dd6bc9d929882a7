//! What every statement of a replica goes through: the way there and back, faults, and locks.

use std::sync::Arc;
use std::time::Duration;

use identity::domain::Identifier;
use identity::store::{Cause, StoreError};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::database::{Database, Lock, Taking, TransactionId};

/// A replica's way to the database: all that can happen on it is drawn from the seed.
#[derive(Clone)]
pub(crate) struct SimulatedStore {
    pub(crate) database: Database,
    /// Wakes those who wait for a lock.
    freed: Arc<Notify>,
    pub(crate) replica: usize,
}

impl SimulatedStore {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, freed: Arc::default(), replica: 0 }
    }

    /// The way of another replica to the same database.
    pub(crate) fn of_replica(&self, replica: usize) -> Self {
        Self { replica, ..self.clone() }
    }

    /// The process ends: it does and hears nothing any more, and its transactions are rolled back, sooner or later.
    pub(crate) fn crash(&self) {
        let left = self.database.lock().crash(self.replica);
        left.into_iter().for_each(|transaction| self.end_later(transaction));
    }

    /// All transactions are rolled back, and nothing answers for so long.
    pub(crate) fn fail_for(&self, outage: Duration) {
        self.database.lock().fail_until(Instant::now() + outage);
        self.freed.notify_waiters();
    }

    /// Ignores an identifier, while nothing is under way.
    pub(crate) fn ignore(&self, identifier: &Identifier) {
        self.database.lock().ignore(identifier);
    }

    /// Lets it count again, while nothing is under way.
    pub(crate) fn stop_ignoring(&self, identifier: &Identifier) {
        self.database.lock().stop_ignoring(identifier);
    }

    /// On the way, for as long as it takes. A crashed replica never arrives.
    pub(crate) async fn travel(&self) {
        let latency = self.database.lock().latency();
        match latency.is_zero() {
            true => tokio::task::yield_now().await,
            false => sleep(latency).await,
        }
        if self.database.lock().has_crashed(self.replica) {
            std::future::pending().await
        }
    }

    /// A statement: there, the work, and back. Each part can fail.
    pub(crate) async fn statement<T>(
        &self,
        name: &str,
        transaction: Option<TransactionId>,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let _under_way = UnderWay::new(&self.database, name);
        self.travel().await;
        let arrived = self.database.lock().arrive(name, transaction);
        let result = match arrived {
            Ok(()) => work.await,
            Err(error) => Err(error),
        };
        self.travel().await;
        let heard = self.database.lock().is_heard();
        let result = result.and_then(|done| heard.map(|()| done));
        let outcome = || result.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string);
        let line = || format!("replica {} transaction {transaction:?}: {name}: {}", self.replica, outcome());
        self.database.lock().note(line);
        result
    }

    /// Takes a lock, or waits for it.
    pub(crate) async fn take(&self, transaction: TransactionId, lock: Lock) -> Result<(), StoreError> {
        let give_up = Instant::now() + self.database.lock().conditions().lock_timeout;
        loop {
            let freed = self.freed.notified();
            let taking = self.database.lock().take(transaction, &lock);
            match taking {
                Ok(Taking::Taken) => return Ok(()),
                Ok(Taking::Wait) => {}
                Ok(Taking::Deadlock) | Err(_) => self.freed.notify_waiters(),
            }
            taking?;
            if timeout_at(give_up, freed).await.is_err() {
                self.database.lock().stop_waiting(transaction);
                return Err(StoreError::LostRace(Cause::new("lock wait time-out")));
            }
        }
    }

    /// Waits until its server shows what was committed at others.
    pub(crate) async fn catch_up(&self) {
        loop {
            let freed = self.freed.notified();
            if !self.database.lock().lacks_what_others_did(self.replica) {
                return;
            }
            freed.await;
        }
    }

    fn end(&self, transaction: TransactionId) {
        self.database.lock().end(transaction);
        self.freed.notify_waiters();
    }

    /// The database notices only after a while that nobody is there any more.
    pub(crate) fn end_later(&self, transaction: TransactionId) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (store, delay) = (self.clone(), self.database.lock().latency() * 4);
        runtime.spawn(async move {
            sleep(delay).await;
            store.end(transaction);
        });
    }

    /// Commits, and returns when the commit is to be seen here as well. That happens even if nobody waits for it.
    pub(crate) async fn commit_now(&self, transaction: TransactionId) -> Result<(), StoreError> {
        let late = self.database.lock().commit(transaction);
        self.freed.notify_waiters();
        let late = late?;
        if late.is_zero() {
            return Ok(());
        }
        let store = self.clone();
        let shown = tokio::spawn(async move {
            sleep(late).await;
            store.end(transaction);
        });
        shown.await.map_err(|_| StoreError::TimedOut(late))
    }
}

/// A statement, until it is dropped.
struct UnderWay<'a>(&'a Database, &'a str);

impl<'a> UnderWay<'a> {
    fn new(database: &'a Database, name: &'a str) -> Self {
        database.lock().begin_statement(name);
        Self(database, name)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().end_statement(self.1);
    }
}
