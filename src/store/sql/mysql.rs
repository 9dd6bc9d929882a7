//! MySQL, and what speaks as it does (TiDB, Vitess, Aurora). MariaDB has a file of its own, which says what it shares.

use sea_orm::Value;

use super::list::{KeyLookup, bytes, padded, padded_ids};
use super::lock_wait::LockWait;
use super::refusal::{is_of_one_request_on_mysql, refusal};
use crate::domain::{Identifier, IdentifierKind};
use crate::store::connect_error::ConnectError;
use crate::store::error::{Cause, ConnectionState, Outage, StoreError};

/// The question whether a server is MariaDB, which alone runs what stands in such a comment.
pub(crate) const IS_MARIADB: &str = "SELECT 0 /*M! + 1 */";

/// Three questions: whether the server takes no writes, whether every server of its group (Group Replication) or
/// cluster (Galera) takes writes, and whether it is a MySQL server in a Galera cluster ([`GALERA`]).
///
/// MariaDB is asked the same, because the server behind an address can change. `read_only` is compared as text, because
/// MariaDB 12 has words for it. `innodb_read_only` is set on an Aurora reader. The variable in the comments, of which
/// each server reads its own, is set by `transaction_read_only` in a configuration. What group or cluster there is
/// comes from a table, because not every server has those variables.
pub(crate) const ROLE: &str = "SELECT CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF') \
     OR @@global.innodb_read_only \
     /*!80000 OR @@session.transaction_read_only */ /*M!100000 OR @@session.tx_read_only */, \
     0 /*!80000 + (SELECT COUNT(*) FROM performance_schema.global_variables \
     WHERE VARIABLE_NAME = 'group_replication_single_primary_mode' AND VARIABLE_VALUE = 'OFF') */ \
     /*M!100000 + (SELECT COUNT(*) = 2 FROM information_schema.GLOBAL_VARIABLES \
     WHERE VARIABLE_NAME = 'wsrep_on' AND VARIABLE_VALUE = 'ON' \
     OR VARIABLE_NAME = 'wsrep_provider' AND VARIABLE_VALUE NOT IN ('', 'none')) */, \
     0 /*!80000 + (SELECT COUNT(*) FROM performance_schema.global_variables \
     WHERE VARIABLE_NAME = 'wsrep_provider' AND VARIABLE_VALUE NOT IN ('', 'none')) */";

/// Why a MySQL server in a Galera cluster is refused.
///
/// The step from one automatic id to the next changes there with the number of servers, also between the question for
/// it and the INSERT, and MySQL has no RETURNING: contacts would get ids that are not theirs. By default
/// (`pxc_strict_mode`) such a server has no GET_LOCK either, which migrations need.
pub(crate) const GALERA: &str = "the server is MySQL in a Galera cluster (Percona XtraDB Cluster), which the service \
     cannot use: use MariaDB Galera Cluster, MySQL Group Replication or a single server";

/// The question whether a server belongs to a group (Group Replication) that it is not ONLINE in.
///
/// Such a server may take writes, but the group does not get them, and its reads are stale. The answer needs the right
/// to SELECT from that table.
pub(crate) const IS_OUTSIDE_GROUP: &str = "SELECT @@global.group_replication_group_name <> '' AND NOT EXISTS (\
     SELECT * FROM performance_schema.replication_group_members \
     WHERE MEMBER_ID = @@global.server_uuid AND MEMBER_STATE = 'ONLINE')";

/// The question whether a server logs statements. Under READ COMMITTED such a server refuses writes (error 1665).
pub(crate) const LOGS_STATEMENTS: &str = "SELECT @@global.log_bin AND @@session.binlog_format = 'STATEMENT'";

/// Makes a session log rows. Not every user has the right to.
pub(crate) const LOG_ROWS: &str = "SET SESSION binlog_format = 'ROW'";

/// Makes each transaction of a session wait first for all that other primaries of the group have acknowledged or shown.
///
/// It does not wait for a commit of its own server, which others may show earlier: see
/// [`LookupResult`](crate::store::LookupResult).
pub(crate) const WAIT_FOR_OTHERS: &str = "SET SESSION group_replication_consistency = \
     IF(@@session.group_replication_consistency LIKE '%AFTER', 'BEFORE_AND_AFTER', 'BEFORE')";

/// Whether the server takes no writes.
pub(crate) const READ_ONLY_COLUMN: &str = "@@global.read_only";

/// The columns of [`Clock`](crate::store::clock::Clock): the time, the step from one automatic id of a statement to the
/// next, and [`READ_ONLY_COLUMN`].
///
/// The step is 0 where ids of one statement do not rise evenly: an offset that is greater than the step counts from
/// itself on only. (A server of a group with several primaries has its `server_id` for an offset.)
pub(crate) const CLOCK_COLUMNS: [&str; 3] = [
    "UTC_TIMESTAMP(6)",
    "CAST(IF(@@auto_increment_offset > @@auto_increment_increment, 0, @@auto_increment_increment) AS UNSIGNED)",
    READ_ONLY_COLUMN,
];

/// The settings of each session: what the service relies on, whatever the server's defaults are.
///
/// - `sql_mode` comes first: MariaDB reads what follows by it (`ORACLE`). Without STRICT a value that does not fit
///   would be cut.
/// - READ COMMITTED: under REPEATABLE READ a look-up of a missing key locks the gap, and first sightings of two
///   customers deadlock. No transaction begins by the end of another (`completion_type`).
/// - `lock_wait_timeout` is for the locks of tables, which an ALTER takes.
/// - No answer is cut (`sql_select_limit`), no statement refused for the rows that it might read or change
///   (`sql_big_selects`, `sql_safe_updates`), and no list too long for index dives (`eq_range_index_dive_limit`).
/// - `default_storage_engine` is for the table of the migrations.
pub(crate) fn session(lock_wait: LockWait) -> String {
    let seconds = lock_wait.whole_seconds.as_secs();
    format!(
        "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET SESSION autocommit = 1, completion_type = 0, innodb_lock_wait_timeout = {seconds}, \
         lock_wait_timeout = {seconds}, sql_select_limit = 18446744073709551615, sql_big_selects = 1, \
         sql_safe_updates = 0, sql_auto_is_null = 0, unique_checks = 1, eq_range_index_dive_limit = 200, \
         default_storage_engine = InnoDB"
    )
}

/// See [`Engine::without_time_limits`](super::Engine::without_time_limits). The session ends with its command.
pub(crate) const WITHOUT_TIME_LIMITS: &str = "SET SESSION /*!80000 max_execution_time = 0, */ \
     /*M! max_statement_time = 0, idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0, */ \
     wait_timeout = 86400";

/// See [`Engine::tables_sql`](super::Engine::tables_sql). MySQL can fold the names of tables, by a setting.
/// MariaDB has a type of its own for tables that keep their history.
pub(super) const TABLES: &str = "SELECT CAST(TABLE_NAME AS CHAR), 1, CAST(@@lower_case_table_names <> 0 AS SIGNED) \
     FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
     AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME";

/// Schema and name of all tables that the user can see.
pub(crate) const TABLES_OF_ALL_SCHEMAS: &str = "SELECT CAST(TABLE_SCHEMA AS CHAR), CAST(TABLE_NAME AS CHAR) \
     FROM information_schema.TABLES WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1, 2";

/// Whether the message of a duplicate key is about the primary key. It ends with the name of the key, after the value.
pub(crate) fn is_of_primary_key(message: &str) -> bool {
    message.ends_with("'PRIMARY'") || message.ends_with(".PRIMARY'")
}

/// See [`Engine::columns_sql`](super::Engine::columns_sql). MariaDB has the text `NULL` as the default of a column that
/// can be null.
pub(super) const COLUMNS: &str = "SELECT CAST(COLUMN_NAME AS CHAR), \
     CAST(CONCAT_WS(' ', COLUMN_TYPE, CHARACTER_SET_NAME) AS CHAR), CAST(IS_NULLABLE = 'YES' AS SIGNED), \
     CAST(COALESCE(COLUMN_DEFAULT, 'NULL') <> 'NULL' OR EXTRA <> '' AS SIGNED), \
     CAST(EXTRA LIKE '%auto_increment%' AS SIGNED) \
     FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";

/// See [`Engine::indexes_sql`](super::Engine::indexes_sql).
pub(super) const INDEXES: &str = "SELECT CAST(INDEX_NAME AS CHAR), CAST(NON_UNIQUE = 0 AS SIGNED), \
     CAST(INDEX_NAME = 'PRIMARY' AS SIGNED), CAST(COLUMN_NAME AS CHAR), 0 \
     FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? \
     ORDER BY INDEX_NAME, SEQ_IN_INDEX";

/// MySQL quotes names with back quotes.
pub(super) fn with_back_quotes(sql: &str) -> String {
    sql.replace('"', "`")
}

/// See [`Engine::owned_rows`](super::Engine).
pub(super) fn owned_rows(identifiers: &[Identifier]) -> KeyLookup {
    let KeyLookup { from, filter, params } = identifier_rows(identifiers);
    let contacts = contact_join("o", "id", r#"i."contactId""#, None);
    KeyLookup { from: format!("{from}\n            {contacts}"), filter, params }
}

/// The `Identifier` rows `i` of these identifiers.
pub(super) fn identifier_rows(identifiers: &[Identifier]) -> KeyLookup {
    let (is_wanted, params) = lists_by_kind(identifiers);
    KeyLookup { from: "`Identifier` i FORCE INDEX (PRIMARY)".to_owned(), filter: format!("({is_wanted})"), params }
}

/// See [`Engine::contact_join`](super::Engine).
pub(super) fn contact_join(name: &str, column: &str, value: &str, index: Option<&str>) -> String {
    let index = index.unwrap_or("PRIMARY");
    format!(r#"LEFT JOIN "Contact" {name} FORCE INDEX ({index}) ON {name}."{column}" = {value}"#)
}

/// The contacts `c` of these ids.
pub(super) fn contacts_by_id(ids: &[i64]) -> KeyLookup {
    let (params, marks) = list(ids);
    let from = r#""Contact" c FORCE INDEX (PRIMARY)"#.to_owned();
    KeyLookup { from, filter: format!(r#"c."id" IN ({marks})"#), params }
}

/// These columns of the contacts of these roots. Lists need no temporary table, as `roots` would.
pub(super) fn contacts_of(columns: &str, roots: &[i64]) -> (String, Vec<Value>) {
    let (params, marks) = list(roots);
    let by = |index: &str, column: &str| {
        format!(r#"SELECT {columns} FROM "Contact" c FORCE INDEX ({index}) WHERE c."{column}" IN ({marks})"#)
    };
    let sql = format!("{} UNION ALL {}", by("PRIMARY", "id"), by("Contact_linkedId", "linkedId"));
    (sql, [params.clone(), params].concat())
}

/// Ids as parameters, filled up, and their marks.
fn list(ids: &[i64]) -> (Vec<Value>, String) {
    let ids: Vec<Value> = padded_ids(ids).into_iter().map(Value::from).collect();
    let marks = vec!["?"; ids.len()].join(", ");
    (ids, marks)
}

/// A condition with a list of values for each kind, all lists of one length. Rows of kind and value instead take MySQL
/// a fifth more time to look up.
fn lists_by_kind(identifiers: &[Identifier]) -> (String, Vec<Value>) {
    let of_kind = |kind| identifiers.iter().filter(move |identifier| identifier.kind() == kind);
    let longest = IdentifierKind::ALL.into_iter().map(|kind| of_kind(kind).count()).max();
    let size = longest.unwrap_or_default().next_power_of_two();
    let marks = vec!["?"; size].join(", ");
    let (mut conditions, mut params) = (Vec::new(), Vec::new());
    for kind in IdentifierKind::ALL {
        let before = params.len();
        params.extend(padded(of_kind(kind), size).map(|identifier| Value::from(bytes(identifier))));
        if params.len() > before {
            conditions.push(format!("i.`kind` = '{}' AND i.`value` IN ({marks})", kind.name()));
        }
    }
    (conditions.join(" OR "), params)
}

/// The contacts of `roots` by this column, through an index (the primary key without one).
pub(super) fn contacts_by(columns: &str, column: &str, index: Option<&str>) -> String {
    let index = index.unwrap_or("PRIMARY");
    format!(
        r#"SELECT {columns} FROM roots STRAIGHT_JOIN "Contact" c FORCE INDEX ("{index}") ON c."{column}" = roots.root"#
    )
}

/// Makes the table of the migrations. SeaORM's own statement takes the server's storage engine and row format, in which
/// a key can be too short for a name.
pub(super) const CREATE_MIGRATIONS_TABLE: &str = "CREATE TABLE IF NOT EXISTS `seaql_migrations` (\
     `version` varchar(255) NOT NULL PRIMARY KEY, `applied_at` bigint NOT NULL) \
     ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// The name of the migration lock. MySQL has one name space for a server, and 64 characters for a name.
const MIGRATION_LOCK: &str = "CONCAT('identity', SHA2(DATABASE(), 224))";

/// See [`Engine::try_migration_lock`](super::Engine::try_migration_lock).
pub(super) fn try_migration_lock() -> String {
    format!("SELECT CASE GET_LOCK({MIGRATION_LOCK}, 0) WHEN 1 THEN TRUE ELSE FALSE END")
}

/// The connection holds the lock, not the transaction.
pub(super) fn release_migration_lock() -> String {
    format!("DO RELEASE_LOCK({MIGRATION_LOCK})")
}

/// Whether an error means that the answer to a question is no: a right that the user lacks, or an unknown database,
/// column, table, variable or syntax.
pub(crate) fn is_answer_no(error: u16) -> bool {
    matches!(error, 1044 | 1049 | 1054 | 1064 | 1109 | 1142 | 1143 | 1146 | 1193 | 1227 | 1238)
}

/// Why there is no connection. MariaDB has a number of its own for a locked account.
pub(crate) fn connect_error(number: u16) -> ConnectError {
    match number {
        1040 | 1203 | 1226 => ConnectError::Full,
        1047 => ConnectError::NotReady,
        1053 | 1077 | 1079 => ConnectError::NotNow("the database server shuts down"),
        3032 => ConnectError::NotNow("the database server is in offline mode"),
        1044 | 1142 | 1143 | 1227 => ConnectError::Refused("the database user lacks a right that the service needs"),
        1045 | 1698 => ConnectError::Refused(
            "the database refuses the user or the password, or wants TLS of this user (ssl-mode in its URL)",
        ),
        1049 => ConnectError::Refused("the server has no database of that name"),
        1129 => ConnectError::Refused("the database server blocks this host after many errors: FLUSH HOSTS ends that"),
        1130 => ConnectError::Refused("the database server allows no connection from this host"),
        1820 | 1862 => ConnectError::Refused("the password of the database user is expired"),
        3118 | 4151 => ConnectError::Refused("the account of the database user is locked"),
        3159 => ConnectError::Refused("the database demands TLS: put ?ssl-mode=REQUIRED into its URL"),
        1251 | 2059 => ConnectError::Refused("the database demands an authentication method that is not supported"),
        _ => ConnectError::Unreachable,
    }
}

/// What an error says of all statements, if it does.
fn outage(number: u16) -> Option<Outage> {
    match number {
        // No database selected, unknown database; unknown column, table or table space.
        1046 | 1049 | 1051 | 1054 | 1109 | 1146 | 1812 | 1932 => Some(Outage::Schema),
        // Database, user, table, column, a right for all.
        1044 | 1142 | 1143 | 1227 | 1370 => Some(Outage::Rights),
        1290 | 1792 | 1836 => Some(Outage::ReadOnly),
        1047 => Some(ConnectError::NotReady.outage()),
        1045 | 1820 | 1862 | 3032 | 3118 | 4151 => match connect_error(number) {
            ConnectError::NotNow(words) | ConnectError::Refused(words) => Some(Outage::Refused(words)),
            ConnectError::Unreachable
            | ConnectError::ReadOnly
            | ConnectError::OutsideGroup
            | ConnectError::NotReady
            | ConnectError::Full
            | ConnectError::NoneOf(_) => None,
        },
        _ => None,
    }
}

/// What an error means, by its number and its SQLSTATE. MariaDB and TiDB number alike; each has some numbers of its
/// own.
/// <https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html>
pub(crate) fn store_error(number: u16, sqlstate: &str) -> StoreError {
    let connections = match number {
        // Unknown prepared statement, or one that has to be prepared again; a table was altered. A right that the
        // session does not have: another one may, since rights were granted.
        1243 | 1412 | 1615 | 1044 | 1142 | 1143 | 1227 | 1370 => ConnectionState::Outdated,
        // --read-only, a read-only mode (an Aurora reader, a full disk), a read-only transaction; outside its group, or
        // leaving it.
        1290 | 1792 | 1836 | 3783 | 3796 | 3799 => ConnectionState::Unusable,
        // Not ready in a Galera cluster; offline mode; an account that is locked, or whose password is expired.
        1047 | 1820 | 1862 | 3032 | 3118 | 4151 => ConnectionState::Refused,
        // No thread for a connection, a connection or a host refused, user or password refused, shutdown.
        // A savepoint is gone, so BEGIN began no transaction.
        1040 | 1045 | 1053 | 1129 | 1130 | 1135 | 1203 | 1226 | 1305 => ConnectionState::Suspect,
        _ => ConnectionState::Healthy,
    };
    let cause = Cause::with_state(connections, format!("MySQL error {number}"));
    if let Some(outage) = outage(number) {
        return StoreError::Unavailable(cause.because_of(outage));
    }
    match number {
        // Duplicate key.
        1062 | 1586 => StoreError::DuplicateKey(cause),
        // Lock wait timeout, deadlock (Galera: also a conflict with another server's commit, which a COMMIT can find,
        // and a wait for the others that took too long); certification failed (Group Replication); TiDB's write
        // conflicts; a row or a table that changed in between; a statement to be prepared again.
        1020 | 1205 | 1213 | 1243 | 1412 | 1615 | 3101 | 3572 | 8002 | 8022 | 8028 | 9007 => {
            StoreError::LostRace(cause)
        }
        // A time limit of MariaDB, of MySQL.
        1969 | 3024 => StoreError::CutShort(cause),
        // Too many connections or prepared statements, out of memory, shutdown, read-only, killed, locked for a backup,
        // group without a majority, server outside its group or behind it, disk full; user or password refused, to a
        // connection made while they are changed; no transaction after BEGIN; TiDB's storage not reached or busy.
        1021
        | 1030
        | 1037
        | 1040
        | 1041
        | 1045
        | 1053
        | 1077
        | 1079
        | 1080
        | 1114
        | 1129
        | 1130
        | 1135
        | 1152
        | 1158..=1161
        | 1180
        | 1203
        | 1206
        | 1223
        | 1226
        | 1290
        | 1305
        | 1317
        | 1461
        | 1792
        | 1836
        | 1927
        | 3098
        | 3100
        | 3168
        | 3169
        | 3170
        | 3781..=3783
        | 3796..=3799
        | 4031
        | 9001..=9005 => StoreError::Unavailable(cause),
        _ => refusal(is_of_one_request_on_mysql(number, sqlstate), cause),
    }
}
