//! Limits that have no setting.

use std::time::Duration;

/// Limits that have no setting. The defaults are what the service runs with; tests use shorter times.
#[derive(Clone, Copy, Debug)]
pub struct FixedLimits {
    /// How long the body of a JSON request may take to arrive; then the answer is 408. (A gRPC call has its deadline
    /// alone.)
    pub body_timeout: Duration,
    /// Maximum calls under way on each API, three quarters of them of one peer; more are refused with
    /// RESOURCE_EXHAUSTED. Times the body limit, it bounds the memory that requests take, as they were sent.
    pub max_calls: usize,
    /// Maximum answers under way with a document that everybody may read, as the page `/docs`. They are apart from
    /// calls, because they need no token.
    pub max_documents: usize,
    /// Bytes of answers that may wait to be sent. Above it, peers that take nothing are given up after a second, and
    /// calls are refused: first on connections that hold much of it, at twice as many bytes on all.
    pub unsent_bytes: usize,
    /// Bytes of decompressed requests that are not parsed yet, of both APIs together. Compressed requests wait a moment
    /// for room, and are then refused with RESOURCE_EXHAUSTED. At least the largest request has room.
    pub decompressed_bytes: usize,
    /// Maximum health and reflection streams that are open at once.
    pub probe_streams: usize,
    /// What is read of the bodies of refused calls, and thrown away.
    pub unread: UnreadLimits,
    /// Connections of each API beyond the limits, on which only health is answered.
    pub reserve: usize,
    /// How often the files of certificates are compared with what is in force.
    pub reload_every: Duration,
    /// The limits of a single connection.
    pub connection: ConnectionLimits,
}

/// What is read of the bodies of refused calls, and thrown away. The streams of other bodies are reset.
#[derive(Clone, Copy, Debug)]
pub struct UnreadLimits {
    /// Bodies that may still have to come, for each API and caller. All callers that authentication refuses are one.
    pub bodies: usize,
    /// Maximum bytes of each, if the call may send as many. It is the largest batch, unless `HTTP_BODY_LIMIT` is
    /// raised.
    pub bytes: usize,
    /// How long each may take to come.
    pub time: Duration,
}

/// The limits of a single connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long the header of an HTTP/1 request may take, from its first byte. On the gRPC port: how long a new client
    /// may take until it has sent the preface and the SETTINGS of HTTP/2.
    pub head: Duration,
    /// How long a connection may be idle, in either direction, before it is closed. It is not idle while an answer is
    /// read.
    ///
    /// It is longer than the 60 s after which common load balancers close an idle connection. So the load balancer
    /// closes first, and no request meets a connection that was just closed here. It is at least twice the longest
    /// call.
    pub idle: Duration,
    /// How often HTTP/2 clients are pinged. Their replies keep a quiet connection from being idle.
    pub ping_every: Duration,
    /// How long the reply to a ping may take.
    pub ping_timeout: Duration,
    /// Maximum health and reflection streams that one connection has open.
    pub probe_streams: usize,
    /// How long a connection without calls may stay open after the service sent it the request to close.
    pub close_grace: Duration,
    /// How long the streams of a connection go on after `MAX_CONNECTION_AGE`.
    pub age_grace: Duration,
}

impl Default for FixedLimits {
    fn default() -> Self {
        Self {
            body_timeout: Duration::from_secs(5),
            max_calls: 16_384,
            max_documents: 64,
            unsent_bytes: 64 * 1024 * 1024,
            decompressed_bytes: 64 * 1024 * 1024,
            probe_streams: 1_000,
            unread: UnreadLimits::default(),
            reserve: 16,
            reload_every: Duration::from_secs(2),
            connection: ConnectionLimits::default(),
        }
    }
}

impl Default for UnreadLimits {
    fn default() -> Self {
        Self { bodies: 256, bytes: 1024 * 1024, time: Duration::from_secs(1) }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            ping_every: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            probe_streams: 16,
            close_grace: Duration::from_secs(1),
            age_grace: Duration::from_secs(10),
        }
    }
}
