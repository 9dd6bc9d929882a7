//! The connections to the database, and when they are given up for new ones.
//!
//! A pool mends what breaks loudly: a connection that was closed is opened again. It does not mend what goes
//! wrong in silence, for good:
//!
//! - a server that became a replica keeps its connections, and answers reads from a past that is over; so does one that
//!   came back as a replica, or another at the same address; one that is no longer alone in taking writes needs others;
//! - a connection whose other end is gone without a word is waited for, and its place in the pool is lost; so is
//!   one whose statement was given up, where the driver cannot tell what it still has to read;
//! - a statement that was prepared before its table was altered fails each time.
//!
//! So every statement reports how it ended, and every new connection what it leads to. When that says that the connections are of no use, all of them are
//! replaced, by connections to the first server that takes writes. The old ones finish what they have begun.

use std::pin::pin;
use std::sync::{Arc, Mutex as Lock, PoisonError, Weak};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use super::StoreError;
use super::connect::{ConnectError, Servers};
use super::connector::{CLOSE_WITHIN, Connected};
use super::error::Connections;
use super::server_role::Role;
use super::session_sql::locking_timeout;
use crate::settings;

/// So many statements without an answer or a connection, and the pool is replaced. One alone may have bad luck.
const DOUBTS: u32 = 3;

/// After so long without another, doubts are forgotten: of a database that answers, some statement takes too long now and then.
const DOUBT_FOR: Duration = Duration::from_secs(60);

/// The shortest time between two attempts to replace the pool: a database that is slow or away must not be
/// made busy by connecting.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

/// Hands out connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    servers: Servers,
    statement_timeout: Duration,
    current: watch::Sender<Arc<Generation>>,
    replacing: Mutex<Replacing>,
    /// Whether no server could be used when that was last tried.
    is_lost: watch::Sender<bool>,
}

/// A set of connections, all to one server.
#[derive(Debug)]
struct Generation {
    connected: Connected,
    /// How many of its statements had no answer or no connection, and when the last.
    doubts: Lock<(u32, Instant)>,
}

/// What the last attempt to replace the connections came to.
#[derive(Debug)]
struct Replacing {
    ended: Option<Instant>,
    /// The server in use: its place in the list.
    server: usize,
}

impl Pool {
    pub(super) async fn connect(settings: &settings::DatabaseSettings) -> Result<Self, ConnectError> {
        let servers = Servers::new(settings);
        let (server, connected) = servers.connect(0).await?;
        Ok(Self(Arc::new(Shared {
            servers,
            statement_timeout: settings.timeout,
            current: watch::Sender::new(Generation::new(connected)),
            replacing: Mutex::new(Replacing { ended: None, server }),
            is_lost: watch::Sender::new(false),
        })))
    }

    /// The connections in use, whatever state they are in.
    pub(super) fn any(&self) -> Lease {
        Lease { shared: Arc::clone(&self.0), generation: Arc::clone(&self.0.current.borrow()) }
    }

    /// Connections for a statement or a transaction. Where there is no server, the next attempt to find one is
    /// waited for.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is still none, or when it takes no writes: what it would read may
    /// be out of date.
    pub(super) async fn lease(&self) -> Result<Lease, StoreError> {
        if *self.0.is_lost.borrow() {
            let mut is_lost = self.0.is_lost.subscribe();
            if timeout(REPLACE_EVERY, is_lost.wait_for(|is_lost| !is_lost)).await.is_err() {
                return Err(StoreError::no_connection("no server"));
            }
        }
        let lease = self.any();
        lease.takes_writes().map(|()| lease)
    }

    /// Asks the server whether it still is what it was when these connections were made: one that takes writes, alone or
    /// not.
    pub(super) async fn ask(&self) -> Result<(), StoreError> {
        let lease = self.any();
        match lease.ask().await {
            Err(_) if lease.is_replaced() => self.any().ask().await,
            answer => answer,
        }
    }
}

impl Generation {
    fn new(connected: Connected) -> Arc<Self> {
        Arc::new(Self { connected, doubts: Lock::new((0, Instant::now())) })
    }

    /// Counts a doubt; how many there are.
    fn doubt(&self) -> u32 {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if doubts.1.elapsed() > DOUBT_FOR { 0 } else { doubts.0 };
        *doubts = (before + 1, Instant::now());
        doubts.0
    }

    /// Whether they are of no use after this.
    fn is_spent(&self, error: &StoreError) -> bool {
        match error.connections() {
            Connections::Sound => false,
            Connections::Doubtful => self.doubt() >= DOUBTS,
            Connections::Stale => true,
            Connections::Unfit => {
                self.connected.findings.set_unfit();
                true
            }
        }
    }
}

/// The connections that a statement or a transaction uses to its end, though others may have come since.
#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<Shared>,
    generation: Arc<Generation>,
}

impl Lease {
    pub(super) fn connection(&self) -> &DatabaseConnection {
        &self.generation.connected.connection
    }

    /// Whether other servers take writes beside this one.
    pub(super) fn is_one_of_several(&self) -> bool {
        self.generation.connected.role == Role::OneOfSeveral
    }

    /// Reads, or writes what is still to be committed, for as long as one statement may take: a database that hangs
    /// must not hang its callers. Whoever starts over after an error may find new connections.
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
        let backend = self.connection().get_database_backend();
        self.read_within(locking_timeout(backend, self.shared.statement_timeout), work).await
    }

    /// The same for a commit: one that succeeded did so, whatever became of its server since.
    pub(super) async fn committed(
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
        // What it read may be out of date.
        self.ended(self.takes_writes().map(|()| read)).await
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
                        self.generation.connected.findings.give_up();
                        Err(StoreError::TimedOut(limit))
                    }
                }
            }
            Err(read_only) => Err(read_only),
        };
        self.ended(result).await
    }

    /// As far as it is known.
    fn takes_writes(&self) -> Result<(), StoreError> {
        if self.generation.connected.findings.is_unfit() { Err(StoreError::read_only()) } else { Ok(()) }
    }

    /// Draws the conclusions for the connections.
    async fn ended<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result
            && self.generation.is_spent(error)
        {
            // Boxed, as it is seldom: it need not make every statement's future larger.
            Box::pin(self.replace_or_look_on(error.connections())).await;
        }
        result
    }

    async fn ask(&self) -> Result<(), StoreError> {
        let backend = self.connection().get_database_backend();
        let keeps_its_role = async {
            let Some(question) = Role::question(backend) else {
                return self.connection().execute_unprepared("SELECT 1").await.map(drop).map_err(StoreError::from);
            };
            let answer = self.connection().query_one_raw(Statement::from_string(backend, question)).await;
            match answer.map_err(StoreError::from) {
                Ok(Some(row)) => match Role::told(&row) {
                    Role::Replica => Err(StoreError::read_only()),
                    role if role == self.generation.connected.role => Ok(()),
                    Role::Primary | Role::OneOfSeveral => Err(StoreError::another_role()),
                },
                // One that does not know what is asked has no such mode.
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

    /// Puts new connections in the place of these, or sees to it that they come when there is a server again.
    async fn replace_or_look_on(&self, why: Connections) {
        if let Err(error) = self.replace(why).await
            && !self.shared.is_lost.send_replace(true)
        {
            tracing::error!(error.message = %error, "no new connections to the database");
            tokio::spawn(look_on(Arc::downgrade(&self.shared)));
        }
    }

    /// Puts new connections in the place of these, unless somebody did, or tried a moment ago.
    async fn replace(&self, why: Connections) -> Result<(), ConnectError> {
        let Shared { servers, current, replacing, is_lost, .. } = &*self.shared;
        if !servers.are_elsewhere() {
            return Ok(());
        }
        let mut replacing = replacing.lock().await;
        if self.is_replaced() || replacing.ended.is_some_and(|ended| ended.elapsed() < REPLACE_EVERY) {
            return Ok(());
        }
        // One that does not answer is asked last: cut off from its group, it may still take itself for the primary.
        let from = replacing.server + usize::from(why == Connections::Doubtful);
        let found = servers.connect(from).await;
        replacing.ended = Some(Instant::now());
        let (server, connected) = found?;
        tracing::info!(database.server = server + 1, "new connections to the database");
        let old = current.send_replace(Generation::new(connected));
        tokio::spawn(async move { timeout(CLOSE_WITHIN, old.connected.connection.close_by_ref()).await });
        replacing.server = server;
        is_lost.send_replace(false);
        Ok(())
    }
}

/// Looks for a server that takes writes until there is one, or the last one answers again.
async fn look_on(shared: Weak<Shared>) {
    loop {
        sleep(REPLACE_EVERY).await;
        let Some(shared) = shared.upgrade().filter(|shared| *shared.is_lost.borrow()) else { return };
        let _ = Pool(shared).any().replace(Connections::Doubtful).await; // The log has the first error.
    }
}
