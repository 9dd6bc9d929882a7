use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::errors::{JSON, reply};
use crate::transport::{ApiError, Readiness, Route, RouteTable};

/// Adds `GET /healthz` (alive: the process runs) and `GET /readyz` (it can take calls: the database is
/// reachable, and it is not shutting down).
///
/// They have no RPC: gRPC has its own health protocol.
pub(super) fn add(routes: RouteTable, readiness: Readiness) -> RouteTable {
    let RouteTable { mut router, mut routes } = routes;
    router = router
        .route("/healthz", get(async || ok()))
        .route("/readyz", get(async move || if readiness.is_ready() { ok() } else { reply(&ApiError::NotReady) }));
    for path in ["/healthz", "/readyz"] {
        let route = Route { rpc_method: None, http_route: Some(path.to_owned()), is_probe: true };
        routes.insert(path.to_owned(), route);
    }
    RouteTable { router, routes }
}

fn ok() -> Response {
    ([JSON], r#"{"status":"ok"}"#).into_response()
}
