//! The port of metrics and health.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::accept::{Acceptor, ConnectionCaps};
use super::api::Api;
use super::connection::Connections;
use super::fixed_limits::ConnectionLimits;
use super::handshake::Handshakes;
use super::unsent_memory::UnsentMemory;
use crate::metrics::Metrics;
use crate::settings::LimitSettings;

/// Connections of the port: those of a few scrapers and probes, half of them of one peer.
const CAPS: ConnectionCaps = ConnectionCaps { all: 64, per_peer: 32, reserve: 16 };

/// What the port is made of. It speaks without TLS. Its connections have the limits of all others. Its calls pass none
/// of the layers: neither the log nor the metrics count them.
pub(super) struct MetricsPort {
    pub(super) limits: ConnectionLimits,
    pub(super) settings: LimitSettings,
    pub(super) memory: Arc<UnsentMemory>,
}

impl MetricsPort {
    /// Answers until the guard is dropped, which is after the drain: what happens in it is scraped too.
    pub(super) fn open(self, listener: TcpListener, page: axum::Router) -> DropGuard {
        let Self { limits, settings, memory } = self;
        let shutdown = CancellationToken::new();
        let handshakes = Handshakes::new(Api::Http, None, limits.handshake, &Metrics::default());
        let acceptor = Acceptor {
            api: Api::Http,
            served: Connections::new(Api::Http, page, limits, settings, shutdown.clone(), memory, handshakes),
            caps: CAPS,
            tasks: TaskTracker::new(),
            shutdown: shutdown.clone(),
            cut: shutdown.clone(),
            counted: None,
        };
        tokio::spawn(acceptor.run(listener));
        shutdown.drop_guard()
    }
}
