//! `/docs`: a page on which a person reads about the JSON API and tries a call.
//!
//! It is Swagger UI, of `third_party/swagger-ui`, with `/openapi.json`. The page and its files come from the service
//! alone, and its policy lets it load nothing else.

use axum::extract::Request;
use axum::routing::get;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use http::{HeaderName, HeaderValue};

use crate::transport::http::static_file::StaticFile;
use crate::transport::routes::{Route, RouteTable};

const HTML: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
const CSS: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
const TEXT: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
const SCRIPT: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));

/// Scripts, styles and calls of this origin alone, no script in the page itself, and no other page around it. The
/// images are in the styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("page.html");
const START: &str = include_str!("start.js");
const BUNDLE: &[u8] = include_bytes!("../../../../third_party/swagger-ui/swagger-ui-bundle.js.gz");
/// The bundle names this file.
const LICENCES: &str = include_str!("../../../../third_party/swagger-ui/swagger-ui-bundle.js.LICENSE.txt");
const STYLES: &[u8] = include_bytes!("../../../../third_party/swagger-ui/swagger-ui.css.gz");

/// Adds the page and its files. Everybody may read them: a browser has no token before the page asks for one.
pub(super) fn add(routes: &mut RouteTable) {
    let files = [
        ("/docs", StaticFile::new(HTML, PAGE)),
        ("/docs/start.js", StaticFile::new(SCRIPT, START)),
        ("/docs/swagger-ui-bundle.js", StaticFile::compressed(SCRIPT, BUNDLE)),
        ("/docs/swagger-ui-bundle.js.LICENSE.txt", StaticFile::new(TEXT, LICENCES)),
        ("/docs/swagger-ui.css", StaticFile::compressed(CSS, STYLES)),
    ];
    for (path, file) in files {
        let file = file.with(CONTENT_SECURITY_POLICY, POLICY).with(REFERRER_POLICY, "no-referrer");
        let route = Route { http_route: Some(path.to_owned()), is_public: true, ..Route::default() };
        let handler = async move |request: Request| file.response(request.headers()).await;
        routes.add(path, get(handler), &route);
    }
}
