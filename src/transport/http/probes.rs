//! `/healthz` and `/readyz`.

use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::errors::{JSON, error_response};
use crate::transport::errors::ApiError;
use crate::transport::readiness::Readiness;
use crate::transport::routes::{Route, RouteTable};

/// Adds `GET /healthz`, also as `/health` (the process runs), and `GET /readyz` (the database could be used when it was
/// asked last, and the service is not shutting down; else the reason).
///
/// They have no RPC, because gRPC has its own health protocol.
pub(super) fn add(routes: &mut RouteTable, readiness: Readiness) {
    let route = |path: &str| Route { http_route: Some(path.to_owned()), is_probe: true, ..Route::default() };
    for path in ["/healthz", "/health"] {
        routes.add(path, get(async || ok()), &route("/healthz"));
    }
    let ready = async move || match readiness.outage() {
        _ if readiness.is_shutting_down() => error_response(&ApiError::ShuttingDown),
        Some(outage) => error_response(&ApiError::DatabaseUnusable(outage)),
        None => ok(),
    };
    routes.add("/readyz", get(ready), &route("/readyz"));
}

fn ok() -> Response {
    ([JSON], r#"{"status":"ok"}"#).into_response()
}
