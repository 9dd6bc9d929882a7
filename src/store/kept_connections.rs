//! Connections that stay out of the driver's pool between two statements.
//!
//! sqlx pings a connection each time that it comes back to its pool (0.9.0, no setting turns it off), and this service
//! comes back after each statement and each transaction. So a connection whose work succeeded is kept here, and the
//! next statement or transaction uses it: the one that was used last first. The pool gets it
//!
//! - after an error, or if its work was abandoned, once no transaction is open on it
//!   ([`HeldConnection`](super::held_connection::HeldConnection));
//! - when it was not used for [`KEPT_IDLE`];
//! - when it was out of the pool for [`KEPT_FOR`], so that the pool can close what is too old;
//! - if a statement waits for a connection of the pool;
//! - if all connections but one are kept already: that one is for migrations, which take theirs from the pool, and do
//!   not count as waiting.
//!
//! What the pool does not get within the time of a statement is closed. So are all kept connections when their
//! generation is replaced: their server may not answer.

use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sea_orm::{DatabaseConnection, DbBackend, DbErr, RuntimeErr};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::driver_connection::{DriverConnection, DriverPool};
use super::sql::Engine;

/// How long a connection is kept without use. The pool tests what was idle for longer, before it is used again.
pub(super) const KEPT_IDLE: Duration = Duration::from_secs(1);

/// How long a connection stays out of the pool, however much it is used.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// The connections of one generation that are kept.
#[derive(Debug)]
pub(super) struct KeptConnections {
    pool: DriverPool,
    /// How long a statement may take.
    pub(super) statement_timeout: Duration,
    maximum: usize,
    state: Lock<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The one that was used last comes last.
    kept: Vec<Kept>,
    /// How many wait for a connection of the pool.
    waiting: usize,
    is_closed: bool,
    /// Whether a task looks after what is not used.
    is_watched: bool,
}

/// A connection outside of the pool.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) connection: DriverConnection,
    /// Since when it is outside of the pool.
    taken: Instant,
    used: Instant,
}

impl KeptConnections {
    /// For the connections of this pool, of which there are at most so many. `None` for SQLite, where a ping is no
    /// round trip, and where the pool finds out by it what became of a transaction.
    pub(super) fn new(
        pool: &DatabaseConnection,
        engine: Engine,
        max_connections: u32,
        statement_timeout: Duration,
    ) -> Option<Arc<Self>> {
        let pool = match engine {
            Engine::Mysql | Engine::Mariadb => DriverPool::Mysql(pool.get_mysql_connection_pool().clone()),
            Engine::Postgres => DriverPool::Postgres(pool.get_postgres_connection_pool().clone()),
            Engine::Sqlite => return None,
        };
        let maximum = usize::try_from(max_connections.saturating_sub(1)).unwrap_or(usize::MAX);
        Some(Arc::new(Self { pool, statement_timeout, maximum, state: Lock::default() }))
    }

    pub(super) fn backend(&self) -> DbBackend {
        match &self.pool {
            DriverPool::Mysql(_) => DbBackend::MySql,
            DriverPool::Postgres(_) => DbBackend::Postgres,
        }
    }

    /// How many connections are kept and wait for work.
    pub(super) fn idle(&self) -> usize {
        self.state().kept.len()
    }

    /// Takes a connection: a kept one, or one of the pool.
    ///
    /// # Errors
    /// Those of the pool.
    pub(super) async fn take(&self) -> Result<Kept, DbErr> {
        if let Some(kept) = self.pop() {
            return Ok(kept);
        }
        // Boxed, because it is rare: it must not make the future of every statement larger.
        Box::pin(self.acquire()).await
    }

    async fn acquire(&self) -> Result<Kept, DbErr> {
        let _waiting = Waiting::begin(self);
        // One that came back before this counted as waiting.
        if let Some(kept) = self.pop() {
            return Ok(kept);
        }
        let connection = self.pool.acquire().await;
        let now = Instant::now();
        let kept = connection.map(|connection| Kept { connection, taken: now, used: now });
        kept.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))
    }

    /// Takes a kept connection, if there is one.
    pub(super) fn pop(&self) -> Option<Kept> {
        let last = self.state().kept.pop()?;
        // Otherwise all others are older still. The task that watches gives them back.
        (last.used.elapsed() < KEPT_IDLE).then_some(last)
    }

    /// Takes the kept connection that waits longest, if there is one.
    pub(super) fn pop_oldest(&self) -> Option<Kept> {
        let kept = &mut self.state().kept;
        let oldest = kept.iter().position(|kept| kept.used.elapsed() < KEPT_IDLE)?;
        Some(kept.remove(oldest))
    }

    /// Keeps a connection whose work succeeded, or gives it back to the pool.
    pub(super) fn put(self: &Arc<Self>, connection: Kept) {
        let connection = Kept { used: Instant::now(), ..connection };
        let mut state = self.state();
        if state.is_closed {
            drop(state);
            tokio::spawn(connection.connection.close());
            return;
        }
        let pool_needs_it = state.waiting > 0 || state.kept.len() >= self.maximum;
        if pool_needs_it || connection.taken.elapsed() >= KEPT_FOR {
            drop(state);
            self.give_back(connection);
            return;
        }
        state.kept.push(connection);
        if !std::mem::replace(&mut state.is_watched, true) {
            tokio::spawn(give_back_idle(Arc::downgrade(self)));
        }
    }

    /// Gives a connection back to the pool, or closes it if that takes longer than a statement may. No transaction may
    /// be open on it.
    pub(super) fn give_back(&self, connection: Kept) {
        tokio::spawn(connection.connection.give_back(self.statement_timeout));
    }

    /// Closes all connections that are kept, now and when they come.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let kept = std::mem::take(&mut state.kept);
        drop(state);
        for kept in kept {
            tokio::spawn(kept.connection.close());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeptConnections {
    /// Without a runtime, sqlx cannot take a connection back, and panics.
    fn drop(&mut self) {
        if Handle::try_current().is_ok() {
            self.close();
        } else {
            let kept = std::mem::take(&mut self.state().kept);
            kept.into_iter().for_each(|kept| kept.connection.close_without_runtime());
        }
    }
}

/// Counts as waiting until it is dropped.
struct Waiting<'a>(&'a KeptConnections);

impl<'a> Waiting<'a> {
    fn begin(connections: &'a KeptConnections) -> Self {
        connections.state().waiting += 1;
        Self(connections)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// Gives connections back to the pool that are not used, until none is kept.
async fn give_back_idle(connections: Weak<KeptConnections>) {
    loop {
        sleep(KEPT_IDLE / 4).await;
        let Some(connections) = connections.upgrade() else { return };
        let mut state = connections.state();
        let idle: Vec<Kept> = state.kept.extract_if(.., |kept| kept.used.elapsed() >= KEPT_IDLE).collect();
        state.is_watched = !state.kept.is_empty();
        let is_done = !state.is_watched;
        drop(state);
        idle.into_iter().for_each(|kept| connections.give_back(kept));
        if is_done {
            return;
        }
    }
}
