//! `/graph`: a page that shows a customer as a graph: its contacts, its evidence, its history.
//!
//! It calls `GraphService` by its JSON routes, with the token of the reader. The drawing is by Cytoscape.js, of
//! `third_party/cytoscape`. The page and its files come from the service alone.

use super::page_files::{CSS, HTML, SCRIPT, TEXT, add_files};
use super::static_file::StaticFile;
use crate::transport::routes::RouteTable;

const LIBRARY: &[u8] = include_bytes!("../../../../third_party/cytoscape/cytoscape.esm.min.mjs.gz");
const LICENCE: &str = include_str!("../../../../third_party/cytoscape/LICENSE");

/// Adds the page and its files. Everybody may read them: a browser has no token before the page asks for one.
pub(super) fn add(routes: &mut RouteTable) {
    add_files(
        routes,
        [
            ("/graph", StaticFile::new(HTML, include_str!("page.html"))),
            ("/graph/page.css", StaticFile::new(CSS, include_str!("page.css"))),
            ("/graph/page.js", StaticFile::new(SCRIPT, include_str!("page.js"))),
            ("/graph/api.js", StaticFile::new(SCRIPT, include_str!("api.js"))),
            ("/graph/dom.js", StaticFile::new(SCRIPT, include_str!("dom.js"))),
            ("/graph/inspector.js", StaticFile::new(SCRIPT, include_str!("inspector.js"))),
            ("/graph/layout.js", StaticFile::new(SCRIPT, include_str!("layout.js"))),
            ("/graph/model.js", StaticFile::new(SCRIPT, include_str!("model.js"))),
            ("/graph/explanation.js", StaticFile::new(SCRIPT, include_str!("explanation.js"))),
            ("/graph/view.js", StaticFile::new(SCRIPT, include_str!("view.js"))),
            ("/graph/cytoscape.esm.min.mjs", StaticFile::compressed(SCRIPT, LIBRARY)),
            ("/graph/cytoscape.LICENSE.txt", StaticFile::new(TEXT, LICENCE)),
        ],
    );
}
