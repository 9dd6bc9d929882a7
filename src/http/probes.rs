use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::reply::{JSON, reply};
use crate::api::{Fault, Readiness, Route, Surface};

/// Adds `GET /healthz` (alive: the process runs) and `GET /readyz` (it can take calls: the database is
/// reachable, and it is not shutting down).
///
/// They have no RPC: gRPC has its own health protocol.
pub(super) fn add(surface: Surface, readiness: Readiness) -> Surface {
    let Surface { mut router, mut routes } = surface;
    router = router
        .route("/healthz", get(async || ok()))
        .route("/readyz", get(async move || if readiness.is_ready() { ok() } else { reply(&Fault::NotReady) }));
    for path in ["/healthz", "/readyz"] {
        let route = Route { rpc_method: None, http_route: Some(path.to_owned()), is_probe: true };
        routes.insert(path.to_owned(), route);
    }
    Surface { router, routes }
}

fn ok() -> Response {
    ([JSON], r#"{"status":"ok"}"#).into_response()
}
