//! The pool of connections to the database, and when all of them are replaced.
//!
//! A pool of sqlx repairs what breaks loudly: it opens a closed connection again. It does not repair what breaks in
//! silence:
//!
//! - A demoted server keeps its connections open and returns stale reads. So does a server that came back as a replica,
//!   or another server at the same address. A server that is no longer the only primary needs other session settings.
//! - A connection whose other end is gone without a word is waited for, and its place in the pool is lost. So is one
//!   whose statement was abandoned, where the driver cannot know what it still has to read.
//! - A statement that was prepared before its table was altered fails each time.
//!
//! So every statement reports how it ended, and every new connection what it leads to. When that says that the
//! connections are of no use, a new generation of connections replaces them, to the first server that takes writes. The
//! old ones finish what they have begun.

use std::pin::pin;
use std::sync::{Arc, Mutex as Lock, PoisonError, Weak};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use super::connect_error::ConnectError;
use super::connector::{CLOSE_WITHIN, Connected, MissingFile};
use super::error::{ConnectionState, StoreError};
use super::server_role::ServerRole;
use super::servers::Servers;
use super::sql::Engine;
use crate::settings;

/// The pool is replaced after so many statements without an answer or a connection. A single one may be chance.
const MAX_FAILURES: u32 = 3;

/// Failures are forgotten after so long without another: a healthy database has a statement that takes too long now
/// and then.
const FORGET_FAILURES_AFTER: Duration = Duration::from_secs(60);

/// The shortest time between two attempts to replace the pool: connecting must not overload a slow database.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

/// Hands out connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    servers: Servers,
    statement_timeout: Duration,
    current: watch::Sender<Arc<PoolGeneration>>,
    replacement: Mutex<Replacement>,
    /// Whether the last attempt found no server that can be used.
    is_lost: watch::Sender<bool>,
}

/// A generation of connections, all to one server.
#[derive(Debug)]
struct PoolGeneration {
    connected: Connected,
    failures: Lock<Failures>,
}

/// Statements that had no answer or no connection.
#[derive(Debug)]
struct Failures {
    count: u32,
    last: Instant,
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
        Ok(Self(Arc::new(Shared {
            servers,
            statement_timeout: settings.timeout,
            current: watch::Sender::new(PoolGeneration::new(connected)),
            replacement: Mutex::new(Replacement { ended: None, server }),
            is_lost: watch::Sender::new(false),
        })))
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
        if *self.0.is_lost.borrow() {
            let mut is_lost = self.0.is_lost.subscribe();
            if timeout(REPLACE_EVERY, is_lost.wait_for(|is_lost| !is_lost)).await.is_err() {
                return Err(StoreError::no_connection("no server"));
            }
        }
        let lease = self.current();
        lease.takes_writes().map(|()| lease)
    }

    /// Fails if the server does not answer, or has another role than when its connections were made.
    pub(super) async fn check_role(&self) -> Result<(), StoreError> {
        let lease = self.current();
        match lease.check_role().await {
            Err(_) if lease.is_replaced() => self.current().check_role().await,
            answer => answer,
        }
    }
}

impl PoolGeneration {
    fn new(connected: Connected) -> Arc<Self> {
        let failures = Failures { count: 0, last: Instant::now() };
        Arc::new(Self { connected, failures: Lock::new(failures) })
    }

    /// Counts a failure. Returns how many there are.
    fn count_failure(&self) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if failures.last.elapsed() > FORGET_FAILURES_AFTER { 0 } else { failures.count };
        *failures = Failures { count: before + 1, last: Instant::now() };
        failures.count
    }

    /// Whether these connections must be replaced after this error.
    fn must_be_replaced(&self, error: &StoreError) -> bool {
        match error.connections() {
            ConnectionState::Healthy => false,
            ConnectionState::Suspect => self.count_failure() >= MAX_FAILURES,
            ConnectionState::Outdated => true,
            ConnectionState::Unusable => {
                self.connected.findings.set_unusable();
                true
            }
        }
    }
}

/// The connections that a statement or a transaction uses to its end, even if newer ones replace them meanwhile.
#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<Shared>,
    generation: Arc<PoolGeneration>,
}

impl Lease {
    pub(super) fn connection(&self) -> &DatabaseConnection {
        &self.generation.connected.connection
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
        self.within(self.shared.statement_timeout, commit).await
    }

    async fn read_within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, impl Into<StoreError>>>,
    ) -> Result<T, StoreError> {
        let read = self.within(limit, work).await?;
        // The read may be stale.
        self.conclude(self.takes_writes().map(|()| read)).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, impl Into<StoreError>>>,
    ) -> Result<T, StoreError> {
        let result = match self.takes_writes() {
            Ok(()) => {
                let mut work = pin!(work);
                match timeout(limit, work.as_mut()).await {
                    Ok(result) => result.map_err(Into::into),
                    Err(_) => {
                        self.generation.connected.findings.abandon_statement();
                        Err(StoreError::TimedOut(limit))
                    }
                }
            }
            Err(read_only) => Err(read_only),
        };
        self.conclude(result).await
    }

    /// Fails if the server is known to take no writes.
    fn takes_writes(&self) -> Result<(), StoreError> {
        if self.generation.connected.findings.is_unusable() { Err(StoreError::read_only()) } else { Ok(()) }
    }

    /// Replaces the connections if the result says that they are of no use.
    async fn conclude<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && self.generation.must_be_replaced(error)
        {
            // Boxed, because it is rare: it must not make the future of every statement larger.
            Box::pin(self.replace_or_keep_looking(error.connections())).await;
        }
        result
    }

    async fn check_role(&self) -> Result<(), StoreError> {
        let keeps_its_role = async {
            let Some(question) = self.engine().role_question() else {
                return self.connection().execute_unprepared("SELECT 1").await.map(drop).map_err(StoreError::from);
            };
            let question = self.engine().statement(question.to_owned(), Vec::new());
            let answer = self.connection().query_one_raw(question).await;
            match answer.map_err(StoreError::from) {
                Ok(Some(row)) => match ServerRole::from_row(&row) {
                    ServerRole::Replica => Err(StoreError::read_only()),
                    role if role == self.generation.connected.role => Ok(()),
                    ServerRole::Primary | ServerRole::OneOfSeveral => Err(StoreError::another_role()),
                },
                // A server that does not know the question has no such role.
                Ok(None) | Err(StoreError::Rejected(_)) => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.bounded(keeps_its_role).await?;
        self.shared.is_lost.send_replace(false);
        Ok(())
    }

    fn is_replaced(&self) -> bool {
        !Arc::ptr_eq(&self.generation, &self.shared.current.borrow())
    }

    /// Replaces these connections now, or as soon as a server can be used again.
    async fn replace_or_keep_looking(&self, reason: ConnectionState) {
        if let Err(error) = self.replace(reason).await
            && !self.shared.is_lost.send_replace(true)
        {
            tracing::error!(error.message = %error, "no new connections to the database");
            tokio::spawn(keep_looking(Arc::downgrade(&self.shared)));
        }
    }

    /// Replaces these connections, unless that was done or tried a moment ago.
    async fn replace(&self, reason: ConnectionState) -> Result<(), ConnectError> {
        let Shared { servers, current, replacement, is_lost, .. } = &*self.shared;
        if !servers.are_remote() {
            return Ok(());
        }
        let mut replacement = replacement.lock().await;
        if self.is_replaced() || replacement.ended.is_some_and(|ended| ended.elapsed() < REPLACE_EVERY) {
            return Ok(());
        }
        // A server that does not answer is tried last: cut off from its group, it may still believe to be the primary.
        let from = replacement.server + usize::from(reason == ConnectionState::Suspect);
        let found = servers.connect(from).await;
        replacement.ended = Some(Instant::now());
        let (server, connected) = found?;
        tracing::info!(database.server = server + 1, "new connections to the database");
        let old = current.send_replace(PoolGeneration::new(connected));
        tokio::spawn(async move { timeout(CLOSE_WITHIN, old.connected.connection.close_by_ref()).await });
        replacement.server = server;
        is_lost.send_replace(false);
        Ok(())
    }
}

/// Looks for a server that takes writes until there is one, or until the last one answers again.
async fn keep_looking(shared: Weak<Shared>) {
    loop {
        sleep(REPLACE_EVERY).await;
        let Some(shared) = shared.upgrade().filter(|shared| *shared.is_lost.borrow()) else { return };
        let _ = Pool(shared).current().replace(ConnectionState::Suspect).await; // The log has the first error.
    }
}
