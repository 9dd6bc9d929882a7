//! Why there is no connection.

use super::error::Outage;

/// Why there is no connection, in one line for the operator. Names no host, no user and no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nothing answers there (yet).
    #[error("the database does not answer")]
    Unreachable,
    /// It answers, but is a replica (yet), or is in a read-only mode.
    #[error("the database is read-only")]
    ReadOnly,
    /// It answers, and belongs to a group (Group Replication) that it is not in (yet).
    #[error("the database server has a group_replication_group_name and is not ONLINE in that group")]
    OutsideGroup,
    /// It answers, and is not ready in its Galera cluster (yet): it is cut off from most of it, or has not what it
    /// missed.
    #[error("the database server is not ready in its Galera cluster (wsrep_ready is OFF)")]
    NotReady,
    /// It answers, and has as many connections as it may have. Those that there are can be used.
    #[error("the database server has no connection left for this user")]
    Full,
    /// It answers, and refuses the connection for now.
    #[error("{0}")]
    NotNow(&'static str),
    /// It answers, and refuses the connection. Another attempt does not help.
    #[error("{0}")]
    Refused(&'static str),
    /// None of several servers can be used: the reason of each.
    #[error("no database server can be used: {}", listed(.0))]
    NoneOf(Vec<ConnectError>),
}

impl ConnectError {
    /// There is no SQLite file, and the command makes none.
    pub(super) const NO_FILE: Self =
        Self::Refused("there is no SQLite file at the path in DATABASE_URL, and this command makes none");

    /// Returns whether there is no database yet: no SQLite file.
    pub fn is_of_missing_file(&self) -> bool {
        *self == Self::NO_FILE
    }

    /// Returns whether another attempt does not help.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Unreachable | Self::ReadOnly | Self::OutsideGroup | Self::NotReady | Self::Full | Self::NotNow(_) => {
                false
            }
            Self::Refused(_) => true,
            Self::NoneOf(errors) => errors.iter().all(Self::is_lasting),
        }
    }

    /// Returns whether a server is full. The connections to it that there are can be used.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Full => true,
            Self::NoneOf(errors) => errors.iter().any(Self::is_full),
            Self::Unreachable
            | Self::ReadOnly
            | Self::OutsideGroup
            | Self::NotReady
            | Self::NotNow(_)
            | Self::Refused(_) => false,
        }
    }

    /// Returns why a service that runs already cannot use the database.
    pub fn outage(&self) -> Outage {
        match self {
            Self::Unreachable => Outage::Unreachable,
            Self::ReadOnly => Outage::ReadOnly,
            Self::OutsideGroup => Outage::Refused("the database server is not in its group"),
            Self::NotReady => Outage::Refused("the database server is not ready in its Galera cluster"),
            Self::Full => Outage::Refused("the database server has no connection left for this user"),
            Self::NotNow(reason) | Self::Refused(reason) => Outage::Refused(reason),
            Self::NoneOf(_) => Outage::Refused("no database server can be used"),
        }
    }
}

/// Returns each reason once, with its servers. Servers are named by their position in the list: host names do not
/// belong in logs.
fn listed(errors: &[ConnectError]) -> String {
    let mut reasons: Vec<(&ConnectError, String)> = Vec::new();
    for (error, position) in errors.iter().zip(1..) {
        match reasons.iter_mut().find(|(reason, _)| *reason == error) {
            Some((_, servers)) => *servers = format!("{servers}, {position}"),
            None => reasons.push((error, format!("{position}"))),
        }
    }
    let one = |(error, servers): (_, String)| {
        let noun = if servers.contains(',') { "servers" } else { "server" };
        format!("{error} ({noun} {servers})")
    };
    reasons.into_iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_full_server_of_several_is_full() {
        assert!(ConnectError::NoneOf(vec![ConnectError::ReadOnly, ConnectError::Full]).is_full());
        assert!(!ConnectError::NoneOf(vec![ConnectError::ReadOnly, ConnectError::Unreachable]).is_full());
    }

    #[test]
    fn a_reason_of_several_servers_is_said_once() {
        let refused = ConnectError::Refused("the database refuses the user");
        let all = ConnectError::NoneOf(vec![refused.clone(), ConnectError::Unreachable, refused.clone(), refused]);
        assert_eq!(
            all.to_string(),
            "no database server can be used: the database refuses the user (servers 1, 3, 4); \
             the database does not answer (server 2)"
        );
    }
}
