//! Connections beyond the limits, for health checks only.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// A few connections beyond the limits. On them only health is answered, so that a full port does not look like a dead
/// process to a load balancer or an orchestrator.
///
/// When all are taken, a new connection replaces the oldest. So silent connections cannot fill the reserve, and a
/// health check that asks at once gets its answer.
#[derive(Clone, Debug)]
pub(super) struct Reserve {
    open: Arc<Mutex<VecDeque<CancellationToken>>>,
    limit: usize,
}

impl Reserve {
    pub(super) fn new(limit: usize) -> Self {
        Self { open: Arc::default(), limit: limit.max(1) }
    }

    /// Takes a connection into the reserve.
    pub(super) fn enter(&self) -> ReservePlace {
        let replaced = CancellationToken::new();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended leave first.
        open.retain(|place| !place.is_cancelled());
        while open.len() >= self.limit {
            open.pop_front().inspect(CancellationToken::cancel);
        }
        open.push_back(replaced.clone());
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

    #[test]
    fn the_newest_replaces_the_oldest() {
        let reserve = Reserve::new(2);
        let (one, two) = (reserve.enter(), reserve.enter());
        drop(two);
        let three = reserve.enter();
        assert!(!one.replaced.is_cancelled());
        let _four = reserve.enter();
        assert!(one.replaced.is_cancelled() && !three.replaced.is_cancelled());
    }
}
