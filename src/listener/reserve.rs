//! Connections beyond the limits, for health checks only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::transport::peer::PeerAddr;

/// A few connections beyond the limits. On them only health is answered, so that a full port does not look like a dead
/// process to a load balancer or an orchestrator.
///
/// When all are taken, a new connection replaces the oldest of the peer that has most. So silent connections cannot
/// fill the reserve, a health check that asks at once gets its answer, and a peer that connects again and again
/// replaces its own connections alone.
#[derive(Clone, Debug)]
pub(super) struct Reserve {
    /// The oldest first.
    open: Arc<Mutex<VecDeque<(PeerAddr, CancellationToken)>>>,
    limit: usize,
}

impl Reserve {
    pub(super) fn new(limit: usize) -> Self {
        Self { open: Arc::default(), limit: limit.max(1) }
    }

    /// Takes a connection of a peer into the reserve.
    pub(super) fn enter(&self, peer: PeerAddr) -> ReservePlace {
        let replaced = CancellationToken::new();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended leave first.
        open.retain(|(_, place)| !place.is_cancelled());
        open.push_back((peer, replaced.clone()));
        while open.len() > self.limit {
            let count = |peer| open.iter().filter(|(other, _)| *other == peer).count();
            // The last of the maxima, so the oldest.
            let most = (0..open.len()).rev().max_by_key(|&place| count(open[place].0));
            if let Some((_, place)) = most.and_then(|place| open.remove(place)) {
                place.cancel();
            }
        }
        ReservePlace { replaced }
    }
}

/// The place of one connection in the reserve.
#[derive(Debug)]
pub(super) struct ReservePlace {
    replaced: CancellationToken,
}

impl ReservePlace {
    /// Resolves when a newer connection needs the place.
    pub(super) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }
}

impl Drop for ReservePlace {
    fn drop(&mut self) {
        self.replaced.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(host: u8) -> PeerAddr {
        PeerAddr::new([192, 0, 2, host].into())
    }

    #[test]
    fn the_newest_replaces_the_oldest() {
        let reserve = Reserve::new(2);
        for peers in [[1, 1, 1, 1], [1, 2, 3, 4]] {
            let [one, two, three, four] = peers.map(peer);
            let (one, two) = (reserve.enter(one), reserve.enter(two));
            drop(two);
            let three = reserve.enter(three);
            assert!(!one.replaced.is_cancelled());
            let _four = reserve.enter(four);
            assert!(one.replaced.is_cancelled() && !three.replaced.is_cancelled());
        }
    }

    #[test]
    fn a_peer_that_connects_again_and_again_replaces_its_own() {
        let reserve = Reserve::new(4);
        let probe = reserve.enter(peer(1));
        let churn: Vec<_> = (0..100).map(|_| reserve.enter(peer(2))).collect();
        assert!(!probe.replaced.is_cancelled());
        let late = reserve.enter(peer(3));
        assert!(!probe.replaced.is_cancelled() && !late.replaced.is_cancelled());
        assert_eq!(churn.iter().filter(|place| !place.replaced.is_cancelled()).count(), 2);
    }
}
