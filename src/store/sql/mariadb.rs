//! MariaDB: the statements, questions and error numbers of MySQL, but for what is here. It has no Group Replication.
//! Its clusters are Galera's, in which every server takes writes.

pub(crate) use super::mysql::{READ_ONLY_COLUMN, ROLE};
pub(super) use super::mysql::{contact_join, contacts_by, contacts_by_id, contacts_of, owned_rows};

/// The question whether a server of a Galera cluster must not be used: it is cut off from most of the cluster, or it
/// has not yet what it missed. On a server of no cluster it means nothing.
pub(crate) const IS_NOT_READY: &str = "SELECT COUNT(*) FROM information_schema.GLOBAL_STATUS \
     WHERE VARIABLE_NAME = 'wsrep_ready' AND VARIABLE_VALUE <> 'ON'";

/// Makes each read and each BEGIN of a session wait first for all that the servers of a Galera cluster have
/// acknowledged or shown. Without it, or with `wsrep_dirty_reads`, reads can be stale. No right is needed.
pub(crate) const WAIT_FOR_OTHERS: &str =
    "SET SESSION wsrep_sync_wait = @@session.wsrep_sync_wait | 1, wsrep_dirty_reads = OFF";

/// The columns of [`Clock`](crate::store::clock::Clock): the time, and [`READ_ONLY_COLUMN`].
///
/// The step from one automatic id to the next is not asked for: in a Galera cluster it changes with the number of
/// servers, at any moment. See [`INSERTED_IDS`].
pub(crate) const CLOCK_COLUMNS: [&str; 2] = ["UTC_TIMESTAMP(6)", READ_ONLY_COLUMN];

/// What makes an INSERT return the automatic id of each of its rows.
pub(crate) const INSERTED_IDS: &str = " RETURNING `id`";
