//! What connections are told when they are made, and how long they wait for locks.

use std::time::Duration;

use sea_orm::DbBackend;

/// The longest that a transaction waits for a row that another has locked.
const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(2);

/// How long transactions wait for locks: less than a statement may take, so that a lock that is not had is
/// a lost race and not a database out of reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct LockWait {
    /// MySQL counts in whole seconds.
    pub(super) mysql: Duration,
    pub(super) others: Duration,
}

impl LockWait {
    pub(super) fn within(statement_timeout: Duration) -> Self {
        let others = LONGEST_LOCK_WAIT.min(statement_timeout / 3 * 2);
        Self { mysql: Duration::from_secs(others.as_secs().max(1)), others }
    }
}

/// How long a statement that may have to wait for a lock may take.
pub(super) fn locking_timeout(backend: DbBackend, statement_timeout: Duration) -> Duration {
    if backend == DbBackend::MySql {
        statement_timeout.max(LockWait::within(statement_timeout).mysql / 2 * 3)
    } else {
        statement_timeout
    }
}

/// READ COMMITTED: under REPEATABLE READ a look-up of a missing key locks the gap, and first sightings of
/// two customers deadlock. `lock_wait_timeout` is for the locks of whole tables, which an ALTER takes.
pub(super) fn mysql(lock_wait: LockWait) -> String {
    let seconds = lock_wait.mysql.as_secs();
    format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET SESSION autocommit = 1, innodb_lock_wait_timeout = {seconds}, lock_wait_timeout = {seconds}"
    )
}

/// Whether a MySQL server logs statements: under READ COMMITTED it writes nothing then (error 1665).
pub(super) const MYSQL_LOGS_STATEMENTS: &str = "SELECT @@global.log_bin AND @@session.binlog_format = 'STATEMENT'";

/// The remedy, which not every user may take.
pub(super) const MYSQL_LOG_ROWS: &str = "SET SESSION binlog_format = 'ROW'";

/// What one of several primaries is told: a transaction, or a statement that is one by itself, waits first for all that
/// the others have acknowledged or shown. It does not wait for a commit of its own server's, which the others may show
/// before that one does: see [`LookupResult`](super::LookupResult).
pub(super) const MYSQL_WAIT_FOR_OTHERS: &str = "SET SESSION group_replication_consistency = \
     IF(@@session.group_replication_consistency LIKE '%AFTER', 'BEFORE_AND_AFTER', 'BEFORE')";

/// Every statement of this service is a key look-up. A plan made while the tables were small must not
/// stay a scan when they have grown.
pub(super) fn postgres(lock_wait: LockWait) -> String {
    format!(
        "SET default_transaction_isolation = 'read committed'; SET lock_timeout = '{}ms'; \
         SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off",
        lock_wait.others.as_millis().max(1) // 0 is no limit.
    )
}
