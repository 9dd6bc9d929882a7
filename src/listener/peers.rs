//! How many connections or calls each peer has.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the connections of each address, or the calls of each caller, up to a limit.
#[derive(Clone, Debug)]
pub(super) struct Peers<K> {
    open: Arc<Mutex<HashMap<K, usize>>>,
    limit: usize,
}

/// The part of all places that one peer may have: it leaves a quarter for the others.
pub(super) fn limit_of_one_peer(all: usize) -> usize {
    all - all / 4
}

impl<K: Copy + Eq + Hash> Peers<K> {
    pub(super) fn new(limit: usize) -> Self {
        Self { open: Arc::default(), limit }
    }

    /// Counts one more of a peer for as long as the guard lives; `None` if the peer has as many as it may have.
    pub(super) fn enter(&self, peer: K) -> Option<PeerGuard<K>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer).or_default();
        // A peer that has none is below every limit, so no entry of zero is left behind.
        if *count >= self.limit.max(1) {
            return None;
        }
        *count += 1;
        Some(PeerGuard { peers: self.clone(), peer })
    }
}

/// One connection or call of a peer.
#[derive(Debug)]
pub(super) struct PeerGuard<K: Copy + Eq + Hash> {
    peers: Peers<K>,
    peer: K,
}

impl<K: Copy + Eq + Hash> Drop for PeerGuard<K> {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::peer::PeerAddr;

    #[test]
    fn each_peer_has_its_own_limit_and_no_trace_stays() {
        let peers = Peers::new(2);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| PeerAddr::new(address.parse().unwrap()));
        let guards = [peers.enter(one).unwrap(), peers.enter(one).unwrap(), peers.enter(other).unwrap()];
        assert!(peers.enter(one).is_none());
        assert!(peers.enter(other).is_some());
        drop(guards);
        assert!(peers.open.lock().unwrap().is_empty());
    }
}
