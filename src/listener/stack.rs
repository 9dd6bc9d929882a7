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

use super::access_log::AccessLog;
use super::fixed_limits::FixedLimits;
use super::streaming_body::StreamingBody;
use crate::resolver::IdentifyError;
use crate::settings::LimitSettings;
use crate::transport::{ApiError, Deadlines, OpenTally, RequestId, Route, RouteTable};
use crate::transport::{grpc, http as json};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Grpc,
    Http,
}

impl Api {
    /// Its name in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }

    fn reply(self, fault: &ApiError) -> Response<Body> {
        match self {
            Self::Grpc => grpc::reply(fault),
            Self::Http => json::reply(fault),
        }
    }
}

/// What happens to every call of a api, whatever it asks: it gets an id, a deadline and a place among
/// those under way, a panic of its handler becomes INTERNAL, and it is logged once. A stream keeps its
/// place, but not the deadline, once it is open.
pub(super) struct RequestStack {
    api: Api,
    router: Router,
    routes: HashMap<String, Arc<Route>>,
    limits: LimitSettings,
    places: Arc<Semaphore>,
}

impl RequestStack {
    pub(super) fn new(api: Api, routes: RouteTable, limits: LimitSettings, fixed: FixedLimits) -> Self {
        let RouteTable { router, routes } = routes;
        let routes = routes.into_iter().map(|(path, route)| (path, Arc::new(route))).collect();
        let places = Arc::new(Semaphore::new(fixed.max_calls.min(Semaphore::MAX_PERMITS)));
        Self { api, router, routes, limits, places }
    }

    pub(super) fn api(&self) -> Api {
        self.api
    }

    /// Answers a call. Dropped (since the caller went away), it drops the work.
    pub(super) async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let id = RequestId::of(request.headers());
        let route = self.routes.get(request.uri().path()).cloned();
        let mut log = AccessLog::begin(self.api, route, id.clone(), started);
        let limit = grpc::message_limit(request.uri().path(), self.limits.http_body_limit);
        let (mut response, place) = match self.answer(request, started, &id).await {
            Ok((response, place)) => (response, Some(place)),
            Err(fault) => (self.api.reply(&fault), None),
        };
        if self.api == Api::Grpc
            && let Some(fault) = grpc::restate(response.headers(), limit)
        {
            response = grpc::reply(&fault);
        }
        response.headers_mut().insert(RequestId::HEADER, id.to_header());
        if response.extensions().get::<OpenTally>().is_some() {
            return StreamingBody::watch(response, log, place);
        }
        log.end(&response);
        response
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        started: Instant,
        id: &RequestId,
    ) -> Result<(Response<Body>, OwnedSemaphorePermit), ApiError> {
        let deadlines = Deadlines::from_headers(request.headers(), started, self.limits.request_timeout)?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| IdentifyError::Overloaded)?;
        request.extensions_mut().insert(deadlines);

        let handled = AssertUnwindSafe(self.router.clone().oneshot(request)).catch_unwind();
        match timeout_at(deadlines.call.into(), handled).await {
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
