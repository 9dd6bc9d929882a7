use std::time::Duration;

use crate::api::Timeouts;
use crate::domain::Region;
use crate::http::Spelling;

/// What the server can be told.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// The most bytes the message or body of a request may have, at either door; of a batch, 16 times as
    /// many.
    pub body_limit: usize,
    /// How long the body of a JSON request may take to arrive; then it is answered with 408. (On the gRPC
    /// door the call's deadline bounds it.)
    pub body_timeout: Duration,
    /// How the first field of a JSON answer is spelled.
    pub spelling: Spelling,
    /// Whose dialling rules complete a phone number that comes without a country code.
    pub region: Option<Region>,
    /// Whether gRPC callers may ask for the API's description.
    pub reflection: bool,
    /// How long calls may take.
    pub timeouts: Timeouts,
    /// How long calls under way may go on after the shutdown began.
    pub drain_timeout: Duration,
    /// The most connections of each door. More wait in the kernel's queue until one closes. Fewer are
    /// taken when the system does not allow the process so many files.
    pub max_connections: usize,
    /// The most calls under way at each door; more are refused with RESOURCE_EXHAUSTED. Times
    /// `body_limit`, it bounds what requests can take of memory.
    pub max_calls: usize,
    /// The most items under way of all streams together; more wait. Below what the resolver takes on, so
    /// that streams, which always have more to send, leave room for single calls.
    pub stream_items: usize,
    /// The limits of a single connection.
    pub connection: ConnectionOptions,
}

/// The limits of a single connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionOptions {
    /// How long the head of an HTTP/1 request may take, from its first byte.
    pub head: Duration,
    /// How long nothing at all may come (or be taken, where there is something to send) before the
    /// connection is closed. Above the 60 s after which common load balancers let an idle connection go,
    /// so that it is they who close it, and never a request that meets a connection just closed here. At
    /// least twice as long as a call may take, whatever is set.
    pub idle: Duration,
    /// How often HTTP/2 clients are pinged. Their replies keep a quiet connection from being idle.
    pub ping_every: Duration,
    /// How long the reply to a ping may take.
    pub ping_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            body_limit: 64 * 1024,
            body_timeout: Duration::from_secs(5),
            spelling: Spelling::default(),
            region: None,
            reflection: true,
            timeouts: Timeouts { default: Duration::from_secs(10), max: Duration::from_secs(30) },
            drain_timeout: Duration::from_secs(20),
            max_connections: 10_000,
            max_calls: 16_384,
            stream_items: 2_048,
            connection: ConnectionOptions::default(),
        }
    }
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            ping_every: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
        }
    }
}
