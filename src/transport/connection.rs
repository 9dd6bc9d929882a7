//! What the streams of one connection share.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What the streams of one connection share. The listener puts it into the extensions of each request that opens a
/// stream.
#[derive(Clone, Debug)]
pub struct ConnectionStreams {
    /// Cancelled when the connection has reached its maximum age and its streams must end.
    pub end: CancellationToken,
    /// One permit for each health or reflection stream that the connection may have open.
    pub probes: Arc<Semaphore>,
}

impl ConnectionStreams {
    /// Resolves when the streams of the connection with these request extensions must end; never if it has no limit.
    pub(crate) async fn ended(streams: Option<Self>) {
        match streams {
            Some(streams) => streams.end.cancelled_owned().await,
            None => std::future::pending().await,
        }
    }
}
