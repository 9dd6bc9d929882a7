//! A bound on the calls under way.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

use super::admitted::{ResponseFuture, call_if_admitted};
use crate::listener::call::Call;
use crate::listener::outgoing::Outgoing;
use crate::listener::peers::{PeerGuard, Peers, limit_of_one_peer};
use crate::metrics::{ShedReason, WorkMetrics};
use crate::resolver::{Caller, IdentifyError};
use crate::transport::errors::ApiError;
use crate::transport::peer::caller;

/// Gives each call a place among those under way, and refuses what has none with RESOURCE_EXHAUSTED. A call keeps its
/// place until its answer is sent. One caller cannot take all places: a stream that sends nothing keeps its own. Calls
/// are refused, too, while answers that wait to be sent take too much memory.
///
/// The documents that everybody may read have places of their own, and their answers take no memory: strangers cannot
/// take the places of callers. Health needs no place: its streams have a limit of their own, and a full service has to
/// say that it lives. On a connection of the reserve only health is answered.
#[derive(Clone)]
pub(crate) struct CallLimit<S> {
    inner: S,
    calls: Places,
    documents: Places,
    work: WorkMetrics,
}

/// Places of calls, three quarters of them for one caller.
#[derive(Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    peers: Peers<Caller>,
}

impl Places {
    pub(crate) fn new(all: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            peers: Peers::new(limit_of_one_peer(all)),
        }
    }

    /// Takes a place; `None` if there is none for the caller.
    fn take(&self, caller: Caller) -> Option<(OwnedSemaphorePermit, PeerGuard<Caller>)> {
        let of_peer = self.peers.enter(caller)?;
        let place = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some((place, of_peer))
    }
}

impl<S> CallLimit<S> {
    /// `documents`: the places of the documents that everybody may read.
    pub(crate) fn new(inner: S, calls: Places, documents: Places, work: WorkMetrics) -> Self {
        Self { inner, calls, documents, work }
    }

    /// Gives the call its place.
    fn admit<B>(&self, request: &Request<B>) -> Result<(), ApiError> {
        let extensions = request.extensions();
        let route = extensions.get().and_then(|call: &Call| call.route.as_ref());
        if route.is_some_and(|route| route.is_probe) {
            return Ok(());
        }
        let outgoing: &Arc<Outgoing> = extensions.get().ok_or(IdentifyError::Internal)?;
        if outgoing.connection.is_reserve {
            return Err(self.shed(ShedReason::Connections, ApiError::ConnectionsFull));
        }
        let places = if route.is_some_and(|route| route.is_public) {
            outgoing.set_shared();
            &self.documents
        } else if outgoing.connection.has_room_for_call() {
            &self.calls
        } else {
            return Err(self.shed(ShedReason::Memory, IdentifyError::Overloaded));
        };
        let taken = places.take(caller(extensions));
        let (place, of_peer) = taken.ok_or_else(|| self.shed(ShedReason::Calls, IdentifyError::Overloaded))?;
        outgoing.keep(place, of_peer);
        Ok(())
    }

    /// Counts a refusal, and returns its error.
    fn shed(&self, reason: ShedReason, error: impl Into<ApiError>) -> ApiError {
        self.work.count_shed(reason, 1);
        error.into()
    }
}

impl<S, B, R> Service<Request<B>> for CallLimit<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = ApiError>,
{
    type Response = Response<R>;
    type Error = ApiError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ApiError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        call_if_admitted(self.admit(&request), &mut self.inner, request)
    }
}
