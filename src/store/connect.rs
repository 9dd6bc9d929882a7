use std::time::{Duration, Instant};

use secrecy::SecretString;
use sqlx::mysql::MySqlDatabaseError;
use tokio::time::sleep;

use super::Database;
use super::connector::{Connected, Server};
use super::pool::Pool;
use crate::settings;

/// Why there is no connection, in one line for the operator. Names no host, no user and no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nothing answers there (yet).
    #[error("the database does not answer")]
    Unreachable,
    /// It answers, but is a replica (yet), or was put into a read-only mode.
    #[error("the database is read-only")]
    ReadOnly,
    /// It answers, and belongs to a group (Group Replication) that it is not in (yet).
    #[error("the database server has a group_replication_group_name and is not ONLINE in that group")]
    OutsideGroup,
    /// It answers, and wants neither of us. Trying again does not help.
    #[error("{0}")]
    Refused(&'static str),
    /// No server of several can be used: why, of each.
    #[error("no database server can be used: {}", listed(.0))]
    NoneOf(Vec<ConnectError>),
}

impl ConnectError {
    /// Whether trying again does not help.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Unreachable | Self::ReadOnly | Self::OutsideGroup => false,
            Self::Refused(_) => true,
            Self::NoneOf(errors) => errors.iter().all(Self::is_lasting),
        }
    }
}

/// Servers are told by their place in the list: their names are not for logs.
fn listed(errors: &[ConnectError]) -> String {
    let one = |(place, error): (usize, &ConnectError)| format!("{error} (server {})", place + 1);
    errors.iter().enumerate().map(one).collect::<Vec<_>>().join("; ")
}

/// How long [`Database::wait_and_connect`] waits between two attempts.
const CONNECT_EVERY: Duration = Duration::from_millis(500);

impl Database {
    /// Connects to the first of the servers that takes writes.
    ///
    /// # Errors
    /// Unless it [is lasting](ConnectError::is_lasting), the error is worth another try.
    pub async fn connect(settings: &settings::DatabaseSettings) -> Result<Self, ConnectError> {
        Ok(Self { pool: Pool::connect(settings).await? })
    }

    /// Connects, and tries again for up to [`settings::DatabaseSettings::wait`] while no server can be used yet.
    ///
    /// # Errors
    /// The last error.
    pub async fn wait_and_connect(settings: &settings::DatabaseSettings) -> Result<Self, ConnectError> {
        let begun = Instant::now();
        let mut is_logged = false;
        loop {
            match Self::connect(settings).await {
                Err(error) if !error.is_lasting() && begun.elapsed() < settings.wait => {
                    if !std::mem::replace(&mut is_logged, true) {
                        tracing::warn!(wait_s = settings.wait.as_secs(), "waiting for the database");
                    }
                    sleep(CONNECT_EVERY).await;
                }
                result => return result,
            }
        }
    }
}

/// The servers that can have the database.
#[derive(Debug)]
pub(super) struct Servers {
    servers: Vec<Server>,
}

impl Servers {
    pub(super) fn new(settings: &settings::DatabaseSettings) -> Self {
        let server = |url: SecretString| Server::new(url, settings.connections, settings.timeout);
        Self { servers: settings.servers.iter().cloned().map(server).collect() }
    }

    /// Whether connections that do not work can be given up for new ones. An SQLite database is in this
    /// process, and one in memory would be gone with its connection.
    pub(super) fn are_elsewhere(&self) -> bool {
        !self.servers.iter().any(Server::is_sqlite)
    }

    /// Connections to the first server that takes writes, and its place in the list. They are tried in
    /// turn, from that place on.
    pub(super) async fn connect(&self, from: usize) -> Result<(usize, Connected), ConnectError> {
        let count = self.servers.len();
        let mut errors = vec![ConnectError::Unreachable; count];
        for place in (from..from + count).map(|place| place % count) {
            match Box::pin(self.servers[place].connect()).await {
                Ok(connected) => return Ok((place, connected)),
                Err(error) => errors[place] = error,
            }
        }
        match <[ConnectError; 1]>::try_from(errors) {
            Ok([only]) => Err(only),
            Err(errors) => Err(ConnectError::NoneOf(errors)),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds errors as it likes")]
pub(super) fn why(error: &sqlx::Error) -> ConnectError {
    match error {
        sqlx::Error::Configuration(_) => ConnectError::Refused("the database URL cannot be understood"),
        sqlx::Error::Tls(_) => ConnectError::Refused(
            "the TLS connection to the database failed; see ssl-mode (MySQL) or sslmode (PostgreSQL) in its URL",
        ),
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                why_mysql(error.number())
            } else {
                why_code(error.code().as_deref().unwrap_or_default())
            }
        }
        _ => ConnectError::Unreachable,
    }
}

fn why_mysql(number: u16) -> ConnectError {
    match number {
        1044 | 1142 | 1227 => ConnectError::Refused("the database user lacks a right that the service needs"),
        1045 | 1698 => ConnectError::Refused(
            "the database refuses the user or the password, or wants TLS of this user (ssl-mode in its URL)",
        ),
        1049 => ConnectError::Refused("the server has no database of that name"),
        3159 => ConnectError::Refused("the database demands TLS: put ?ssl-mode=REQUIRED into its URL"),
        1251 | 2059 => ConnectError::Refused("the database demands an authentication method that is not supported"),
        _ => ConnectError::Unreachable,
    }
}

/// PostgreSQL's SQLSTATE, SQLite's result code.
fn why_code(code: &str) -> ConnectError {
    match code {
        "28000" | "28P01" => ConnectError::Refused("the database refuses the user or the password"),
        "3D000" => ConnectError::Refused("the server has no database of that name"),
        "14" => ConnectError::Refused("the SQLite file cannot be opened or made"),
        "26" => ConnectError::Refused("the file is no SQLite database"),
        _ => ConnectError::Unreachable,
    }
}
