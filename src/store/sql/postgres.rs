//! PostgreSQL.

use sea_orm::{DbBackend, Statement, Value};

use super::list::{KeyLookup, bytes, kind};
use super::lock_wait::LockWait;
use super::refusal::{is_of_one_request_on_postgres, refusal};
use crate::domain::Identifier;
use crate::store::connect_error::ConnectError;
use crate::store::error::{Cause, ConnectionState, Outage, StoreError};

/// Whether the server takes no writes. It is never one of several primaries.
pub(crate) const ROLE: &str =
    "SELECT (pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean)::int::bigint, 0::bigint";

/// As [`ROLE`], within a transaction that only reads. A server becomes a standby only by a restart.
pub(crate) const ROLE_WHILE_READING: &str = "SELECT pg_is_in_recovery()::int::bigint, 0::bigint";

/// Whether a transaction is open: outside of one, each statement begins its own.
pub(crate) const IS_IN_TRANSACTION: &str = "SELECT now() <> statement_timestamp()";

/// The column of [`Clock`](crate::store::clock::Clock): the time. Ids rise by one.
pub(crate) const CLOCK_COLUMNS: [&str; 1] = ["clock_timestamp() AT TIME ZONE 'UTC'"];

/// Whether the database keeps every character: in another encoding some addresses cannot be stored.
pub(crate) const IS_UTF8: &str = "SELECT current_setting('server_encoding') = 'UTF8'";

/// Marks a session. The next connection must not have the mark: see [`IS_MARKED`].
pub(crate) const MARK_SESSION: &str = "SET identity.session = 'marked'";

/// Whether this new connection has the session of another one: so a pooler gives it in its transaction mode, in which
/// settings of a session and prepared statements do not hold.
pub(crate) const IS_MARKED: &str = "SELECT coalesce(current_setting('identity.session', true), '') = 'marked'";

/// The settings of each session. Every statement of this service is a key look-up: a plan that was made while the
/// tables were small must not stay a scan when they have grown.
pub(crate) fn session(lock_wait: LockWait) -> String {
    format!(
        "SET default_transaction_isolation = 'read committed'; SET lock_timeout = '{}ms'; \
         SET enable_indexscan = on; SET enable_nestloop = on; SET enable_seqscan = off; SET enable_hashjoin = off; \
         SET enable_mergejoin = off; SET jit = off",
        lock_wait.exact.as_millis().max(1) // 0 is no limit.
    )
}

/// See [`Engine::without_time_limits`](super::Engine::without_time_limits). Not each version has each setting.
pub(crate) const WITHOUT_TIME_LIMITS: &str = "SELECT set_config(name, '0', true) FROM pg_catalog.pg_settings \
     WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')";

/// See [`Engine::tables_sql`](super::Engine::tables_sql).
pub(super) const TABLES: &str = "SELECT c.relname::text, has_any_column_privilege(c.oid, 'SELECT')::int::bigint, \
     0::bigint \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') ORDER BY c.relname";

/// Schema and name of all tables that the user can see.
pub(crate) const TABLES_OF_ALL_SCHEMAS: &str = "SELECT n.nspname::text, c.relname::text \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2";

/// See [`Engine::columns_sql`](super::Engine::columns_sql). The type of an enum has its values beside its name.
pub(super) const COLUMNS: &str = "SELECT a.attname::text, \
     CASE WHEN t.typtype = 'e' THEN t.typname || ' (' || \
     (SELECT string_agg(e.enumlabel::text, ', ' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e \
     WHERE e.enumtypid = t.oid) || ')' ELSE format_type(a.atttypid, a.atttypmod) END, \
     (NOT a.attnotnull)::int::bigint, a.atthasdef::int::bigint, (a.attidentity <> '' \
     OR coalesce(pg_get_expr(d.adbin, d.adrelid), '') LIKE 'nextval(%')::int::bigint \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
     JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
     LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
     WHERE n.nspname = current_schema() AND c.relname = ? ORDER BY a.attnum";

/// See [`Engine::indexes_sql`](super::Engine::indexes_sql).
pub(super) const INDEXES: &str = "SELECT i.relname::text, x.indisunique::int::bigint, x.indisprimary::int::bigint, \
     a.attname::text, (x.indpred IS NOT NULL OR NOT x.indisvalid)::int::bigint \
     FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
     CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY AS k(attnum, position) \
     LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum \
     WHERE n.nspname = current_schema() AND c.relname = ? AND k.position <= x.indnkeyatts \
     ORDER BY i.relname, k.position";

/// PostgreSQL numbers its parameters: `$1`.
pub(super) fn with_numbered_parameters(sql: &str) -> String {
    let pieces = sql.split('?').enumerate();
    pieces.map(|(number, piece)| if number == 0 { piece.to_owned() } else { format!("${number}{piece}") }).collect()
}

/// See [`Engine::owned_rows`](super::Engine). Two arrays take a list of any length.
pub(super) fn owned_rows(identifiers: &[Identifier]) -> KeyLookup {
    let kinds: Vec<String> = identifiers.iter().map(kind).collect();
    let values: Vec<Vec<u8>> = identifiers.iter().map(bytes).collect();
    // OFFSET keeps the planner from turning look-ups into a join of another order.
    let contacts = contact_join("o", "id", r#"i."contactId""#, None);
    let from = format!(
        r#"unnest($1::varchar[], $2::bytea[]) AS k("kind", "value"),
            LATERAL (SELECT * FROM "Identifier" WHERE "kind" = k."kind" AND "value" = k."value" OFFSET 0) i
            {contacts}"#
    );
    KeyLookup { from, filter: "TRUE".to_owned(), params: vec![kinds.into(), values.into()] }
}

/// Inserts identifiers with their owners, in this order. Arrays take any number of rows, so it is one statement.
pub(crate) fn identifier_rows<'a>(owned: impl Iterator<Item = (&'a Identifier, i64)>) -> Statement {
    let (mut kinds, mut values, mut owners): (Vec<String>, Vec<Vec<u8>>, Vec<i64>) = Default::default();
    for (identifier, owner) in owned {
        kinds.push(kind(identifier));
        values.push(bytes(identifier));
        owners.push(owner);
    }
    let sql = r#"INSERT INTO "Identifier" ("kind", "value", "contactId")
        SELECT * FROM unnest($1::varchar[], $2::bytea[], $3::bigint[])"#;
    let values: [Value; 3] = [kinds.into(), values.into(), owners.into()];
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

/// See [`Engine::contact_join`](super::Engine). The planner chooses the index: there is one for each column.
pub(super) fn contact_join(name: &str, column: &str, value: &str, _index: Option<&str>) -> String {
    format!(r#"LEFT JOIN LATERAL (SELECT * FROM "Contact" WHERE "{column}" = {value} OFFSET 0) {name} ON TRUE"#)
}

/// The contacts `c` of these ids.
pub(super) fn contacts_by_id(ids: &[i64]) -> KeyLookup {
    let (from, filter) = (r#""Contact" c"#.to_owned(), r#"c."id" = ANY($1::bigint[])"#.to_owned());
    KeyLookup { from, filter, params: vec![Value::from(ids.to_vec())] }
}

/// What this selects of `roots`, of these roots.
pub(super) fn contacts_of(select: &str, roots: &[i64]) -> (String, Vec<Value>) {
    let sql = format!("WITH roots AS (SELECT unnest($1::bigint[]) AS root) {select}");
    (sql, vec![Value::from(roots.to_vec())])
}

/// The contacts of `roots` by this column. The planner chooses the index: there is one for each column.
pub(super) fn contacts_by(columns: &str, column: &str, _index: Option<&str>) -> String {
    let contacts = format!(r#"SELECT {columns} FROM "Contact" c WHERE c."{column}" = roots.root OFFSET 0"#);
    format!("SELECT c.* FROM roots, LATERAL ({contacts}) c")
}

/// The number of the migration lock: "identity" in ASCII.
const MIGRATION_LOCK: i64 = 0x6964_656e_7469_7479;

/// See [`Engine::try_migration_lock`](super::Engine::try_migration_lock). The end of the transaction releases it.
pub(super) fn try_migration_lock() -> String {
    format!("SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})")
}

/// Why there is no connection, by SQLSTATE. The message is compared, not quoted.
pub(crate) fn connect_error(code: &str, message: &str) -> ConnectError {
    match code {
        "28000" | "28P01" => ConnectError::Refused(
            "the database refuses the user or the password, or allows no connection from this host (pg_hba.conf)",
        ),
        "3D000" => ConnectError::Refused("the server has no database of that name"),
        "42501" => ConnectError::Refused("the database user lacks the right to connect (CONNECT)"),
        "55000" => ConnectError::Refused("the database does not take connections (ALLOW_CONNECTIONS)"),
        "53300" => ConnectError::Full,
        "57P03" | "57P01" | "57P02" => ConnectError::NotNow("the database server starts or shuts down"),
        // So a pooler refuses what it does not pass on.
        "08P01" if message.contains("startup parameter") => ConnectError::Refused(
            "a pooler before the database refuses a parameter of the connection; see ignore_startup_parameters",
        ),
        "42P05" | "26000" => ConnectError::Refused(POOLER),
        _ => ConnectError::Unreachable,
    }
}

/// What the service says of a pooler in transaction mode.
pub(crate) const POOLER: &str = "a pooler in transaction mode stands before the database, in which settings of a \
     session and prepared statements do not hold: set pool_mode = session for this database, or connect to the server \
     itself";

/// What an error means, by SQLSTATE, by the routine of the server that raised it, and by the column that it names.
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(crate) fn store_error(code: &str, routine: Option<&str>, column: Option<&str>) -> StoreError {
    if code == "0A000" && routine != Some("RevalidateCachedQuery") {
        // "Feature not supported" in general. Below it means "cached plan must not change result type".
        return StoreError::Faulty(Cause::new("SQLSTATE 0A000"));
    }
    let connections = match code {
        // A cached plan from before an ALTER TABLE; a prepared statement that is gone (a connection pooler, DISCARD).
        "0A000" | "26000" => ConnectionState::Outdated,
        "25006" => ConnectionState::Unusable,
        // Refused, terminated, or of unknown outcome; BEGIN began no transaction, so that no savepoint can be set.
        "28000" | "28P01" | "25P01" | "25P03" | "25P04" | "3B001" | "40003" => ConnectionState::Suspect,
        _ if code.starts_with("08") || code.starts_with("57P") => ConnectionState::Suspect,
        _ => ConnectionState::Healthy,
    };
    let cause = Cause::with_state(connections, format!("SQLSTATE {code}"));
    let outage = match code {
        // Unknown schema, table or column.
        "3F000" | "42P01" | "42703" => Some(Outage::Schema),
        "42501" => Some(Outage::Rights),
        "25006" => Some(Outage::ReadOnly),
        "42P05" => Some(Outage::Refused(POOLER)),
        _ => None,
    };
    if let Some(outage) = outage {
        return StoreError::Unavailable(cause.because_of(outage));
    }
    match code {
        "23505" => StoreError::DuplicateKey(cause),
        // Serialization failure, deadlock, lock timeout; a transaction that has failed already; see above.
        "40001" | "40P01" | "55P03" | "25P02" | "0A000" | "26000" => StoreError::LostRace(cause),
        // A statement cancelled by statement_timeout or by an administrator.
        "57014" => StoreError::CutShort(cause),
        // A read-only transaction (a standby), one that was idle or open for too long, a commit of unknown outcome;
        // user or password refused, to a connection made while they are changed; no transaction after BEGIN.
        "25006" | "25P01" | "25P03" | "25P04" | "3B001" | "40003" | "28000" | "28P01" => StoreError::Unavailable(cause),
        // Connection exceptions, insufficient resources, operator intervention, I/O.
        _ if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => StoreError::Unavailable(cause),
        _ => refusal(is_of_one_request_on_postgres(code, column), cause),
    }
}
