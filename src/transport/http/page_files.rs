//! The pages for people, `/docs` and `/graph`: what their files have in common.

use axum::extract::Request;
use axum::routing::get;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderName, HeaderValue};

use super::static_file::StaticFile;
use crate::transport::routes::{Route, RouteTable};

pub(super) const HTML: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
pub(super) const CSS: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
pub(super) const TEXT: (HeaderName, HeaderValue) =
    (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
pub(super) const SCRIPT: (HeaderName, HeaderValue) =
    (CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));

/// Scripts, styles and calls of this origin alone, no script in a page itself, and no other page around it. The images
/// are in the styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds the files of a page. Everybody may read them.
pub(super) fn add_files(routes: &mut RouteTable, files: impl IntoIterator<Item = (&'static str, StaticFile)>) {
    for (path, file) in files {
        let file = file.with(CONTENT_SECURITY_POLICY, POLICY).with(REFERRER_POLICY, "no-referrer");
        let route = Route { http_route: Some(path.to_owned()), is_public: true, ..Route::default() };
        let handler = async move |request: Request| file.response(request.headers()).await;
        routes.add(path, get(handler), &route);
    }
}
