//! MariaDB: the statements and error numbers of MySQL, and a role of its own. It has no Group Replication.

pub(crate) use super::mysql::{CLOCK_COLUMNS, READ_ONLY_COLUMN};
pub(super) use super::mysql::{contacts_by, owned_rows};

/// Whether the server takes no writes. It is never one of several primaries: a Galera cluster is not recognised.
pub(crate) const ROLE: &str = "SELECT CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF') \
     OR @@global.innodb_read_only OR @@session.tx_read_only, 0";
