//! MariaDB: the statements, questions and error numbers of MySQL. It has no Group Replication, and a Galera cluster
//! is not recognised.

pub(crate) use super::mysql::{CLOCK_COLUMNS, READ_ONLY_COLUMN, ROLE};
pub(super) use super::mysql::{contacts_by, owned_rows};
