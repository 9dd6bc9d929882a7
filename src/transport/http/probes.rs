//! `/healthz` and `/readyz`.

use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::errors::{JSON, error_response};
use crate::transport::errors::ApiError;
use crate::transport::readiness::Readiness;
use crate::transport::routes::{Route, RouteTable};

/// Adds `GET /healthz` (the process runs) and `GET /readyz` (the database was reachable when it was checked last, and
/// the service is not shutting down).
///
/// They have no RPC, because gRPC has its own health protocol.
pub(super) fn add(routes: RouteTable, readiness: Readiness) -> RouteTable {
    let RouteTable { mut router, mut routes } = routes;
    router = router.route("/healthz", get(async || ok())).route(
        "/readyz",
        get(async move || if readiness.is_ready() { ok() } else { error_response(&ApiError::NotReady) }),
    );
    for path in ["/healthz", "/readyz"] {
        let route = Route { rpc_method: None, http_route: Some(path.to_owned()), is_probe: true, is_stream: false };
        routes.insert(path.to_owned(), route);
    }
    RouteTable { router, routes }
}

fn ok() -> Response {
    ([JSON], r#"{"status":"ok"}"#).into_response()
}
