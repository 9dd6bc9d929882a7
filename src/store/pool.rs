//! The pool of connections to the database, and when all of them are replaced.
//!
//! A pool of sqlx repairs what breaks loudly: it opens a closed connection again. It does not repair what breaks in
//! silence:
//!
//! - A demoted server keeps its connections open and returns stale reads. So does a server that came back as a replica,
//!   or another server at the same address. A server that is no longer the only primary needs other session settings.
//! - A connection whose other end is gone without a word is waited for, and its place in the pool is lost. So is one
//!   whose statement was abandoned, where the driver cannot know what it still has to read.
//! - A statement that was prepared before its table was altered fails each time. So does one for which a session of
//!   MySQL has no right, even after somebody grants it.
//!
//! So every statement reports how it ended, and every new connection what it leads to. When a report shows that the
//! connections are useless, a new generation of connections replaces them, to the first server that takes writes. The
//! old ones finish what they have begun.

use std::pin::pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use super::connect_error::ConnectError;
use super::connector::{Connected, MissingFile};
use super::driver_connection::CLOSE_WITHIN;
use super::error::{ConnectionState, Outage, StoreError};
use super::pool_generation::PoolGeneration;
use super::server_role::ServerRole;
use super::servers::Servers;
use super::sql::Engine;
use super::traits::Epoch;
use super::{classify, probe};
use crate::metrics::{ConnectionUse, DatabaseMetrics, DatabaseOperation, Metrics, OperationTimer};
use crate::settings;
use crate::traces::{StatementSpan, fail_statement};

/// The shortest time between two attempts to replace the pool: connecting must not overload a slow database.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

/// How soon a database answers a question that says whether it answers at all.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);

/// What measures and records an operation until it is dropped.
pub(super) type Timer = (OperationTimer, StatementSpan);

/// Hands out connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<PoolState>);

#[derive(Debug)]
struct PoolState {
    servers: Servers,
    statement_timeout: Duration,
    current: watch::Sender<Arc<PoolGeneration>>,
    replacement: Mutex<Replacement>,
    /// Why the last attempt found no server that can be used, if it did not.
    lost: watch::Sender<Option<Outage>>,
    /// Set once, if there are metrics.
    metrics: OnceLock<DatabaseMetrics>,
}

/// The last attempt to replace the connections.
#[derive(Debug)]
struct Replacement {
    ended: Option<Instant>,
    /// The position of the server in use in the list.
    server: usize,
}

impl Pool {
    pub(super) async fn connect(
        settings: &settings::DatabaseSettings,
        missing_file: MissingFile,
    ) -> Result<Self, ConnectError> {
        let servers = Servers::new(settings, missing_file);
        let (server, connected) = servers.connect(0).await?;
        Ok(Self(Arc::new(PoolState {
            servers,
            statement_timeout: settings.timeout,
            current: watch::Sender::new(PoolGeneration::new(connected)),
            replacement: Mutex::new(Replacement { ended: None, server }),
            lost: watch::Sender::new(None),
            metrics: OnceLock::new(),
        })))
    }

    /// Measures its operations and counts its connections from now on.
    pub(super) fn measure_by(&self, metrics: &Metrics) {
        let of_database = metrics.database(self.current().engine().system_name());
        let count = |count: fn(&Connected) -> usize| {
            let shared = Arc::downgrade(&self.0);
            move || shared.upgrade().map_or(0, |shared| count(&shared.current.borrow().connected))
        };
        of_database.read_connections(ConnectionUse::Idle, count(Connected::idle));
        of_database.read_connections(ConnectionUse::Used, count(Connected::used));
        let _ = self.0.metrics.set(of_database);
    }

    /// Measures an operation until the timer is dropped, if there are metrics, and records it, if it is traced.
    pub(super) fn timer(&self, operation: DatabaseOperation) -> Timer {
        self.0.timer(operation)
    }

    /// The connections in use, in whatever state they are.
    pub(super) fn current(&self) -> Lease {
        Lease { shared: Arc::clone(&self.0), generation: Arc::clone(&self.0.current.borrow()) }
    }

    /// Connections for a statement or a transaction. Without a server, it waits for the next attempt to find one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if there is still no server, or if it takes no writes: its reads may be stale.
    pub(super) async fn lease(&self) -> Result<Lease, StoreError> {
        self.usable().await.inspect_err(|error| fail_statement(error.kind()))
    }

    async fn usable(&self) -> Result<Lease, StoreError> {
        let lost = *self.0.lost.borrow();
        if let Some(outage) = lost {
            let mut lost = self.0.lost.subscribe();
            if timeout(REPLACE_EVERY, lost.wait_for(Option::is_none)).await.is_err() {
                return Err(StoreError::no_server(outage));
            }
        }
        let lease = self.current();
        lease.takes_writes().map(|()| lease)
    }

    /// Fails if the server does not answer, has another role than when its connections were made, or has no tables that
    /// the service can use. [`StoreError::LostRace`] and [`StoreError::TooSlow`] say that the server answers and that a
    /// lock hides the tables.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        let lease = self.current();
        match lease.check().await {
            Err(_) if lease.is_replaced() => self.current().check().await,
            // What callers get: two reasons that take turns would each be news.
            Err(error) => Err(self.0.lost.borrow().map_or(error, StoreError::no_server)),
            Ok(()) => Ok(()),
        }
    }
}

impl PoolState {
    fn timer(&self, operation: DatabaseOperation) -> Timer {
        let measured = self.metrics.get().map(|metrics| metrics.timer(operation)).unwrap_or_default();
        let system = || self.current.borrow().connected.engine.system_name();
        (measured, StatementSpan::begin(operation, system))
    }
}

/// The connections that a statement or a transaction uses to its end, even if newer ones replace them meanwhile.
#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<PoolState>,
    generation: Arc<PoolGeneration>,
}

impl Lease {
    pub(super) fn connection(&self) -> &DatabaseConnection {
        &self.generation.connected.connection
    }

    /// The connections, for one that a statement or a transaction holds.
    pub(super) fn connected(&self) -> &Connected {
        &self.generation.connected
    }

    /// The epoch of the connections.
    pub(super) fn epoch(&self) -> Epoch {
        self.generation.epoch()
    }

    /// The same as [`Pool::timer`].
    pub(super) fn timer(&self, operation: DatabaseOperation) -> Timer {
        self.shared.timer(operation)
    }

    pub(super) fn engine(&self) -> Engine {
        self.generation.connected.engine
    }

    /// Whether other servers take writes beside this one.
    pub(super) fn is_one_of_several(&self) -> bool {
        self.generation.connected.role == ServerRole::OneOfSeveral
    }

    /// Runs a read, or a write that is still to be committed, for as long as one statement may take: a database that
    /// hangs must not hang its callers. A retry after an error may get new connections.
    pub(super) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, impl Into<StoreError>>>,
    ) -> Result<T, StoreError> {
        self.read_within(self.shared.statement_timeout, work).await
    }

    /// The same for work that is as short as a question to the server, whatever the tables hold: without an answer in
    /// time, the server is out of reach.
    pub(super) async fn bounded_question<T>(
        &self,
        work: impl Future<Output = Result<T, impl Into<StoreError>>>,
    ) -> Result<T, StoreError> {
        let answer = self.within(self.shared.statement_timeout, work).await;
        self.conclude(answer.and_then(|answer| self.takes_writes().map(|()| answer))).await
    }

    /// The same for work that may have to wait for a lock.
    pub(super) async fn bounded_with_lock<T>(
        &self,
        work: impl Future<Output = Result<T, impl Into<StoreError>>>,
    ) -> Result<T, StoreError> {
        self.read_within(self.engine().locking_timeout(self.shared.statement_timeout), work).await
    }

    /// The same for a commit. A commit that succeeded stays one, even if its server was demoted since.
    pub(super) async fn bounded_commit(
        &self,
        commit: impl Future<Output = Result<(), impl Into<StoreError>>>,
    ) -> Result<(), StoreError> {
        let committed = self.within(self.shared.statement_timeout, commit).await;
        self.conclude(committed).await
    }

    async fn read_within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, impl Into<StoreError>>>,
    ) -> Result<T, StoreError> {
        let mut read = self.within(limit, work).await;
        if matches!(read, Err(StoreError::TimedOut(_))) && Box::pin(self.answers_others(limit)).await {
            read = Err(StoreError::TooSlow(limit));
        }
        // The read may be stale.
        self.conclude(read.and_then(|read| self.takes_writes().map(|()| read))).await
    }

    /// Returns whether the database answers others while a statement has no answer. Then the statement is slow because
    /// of its data, or waits for a lock, and the connections are all right.
    ///
    /// Only an old connection proves it: a new one may lead to another server at the same address. It proves nothing
    /// about one of several servers that take writes, which waits for its group. Nor does it prove anything soon after
    /// statements were without a connection: this one may have waited for a connection, or lost it without a word.
    async fn answers_others(&self, limit: Duration) -> bool {
        let connected = &self.generation.connected;
        let made = connected.findings.connections_made();
        let question = timeout(ANSWERS_WITHIN, self.connected().query_alive()).await;
        matches!(question, Ok(Ok(_)))
            && connected.findings.connections_made() == made
            && !self.is_one_of_several()
            && !self.is_replaced()
            && !self.generation.lacked_connections(limit * 2 + ANSWERS_WITHIN)
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, impl Into<StoreError>>>,
    ) -> Result<T, StoreError> {
        self.takes_writes()?;
        let mut work = pin!(work);
        match timeout(limit, work.as_mut()).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(StoreError::TimedOut(limit)),
        }
    }

    /// Fails if the server is known to take no writes.
    fn takes_writes(&self) -> Result<(), StoreError> {
        if self.generation.connected.findings.is_unusable() { Err(StoreError::read_only()) } else { Ok(()) }
    }

    /// Replaces the connections if the result says that they are of no use.
    async fn conclude<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            fail_statement(error.kind());
        }
        match &result {
            Ok(_) => self.generation.set_answered(),
            Err(error) if self.generation.must_be_replaced(error) => {
                // Boxed, because it is rare: it must not make the future of every statement larger.
                Box::pin(self.replace_or_keep_looking(error.connections())).await;
            }
            Err(_) => {}
        }
        result
    }

    /// Takes a connection for each statement: with one connection, others need it in between.
    async fn check(&self) -> Result<(), StoreError> {
        self.check_role().await?;
        self.shared.lost.send_replace(None);
        let check_version = async { probe::check_version(&self.connected().take().await?, self.engine()).await };
        self.bounded_with_lock(check_version).await?;
        for sql in probe::round_trips(self.engine(), self.is_one_of_several()) {
            self.bounded_with_lock(async { self.connected().take().await?.execute_unprepared(&sql).await }).await?;
        }
        Ok(())
    }

    /// Fails unless the server has the role that it had.
    async fn check_role(&self) -> Result<(), StoreError> {
        let keeps_its_role = async {
            let connection = self.connected().take_oldest().await?;
            let Some(question) = self.engine().role_question() else {
                connection.execute_unprepared("SELECT 1").await?;
                return Ok(());
            };
            let question = self.engine().statement(question.to_owned(), Vec::new());
            match connection.query_one_raw(question).await {
                Ok(Some(row)) => match ServerRole::from_row(&row) {
                    ServerRole::Replica => Err(StoreError::read_only()),
                    role if role == self.generation.connected.role => Ok(()),
                    ServerRole::Primary | ServerRole::OneOfSeveral => Err(StoreError::another_role()),
                },
                // A server that does not know the question has no such role.
                Ok(None) => Ok(()),
                Err(error) if classify::is_answer_no(&error) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        self.bounded_question(keeps_its_role).await
    }

    fn is_replaced(&self) -> bool {
        !Arc::ptr_eq(&self.generation, &self.shared.current.borrow())
    }

    /// Replaces these connections now, or as soon as a server can be used again.
    async fn replace_or_keep_looking(&self, reason: ConnectionState) {
        let Err(error) = self.replace(reason).await else { return };
        // A full server serves the connections that it has.
        let can_be_kept = matches!(reason, ConnectionState::Suspect | ConnectionState::Full);
        if can_be_kept && error.is_full() && self.generation.has_answered_lately() {
            return;
        }
        if self.shared.lost.send_replace(Some(error.outage())).is_none() {
            tracing::error!(error.message = %error, "no new connections to the database");
            tokio::spawn(keep_looking(Arc::downgrade(&self.shared)));
        }
    }

    /// Replaces these connections, unless that was done or tried a moment ago.
    async fn replace(&self, reason: ConnectionState) -> Result<(), ConnectError> {
        let PoolState { servers, current, replacement, lost, metrics, .. } = &*self.shared;
        if !servers.are_remote() {
            return Ok(());
        }
        let mut replacement = replacement.lock().await;
        if self.is_replaced() || replacement.ended.is_some_and(|ended| ended.elapsed() < REPLACE_EVERY) {
            return Ok(());
        }
        // A server that does not answer is tried last: cut off from its group, it may still believe to be the primary.
        let is_doubtful = matches!(reason, ConnectionState::Suspect | ConnectionState::Full | ConnectionState::Refused);
        let from = replacement.server + usize::from(is_doubtful);
        let found = servers.connect(from).await;
        replacement.ended = Some(Instant::now());
        let (server, connected) = found?;
        // Until somebody grants the right that the user lacks, this is so each second.
        if reason != ConnectionState::Outdated || server != replacement.server {
            tracing::info!(database.server = server + 1, "new connections to the database");
        }
        let old = current.send_replace(PoolGeneration::new(connected));
        if let Some(kept) = &old.connected.kept {
            kept.close();
        }
        tokio::spawn(async move { timeout(CLOSE_WITHIN, old.connected.connection.close_by_ref()).await });
        replacement.server = server;
        lost.send_replace(None);
        if let (Some(metrics), Some(reason)) = (metrics.get(), reason.failover_reason()) {
            metrics.count_failover(reason);
        }
        Ok(())
    }
}

/// Looks for a server that takes writes until there is one, or until the last one answers again.
async fn keep_looking(shared: Weak<PoolState>) {
    loop {
        sleep(REPLACE_EVERY).await;
        let Some(shared) = shared.upgrade().filter(|shared| shared.lost.borrow().is_some()) else { return };
        // The log has the first error.
        if let Err(error) = Pool(Arc::clone(&shared)).current().replace(ConnectionState::Suspect).await {
            shared.lost.send_replace(Some(error.outage()));
        }
    }
}
