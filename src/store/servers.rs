//! The servers that can have the database.

use secrecy::SecretString;

use super::connect_error::ConnectError;
use super::connector::{Connected, Connector, MissingFile};
use crate::settings;

/// The servers that can have the database, in order of preference.
#[derive(Debug)]
pub(super) struct Servers {
    connectors: Vec<Connector>,
}

impl Servers {
    pub(super) fn new(settings: &settings::DatabaseSettings, missing_file: MissingFile) -> Self {
        let connector =
            |url: &SecretString| Connector::new(url.clone(), settings.connections, settings.timeout, missing_file);
        Self { connectors: settings.servers.iter().map(connector).collect() }
    }

    /// Whether connections that do not work can be replaced by new ones. An SQLite database is in this process, and one
    /// in memory would be gone with its connection.
    pub(super) fn are_remote(&self) -> bool {
        !self.connectors.iter().any(Connector::is_sqlite)
    }

    /// Connects to the first server that takes writes, from this position of the list on, then from its start. Returns
    /// the server's position too.
    pub(super) async fn connect(&self, from: usize) -> Result<(usize, Connected), ConnectError> {
        let count = self.connectors.len();
        let mut errors = vec![ConnectError::Unreachable; count];
        for position in (from..from + count).map(|position| position % count) {
            match Box::pin(self.connectors[position].connect()).await {
                Ok(connected) => return Ok((position, connected)),
                Err(error) => errors[position] = error,
            }
        }
        match <[ConnectError; 1]>::try_from(errors) {
            Ok([only]) => Err(only),
            Err(errors) => Err(ConnectError::NoneOf(errors)),
        }
    }
}
