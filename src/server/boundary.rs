use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use futures::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use tower::ServiceExt;

use super::call_log::CallLog;
use super::options::ServerOptions;
use crate::api::{Deadline, Fault, RequestId, Route, Surface, Timeouts};
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
/// those under way, a panic of its handler becomes INTERNAL, and it is logged once.
pub(super) struct Boundary {
    door: Door,
    router: Router,
    routes: HashMap<String, Route>,
    timeouts: Timeouts,
    body_limit: usize,
    places: Semaphore,
}

impl Boundary {
    pub(super) fn new(door: Door, surface: Surface, options: &ServerOptions) -> Self {
        let Surface { router, routes } = surface;
        let places = Semaphore::new(options.max_calls.min(Semaphore::MAX_PERMITS));
        Self { door, router, routes, timeouts: options.timeouts, body_limit: options.body_limit, places }
    }

    pub(super) fn door(&self) -> Door {
        self.door
    }

    /// Answers a call. Dropped (since the caller went away), it drops the work.
    pub(super) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let id = RequestId::of(request.headers());
        let mut log = CallLog::begin(self.door, self.routes.get(request.uri().path()), &id, started);
        let limit = grpc::message_limit(request.uri().path(), self.body_limit);
        let mut response = self.answer(request, started, &id).await.unwrap_or_else(|fault| self.door.reply(&fault));
        if self.door == Door::Grpc
            && let Some(fault) = grpc::restate(response.headers(), limit)
        {
            response = grpc::reply(&fault);
        }
        log.end(&response);
        drop(log);
        response.headers_mut().insert(RequestId::HEADER, id.to_header());
        response
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        started: Instant,
        id: &RequestId,
    ) -> Result<Response<Body>, Fault> {
        let deadline = self.timeouts.deadline(request.headers(), started)?;
        let Ok(_place) = self.places.try_acquire() else { return Err(IdentifyError::Overloaded.into()) };
        request.extensions_mut().insert(Deadline(deadline));

        let handled = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        match timeout_at(deadline.into(), handled).await {
            Ok(Ok(Ok(response))) => Ok(response),
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
