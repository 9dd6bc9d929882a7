//! `/`, `/openapi.yaml` and `/openapi.json`: what the service is, and the description of its JSON API.

use axum::extract::Request;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue};

use super::errors::JSON;
use super::static_file::StaticFile;
use crate::settings::Spelling;
use crate::transport::routes::{Route, RouteTable};

/// The body of `GET /`, with the path of the documentation.
macro_rules! about {
    ($path:literal) => {
        concat!(r#"{"name":"identity","version":""#, env!("CARGO_PKG_VERSION"), r#"","documentation":""#, $path, "\"}")
    };
}

/// The description of this version, so that it needs no web site.
const OPENAPI: &str = include_str!("../../../docs/openapi.yaml");

const YAML: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("application/yaml"));

/// Returns the description of the JSON API as JSON, with the id of the primary as answers spell it.
///
/// The build makes it of `docs/openapi.yaml`.
pub fn openapi_json(spelling: Spelling) -> &'static str {
    match spelling {
        Spelling::Correct => include_str!(concat!(env!("OUT_DIR"), "/openapi_correct.json")),
        Spelling::Legacy => include_str!(concat!(env!("OUT_DIR"), "/openapi_legacy.json")),
        Spelling::Both => include_str!(concat!(env!("OUT_DIR"), "/openapi_both.json")),
    }
}

/// Adds `GET /` (name, version and where the documentation is), `GET /openapi.yaml` and `GET /openapi.json`.
///
/// With `docs`, everybody may read the two documents: the page to try the API reads one before it has a token.
pub(super) fn add(routes: &mut RouteTable, spelling: Spelling, docs: bool) {
    let about = if docs { about!("/docs") } else { about!("/openapi.yaml") };
    // Some load balancers ask for `/` every few seconds.
    let route = Route { http_route: Some("/".to_owned()), is_probe: true, ..Route::default() };
    routes.add("/", get(async move || ([JSON], about)), &route);
    for (path, content_type, text) in
        [("/openapi.yaml", YAML, OPENAPI), ("/openapi.json", JSON, openapi_json(spelling))]
    {
        let document = StaticFile::new(content_type, text);
        let route = Route { http_route: Some(path.to_owned()), is_public: docs, ..Route::default() };
        let handler = async move |request: Request| document.response(request.headers()).await;
        routes.add(path, get(handler), &route);
    }
}
