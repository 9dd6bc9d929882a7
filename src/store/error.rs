//! Why a statement or a transaction failed.

use std::time::Duration;

/// Why a statement or a transaction failed, by what can be done about it.
///
/// It is for logs. Callers of the service learn the consequence alone.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another transaction won: a deadlock, a serialization failure, a lock timeout. Start over.
    #[error("lost a race: {0}")]
    LostRace(Cause),
    /// Another transaction inserted the same key, or an orphan holds it. Start over.
    #[error("duplicate key: {0}")]
    DuplicateKey(Cause),
    /// The database gave a new row an automatic id that another row has: its counter is behind the table.
    #[error("the automatic id of a new row is taken: {0}")]
    IdTaken(Cause),
    /// The database cannot be reached, or cannot write now. Whether a commit under way took place is unknown.
    #[error("unavailable: {0}")]
    Unavailable(Cause),
    /// No answer within the time that one statement may take.
    #[error("unavailable: no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// No answer within the time that one statement may take, from a database that answers others. The statement is
    /// slow because of its data, so another attempt does not help.
    #[error("the database answers others, but not this statement within {} ms", .0.as_millis())]
    TooSlow(Duration),
    /// The database refuses the statement. Another attempt does not help.
    #[error("rejected: {0}")]
    Rejected(Cause),
}

/// A database's error code. Never its text: that can quote the value of a key, which is personal data.
#[derive(Debug, PartialEq, Eq)]
pub struct Cause {
    text: String,
    connections: ConnectionState,
}

/// What an error says about the connections of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// Nothing: the error is about the statement.
    Healthy,
    /// This connection is gone or stuck, and others may be.
    Suspect,
    /// Their prepared statements are of no use any more.
    Outdated,
    /// They lead to a server that takes no writes, or that has another role than before. Their reads may be stale.
    Unusable,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cause {
    /// A cause with this name, which must not quote stored values.
    pub fn new(text: impl Into<String>) -> Self {
        Self::with_state(ConnectionState::Healthy, text)
    }

    pub(super) fn with_state(connections: ConnectionState, text: impl Into<String>) -> Self {
        Self { text: text.into(), connections }
    }
}

impl StoreError {
    /// Returns whether the database is out of reach. Otherwise it answered with an error.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut(_))
    }

    /// The error of a statement that inserts rows whose only key is their automatic id.
    pub(super) fn of_automatic_id(self) -> Self {
        if let Self::DuplicateKey(cause) = self { Self::IdTaken(cause) } else { self }
    }

    /// The server takes no writes: it is a replica, or becomes one.
    pub(super) fn read_only() -> Self {
        Self::Unavailable(Cause::with_state(ConnectionState::Unusable, "read-only"))
    }

    /// The server is one of several primaries now, or the only one. Its connections are set up for the other case.
    pub(super) fn another_role() -> Self {
        Self::Unavailable(Cause::with_state(ConnectionState::Unusable, "another role"))
    }

    /// There is no connection, or no longer.
    pub(super) fn no_connection(reason: &str) -> Self {
        Self::Unavailable(Cause::with_state(ConnectionState::Suspect, reason))
    }

    /// What the error says about the connections of the pool.
    pub(super) fn connections(&self) -> ConnectionState {
        match self {
            Self::TimedOut(_) => ConnectionState::Suspect,
            Self::TooSlow(_) => ConnectionState::Healthy,
            Self::LostRace(cause)
            | Self::DuplicateKey(cause)
            | Self::IdTaken(cause)
            | Self::Unavailable(cause)
            | Self::Rejected(cause) => cause.connections,
        }
    }
}
