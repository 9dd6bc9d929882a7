//! The stack of layers that each request passes.
//!
//! Below it, [`accept`](super::accept) bounds the connections and [`connection`](super::connection) their times. To add
//! a layer: a file in `layers/`, and a line in [`request_stack`] at its place.

use std::sync::Arc;

use tower::ServiceBuilder;
use tower::layer::layer_fn;

use super::api::Api;
use super::connection::RequestService;
use super::endpoint::{Endpoint, Endpoints};
use super::fixed_limits::FixedLimits;
use super::layers::{
    AccessLog, AssignRequestId, Authenticate, BeginTrace, CallLimit, CatchPanic, DeadlineLimit, DrainUnread,
    ErrorResponse, OriginCheck, Places, QueuePlace, RpcMetrics,
};
use super::peers::Peers;
use crate::auth::AccessControl;
use crate::metrics::Metrics;
use crate::resolver::Identify;
use crate::settings::LimitSettings;
use crate::traces::Traces;
use crate::transport::http::OriginRules;
use crate::transport::routes::RouteTable;

/// What every call of an API passes, from top to bottom. Dropping its future drops the work.
///
/// The layers run when the head of a call has arrived, in the task of its connection. The router runs in the task of
/// the call, and a refused call needs none.
#[expect(clippy::too_many_arguments, reason = "the parts of a service come together here")]
pub(super) fn request_stack<R: Identify>(
    api: Api,
    resolver: R,
    RouteTable { router, routes, templates }: RouteTable,
    limits: LimitSettings,
    fixed: FixedLimits,
    origins: Option<OriginRules>,
    access: Option<Arc<AccessControl>>,
    (metrics, traces): (&Metrics, &Traces),
) -> impl RequestService {
    let endpoint = |route| Arc::new(Endpoint::new(api, route, metrics));
    let paths = routes.into_iter().map(|(path, route)| (path, endpoint(route))).collect();
    let routes = Endpoints { paths, templates: templates.map(endpoint) };
    let (routes, unknown, work) = (Arc::new(routes), Endpoint::unknown(api, metrics), metrics.work());
    let unread = Peers::new(fixed.unread.bodies);
    let (calls, documents) = (Places::new(fixed.max_calls), Places::new(fixed.max_documents));
    let traces = traces.clone();
    ServiceBuilder::new()
        // An id for the log and for `x-request-id`.
        .layer(layer_fn(move |inner| AssignRequestId::new(inner, api, Arc::clone(&routes))))
        // The body of a refused call is thrown away.
        .layer(layer_fn(move |inner| DrainUnread::new(inner, fixed.unread, limits.http_body_limit, unread.clone())))
        // The trace of the call, if it is sampled. The log line knows its id, and ends its span.
        .layer(layer_fn(move |inner| BeginTrace::new(inner, traces.clone())))
        // One line for each call; of a stream, at its end. Floods of failures are sampled.
        .layer(layer_fn(move |inner| AccessLog::new(inner, api)))
        // Metrics of each call, its messages and its items.
        .layer(layer_fn(move |inner| RpcMetrics::new(inner, unknown.clone())))
        // Web pages of other sites are refused; those that are allowed may read every answer.
        .layer(layer_fn(move |inner| OriginCheck::new(inner, api, origins.clone())))
        // Errors of the layers below become responses.
        .layer(layer_fn(move |inner| ErrorResponse::new(inner, api, limits.http_body_limit)))
        // Who calls, and whether it may.
        .layer(layer_fn(move |inner| Authenticate::new(inner, access.clone())))
        // The shorter of `grpc-timeout` and `REQUEST_TIMEOUT`.
        .layer(layer_fn(move |inner| DeadlineLimit::new(inner, limits.request_timeout)))
        // A place among the calls under way.
        .layer(layer_fn(move |inner| CallLimit::new(inner, calls.clone(), documents.clone(), work.clone())))
        // A place in the queue, before the body is read.
        .layer(layer_fn(move |inner| QueuePlace::new(inner, resolver.clone())))
        // A panic of a handler is INTERNAL, and ends nothing else.
        .layer(layer_fn(CatchPanic::new))
        .service(router)
}
