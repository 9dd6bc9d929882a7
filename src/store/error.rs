//! Why a statement or a transaction failed.

use std::time::Duration;

use crate::domain::ContactId;
use crate::metrics::FailoverReason;

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
    /// The database ended the statement by a time limit of its own, or an administrator ended it. It answers others.
    #[error("the database ended the statement: {0}")]
    CutShort(Cause),
    /// The statement was to read no large identity with others ([`ExpectedSize::NotLarge`](super::ExpectedSize)), and
    /// met this one. Nothing is wrong: read it alone, and the others without it.
    #[error("one identity has far more contacts than the others")]
    OneIsLarge(ContactId),
    /// The identity has more contacts or more stored sets than a read of its history returns. Nothing is wrong.
    #[error("the history of the identity is too large")]
    HistoryTooLarge,
    /// The database fails the statement, and a value of a request cannot be why. Mostly it fails whatever the request
    /// is. But a table that only some requests write, or a page of an index that only some read, can have the fault.
    #[error("the database has a fault: {0}")]
    Faulty(Cause),
    /// The database refuses the statement, perhaps because of the data of one request. Another attempt does not help.
    #[error("rejected: {0}")]
    Rejected(Cause),
}

/// A database's error code. Never its text: that can quote the value of a key, which is personal data.
#[derive(Debug, PartialEq, Eq)]
pub struct Cause {
    text: String,
    connections: ConnectionState,
    outage: Outage,
    may_be_outdated: bool,
}

/// Why the database cannot be used, in words for operators. They name no host, no user and no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// There is no answer, or no connection.
    #[error("the database does not answer")]
    Unreachable,
    /// It refuses new connections.
    #[error("{0}")]
    Refused(&'static str),
    /// It answers that it cannot carry statements out.
    #[error("the database cannot carry out statements now: a shutdown, a full disk, a limit or a time-out of its own")]
    Failing,
    /// It takes no writes.
    #[error("the database is read-only")]
    ReadOnly,
    /// Its tables are not those of this version.
    #[error("tables of the service are missing or older than this version: run `identity migrate up`")]
    Schema,
    /// The user lacks a right.
    #[error("the database user lacks a right on the tables of the service: SELECT, INSERT, UPDATE and DELETE")]
    Rights,
}

impl Outage {
    /// Returns whether a statement that succeeds shows that the outage is over. Some statements succeed while the
    /// service still cannot write.
    pub fn ends_with_an_answer(self) -> bool {
        match self {
            Self::Unreachable | Self::Refused(_) => true,
            Self::Failing | Self::ReadOnly | Self::Schema | Self::Rights => false,
        }
    }
}

/// What an error says about the connections of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// Nothing: the error is about the statement.
    Healthy,
    /// This connection is gone or stuck, and others may be.
    Suspect,
    /// The server has no room for new ones. Those that there are can be used.
    Full,
    /// New ones are refused. Another server may take them.
    Refused,
    /// Their prepared statements or their rights are of no use any more: MySQL keeps the rights of a session.
    Outdated,
    /// They lead to a server that takes no writes, or that has another role than before. Their reads may be stale.
    Unusable,
}

impl ConnectionState {
    /// Why the connections are replaced, in metrics.
    pub(super) fn failover_reason(self) -> Option<FailoverReason> {
        match self {
            Self::Healthy => None,
            Self::Suspect => Some(FailoverReason::NoAnswer),
            Self::Full => Some(FailoverReason::Full),
            Self::Refused => Some(FailoverReason::Refused),
            Self::Outdated => Some(FailoverReason::Outdated),
            Self::Unusable => Some(FailoverReason::Role),
        }
    }
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
        let outage = match connections {
            ConnectionState::Unusable => Outage::ReadOnly,
            ConnectionState::Healthy
            | ConnectionState::Suspect
            | ConnectionState::Full
            | ConnectionState::Refused
            | ConnectionState::Outdated => Outage::Failing,
        };
        Self { text: text.into(), connections, outage, may_be_outdated: false }
    }

    /// The same with other words for operators.
    #[must_use]
    pub fn because_of(self, outage: Outage) -> Self {
        Self { outage, ..self }
    }

    /// Returns the cause for a statement that was prepared by tables and triggers as they may have been before.
    #[must_use]
    pub fn perhaps_outdated(self) -> Self {
        Self { may_be_outdated: true, ..self }
    }
}

impl StoreError {
    /// Returns whether a commit that failed with this error may have been carried out: its answer did not come, or the
    /// database ended it.
    pub fn leaves_commit_unknown(&self) -> bool {
        self.is_unavailable() || matches!(self, Self::CutShort(_))
    }

    /// Returns whether the statement may have failed by tables and triggers as they were before. Reading from the
    /// tables shows the connection what they are now.
    pub fn may_be_outdated(&self) -> bool {
        matches!(self, Self::Faulty(cause) if cause.may_be_outdated)
    }

    /// Returns the name of its kind, for traces.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::LostRace(_) => "lost_race",
            Self::DuplicateKey(_) => "duplicate_key",
            Self::IdTaken(_) => "id_taken",
            Self::Unavailable(_) => "unavailable",
            Self::TimedOut(_) => "timed_out",
            Self::TooSlow(_) => "too_slow",
            Self::CutShort(_) => "cut_short",
            Self::OneIsLarge(_) => "one_is_large",
            Self::HistoryTooLarge => "history_too_large",
            Self::Faulty(_) => "faulty",
            Self::Rejected(_) => "rejected",
        }
    }

    /// Returns whether the database is out of reach. Otherwise it answered with an error.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut(_))
    }

    /// Returns why the database cannot be used, if the error says that it cannot.
    pub fn outage(&self) -> Outage {
        match self {
            Self::TimedOut(_) => Outage::Unreachable,
            Self::TooSlow(_) | Self::OneIsLarge(_) | Self::HistoryTooLarge => Outage::Failing,
            Self::LostRace(cause)
            | Self::DuplicateKey(cause)
            | Self::IdTaken(cause)
            | Self::Unavailable(cause)
            | Self::CutShort(cause)
            | Self::Faulty(cause)
            | Self::Rejected(cause) => cause.outage,
        }
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
        Self::Unavailable(Cause::with_state(ConnectionState::Suspect, reason).because_of(Outage::Unreachable))
    }

    /// No server can be used, for this reason.
    pub(super) fn no_server(outage: Outage) -> Self {
        Self::Unavailable(Cause::with_state(ConnectionState::Suspect, "no server").because_of(outage))
    }

    /// The schema is not that of this version.
    pub(super) fn outdated_schema() -> Self {
        Self::Unavailable(Cause::new("migrations are missing").because_of(Outage::Schema))
    }

    /// What the error says about the connections of the pool.
    pub(super) fn connections(&self) -> ConnectionState {
        match self {
            Self::TimedOut(_) => ConnectionState::Suspect,
            Self::TooSlow(_) | Self::OneIsLarge(_) | Self::HistoryTooLarge => ConnectionState::Healthy,
            Self::LostRace(cause)
            | Self::DuplicateKey(cause)
            | Self::IdTaken(cause)
            | Self::Unavailable(cause)
            | Self::CutShort(cause)
            | Self::Faulty(cause)
            | Self::Rejected(cause) => cause.connections,
        }
    }
}
