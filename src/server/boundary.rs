use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use futures::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;
use tower::ServiceExt;

use super::call_log::CallLog;
use super::open_call::OpenCall;
use super::options::ServerOptions;
use crate::api::{AskedDeadline, Deadline, Fault, OpenTally, RequestId, Route, Surface, Timeouts, asked};
use crate::resolver::IdentifyError;
use crate::{grpc, http as json};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Grpc,
    Http,
}

impl Door {
    /// Its name in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }

    fn reply(self, fault: &Fault) -> Response<Body> {
        match self {
            Self::Grpc => grpc::reply(fault),
            Self::Http => json::reply(fault),
        }
    }
}

/// What happens to every call of a door, whatever it asks: it gets an id, a deadline and a place among
/// those under way, a panic of its handler becomes INTERNAL, and it is logged once. A stream keeps its
/// place, but not the deadline, once it is open.
pub(super) struct Boundary {
    door: Door,
    router: Router,
    routes: HashMap<String, Arc<Route>>,
    timeouts: Timeouts,
    body_limit: usize,
    places: Arc<Semaphore>,
}

impl Boundary {
    pub(super) fn new(door: Door, surface: Surface, options: &ServerOptions) -> Self {
        let Surface { router, routes } = surface;
        let routes = routes.into_iter().map(|(path, route)| (path, Arc::new(route))).collect();
        let places = Arc::new(Semaphore::new(options.max_calls.min(Semaphore::MAX_PERMITS)));
        Self { door, router, routes, timeouts: options.timeouts, body_limit: options.body_limit, places }
    }

    pub(super) fn door(&self) -> Door {
        self.door
    }

    /// Answers a call. Dropped (since the caller went away), it drops the work.
    pub(super) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let id = RequestId::of(request.headers());
        let route = self.routes.get(request.uri().path()).cloned();
        let mut log = CallLog::begin(self.door, route, id.clone(), started);
        let limit = grpc::message_limit(request.uri().path(), self.body_limit);
        let (mut response, place) = match self.answer(request, started, &id).await {
            Ok((response, place)) => (response, Some(place)),
            Err(fault) => (self.door.reply(&fault), None),
        };
        if self.door == Door::Grpc
            && let Some(fault) = grpc::restate(response.headers(), limit)
        {
            response = grpc::reply(&fault);
        }
        response.headers_mut().insert(RequestId::HEADER, id.to_header());
        if response.extensions().get::<OpenTally>().is_some() {
            return OpenCall::watch(response, log, place);
        }
        log.end(&response);
        response
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        started: Instant,
        id: &RequestId,
    ) -> Result<(Response<Body>, OwnedSemaphorePermit), Fault> {
        let deadline = self.timeouts.deadline(request.headers(), started)?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| IdentifyError::Overloaded)?;
        request.extensions_mut().insert(Deadline(deadline));
        if let Some(asked) = asked(request.headers())? {
            request.extensions_mut().insert(AskedDeadline(started + asked));
        }

        let handled = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        match timeout_at(deadline.into(), handled).await {
            Ok(Ok(Ok(response))) => Ok((response, place)),
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_)) => {
                // Not the panic's message: it may quote what the caller sent.
                tracing::error!(request.id = id.as_str(), "the handler of a call panicked");
                Err(IdentifyError::Internal.into())
            }
            Err(_) => Err(IdentifyError::DeadlineExceeded.into()),
        }
    }
}
