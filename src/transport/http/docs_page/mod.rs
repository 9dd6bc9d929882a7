//! `/docs`: a page on which a person reads about the JSON API and tries a call.
//!
//! It is Swagger UI, of `third_party/swagger-ui`, with `/openapi.json`. The page and its files come from the service
//! alone, and its policy lets it load nothing else.

use super::page_files::{CSS, HTML, SCRIPT, TEXT, add_files};
use super::static_file::StaticFile;
use crate::transport::routes::RouteTable;

const PAGE: &str = include_str!("page.html");
const START: &str = include_str!("start.js");
const BUNDLE: &[u8] = include_bytes!("../../../../third_party/swagger-ui/swagger-ui-bundle.js.gz");
/// The bundle names this file.
const LICENCES: &str = include_str!("../../../../third_party/swagger-ui/swagger-ui-bundle.js.LICENSE.txt");
const STYLES: &[u8] = include_bytes!("../../../../third_party/swagger-ui/swagger-ui.css.gz");

/// Adds the page and its files. Everybody may read them: a browser has no token before the page asks for one.
pub(super) fn add(routes: &mut RouteTable) {
    add_files(
        routes,
        [
            ("/docs", StaticFile::new(HTML, PAGE)),
            ("/docs/start.js", StaticFile::new(SCRIPT, START)),
            ("/docs/swagger-ui-bundle.js", StaticFile::compressed(SCRIPT, BUNDLE)),
            ("/docs/swagger-ui-bundle.js.LICENSE.txt", StaticFile::new(TEXT, LICENCES)),
            ("/docs/swagger-ui.css", StaticFile::compressed(CSS, STYLES)),
        ],
    );
}
