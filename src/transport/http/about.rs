//! `/` and `/openapi.yaml`: what the service is, and the description of its JSON API.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::errors::JSON;
use super::gzip;
use crate::transport::routes::{Route, RouteTable};

/// The body of `GET /`.
const ABOUT: &str =
    concat!(r#"{"name":"identity","version":""#, env!("CARGO_PKG_VERSION"), r#"","documentation":"/openapi.yaml"}"#);

/// The description of this version, so that it needs no web site.
const OPENAPI: &str = include_str!("../../../docs/openapi.yaml");

/// Adds `GET /` (name, version and where the documentation is) and `GET /openapi.yaml`.
pub(super) fn add(routes: &mut RouteTable) {
    let route = |path: &str, is_probe| Route { http_route: Some(path.to_owned()), is_probe, ..Route::default() };
    // Some load balancers ask for `/` every few seconds.
    routes.add("/", get(async || ([JSON], ABOUT)), &route("/", true));
    routes.add("/openapi.yaml", get(openapi), &route("/openapi.yaml", false));
}

async fn openapi(request: Request) -> Response {
    let yaml = (CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    gzip::negotiate(gzip::is_accepted(request.headers()), async { ([yaml], OPENAPI).into_response() }).await
}
