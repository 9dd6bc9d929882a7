//! The values of labels. Each is an enum, so no label can take values without end.

/// A label whose values are known in advance.
pub(crate) trait Label: Copy + 'static {
    /// The name of the label.
    const NAME: &'static str;

    /// All values.
    const ALL: &'static [Self];

    /// The value as it is scraped.
    fn value(self) -> &'static str;

    /// The position in [`ALL`](Self::ALL).
    fn index(self) -> usize;
}

/// Defines the enum of a label, with the text of each value.
macro_rules! label {
    (
        $(#[$meta:meta])* $name:literal $type:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $value:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $type {
            $( $(#[$variant_meta])* $variant, )+
        }

        impl Label for $type {
            const NAME: &'static str = $name;
            const ALL: &'static [Self] = &[$( Self::$variant, )+];

            fn value(self) -> &'static str {
                match self {
                    $( Self::$variant => $value, )+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// One of the two APIs.
    "api" MeteredApi {
        /// The gRPC API.
        Grpc = "grpc",
        /// The JSON API.
        Http = "http",
    }
}

label! {
    /// How a request to identify ended. Each item of a batch or a stream is one.
    "result" ItemResultKind {
        /// It was answered.
        Ok = "ok",
        /// It failed, and the caller has to change it: a malformed identifier, an identity that is too large.
        Invalid = "invalid",
        /// It failed, and the caller may send it again: overload, an outage, a deadline, a fault of the service.
        Failed = "failed",
    }
}

label! {
    /// What gathers requests.
    "lane" LaneKind {
        /// Read lanes: one look-up statement.
        Read = "read",
        /// Batch lanes: one look-up statement for items of one batch or stream.
        Batch = "batch",
        /// Write lanes: one transaction.
        Write = "write",
        /// Graph lanes: identities by their ids, and lists.
        Graph = "graph",
    }
}

label! {
    /// How a transaction ended.
    "result" TransactionEnd {
        /// It is committed.
        Committed = "committed",
        /// It was rolled back, and its requests start over.
        RolledBack = "rolled_back",
        /// It was rolled back, and its requests got an error.
        Failed = "failed",
        /// The connection broke during the commit, so nobody knows whether it took place.
        Unknown = "unknown",
    }
}

label! {
    /// Why a look-up or a transaction started over.
    "cause" RetryCause {
        /// A deadlock, a serialization failure or a lock timeout.
        LostRace = "lost_race",
        /// Another transaction brought the same identifier first.
        DuplicateKey = "duplicate_key",
        /// An identity had another root than at the look-up.
        RootsChanged = "roots_changed",
        /// With several primaries: only some of the locked rows needed a write.
        PartlyUnchanged = "partly_unchanged",
        /// The connection broke, or there was no answer in time.
        Unavailable = "unavailable",
        /// The database refused it or was too slow, so its requests are tried in parts.
        Split = "split",
    }
}

label! {
    /// Why the service refused work that it might have done.
    "reason" ShedReason {
        /// The queue has no room, or the caller has its share of it.
        Queue = "queue",
        /// The request would have waited for too long.
        Wait = "wait",
        /// Too many calls are under way, of all callers or of this one.
        Calls = "calls",
        /// Answers that callers do not take need too much memory.
        Memory = "memory",
        /// Compressed requests need too much memory.
        Compressed = "compressed",
        /// Too many connections are open, of all callers or of this one.
        Connections = "connections",
        /// Too many health or reflection streams are open.
        Streams = "streams",
        /// The caller has used up the rate that the tokens file gives it.
        Rate = "rate",
    }
}

label! {
    /// What the service asks of the database.
    "db_operation_name" DatabaseOperation {
        /// A look-up outside a transaction.
        LookUp = "look_up",
        /// The rows of roots, which are compared with the copies in memory.
        CompareVersions = "compare_versions",
        /// The ids of a page of a list.
        List = "list",
        /// The begin of a transaction, and its clock.
        Begin = "begin",
        /// The locks of a transaction.
        Lock = "lock",
        /// A look-up under the locks.
        LookUpLocked = "look_up_locked",
        /// The removal of identifiers whose contact is deleted.
        Release = "release",
        /// All inserts and updates of a transaction.
        Write = "write",
        /// The commit.
        Commit = "commit",
        /// The question which rows other clients keep locked.
        LockedByOthers = "locked_by_others",
        /// The question of each second whether the database can be used.
        Ping = "ping",
    }
}

label! {
    /// Why all connections to the database were replaced.
    "reason" FailoverReason {
        /// Statements had no answer or lost their connection.
        NoAnswer = "no_answer",
        /// The server has no room for more connections.
        Full = "full",
        /// The server refuses new connections.
        Refused = "refused",
        /// The rights or the prepared statements of the connections are outdated.
        Outdated = "outdated",
        /// The server takes no writes any more, or has another role.
        Role = "role",
    }
}

label! {
    /// The state of a connection to the database.
    "state" ConnectionUse {
        /// A statement or a transaction uses it.
        Used = "used",
        /// It waits for one.
        Idle = "idle",
    }
}

label! {
    /// Why a span was lost.
    "reason" SpanDrop {
        /// The queue of spans has no room, or the process ends.
        Queue = "queue",
        /// The collector did not take it.
        Export = "export",
        /// It could not be sent in the last second of the process.
        Shutdown = "shutdown",
    }
}

label! {
    /// Why a caller was not let in.
    "reason" AuthFailure {
        /// It gave neither a token nor a certificate.
        Missing = "missing",
        /// Its token is not in the tokens file.
        UnknownToken = "unknown_token",
        /// The name in its certificate is not in the tokens file.
        UnknownCertificate = "unknown_certificate",
        /// It lacks the scope that the call needs.
        Scope = "scope",
        /// The TLS handshake failed.
        Handshake = "handshake",
    }
}

label! {
    /// A file that is read again when it changes.
    "what" ReloadedFile {
        /// The certificate, its key and the authority of clients.
        Certificate = "certificate",
        /// The tokens.
        Tokens = "tokens",
    }
}

label! {
    /// How a reload ended.
    "result" ReloadEnd {
        /// The new content is in force.
        Ok = "ok",
        /// The file cannot be read or is not valid: the old content stays in force.
        Error = "error",
    }
}

label! {
    /// What became of a request to identify.
    "outcome" OutcomeKind {
        /// A new customer.
        Created = "created",
        /// A known customer, nothing new.
        Matched = "matched",
        /// A known customer, with a new identifier.
        Linked = "linked",
        /// Two known customers became one.
        Merged = "merged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Label + PartialEq + std::fmt::Debug>() {
        for (position, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), position);
            assert!(label.value().chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{label:?}");
        }
    }

    #[test]
    fn each_value_has_its_position_and_a_plain_text() {
        check::<ShedReason>();
        check::<DatabaseOperation>();
        check::<RetryCause>();
        check::<AuthFailure>();
    }
}
