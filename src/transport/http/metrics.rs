//! The metrics port: `/metrics`, and health, so that a port that is busy or guarded need not be probed.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};

use super::errors::error_response;
use super::{gzip, probes};
use crate::metrics::{Metrics, ScrapeFormat};
use crate::transport::errors::ApiError;
use crate::transport::readiness::Readiness;
use crate::transport::routes::RouteTable;

/// The content type of OpenMetrics, without its parameters.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// Returns the paths of the metrics port.
pub fn metrics_routes(metrics: Metrics, readiness: Readiness) -> axum::Router {
    let mut table = RouteTable::default();
    probes::add(&mut table, readiness);
    let scrape = async move |request: Request| {
        let format = accepted_format(request.headers());
        let is_gzip_accepted = gzip::is_accepted(request.headers());
        gzip::negotiate(is_gzip_accepted, async { page(&metrics, format) }).await
    };
    let router = table.router.route("/metrics", get(scrape));
    router
        .fallback(async || error_response(&ApiError::UnknownPath))
        .method_not_allowed_fallback(async || error_response(&ApiError::WrongHttpMethod))
}

fn page(metrics: &Metrics, format: ScrapeFormat) -> Response {
    let headers =
        [(CONTENT_TYPE, HeaderValue::from_static(format.content_type())), (VARY, HeaderValue::from_static("accept"))];
    (headers, metrics.scrape(format)).into_response()
}

/// OpenMetrics for those who prefer it, as Prometheus does; the older text format for the others.
fn accepted_format(headers: &HeaderMap) -> ScrapeFormat {
    let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
    for value in headers.get_all(ACCEPT) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            if name.eq_ignore_ascii_case(OPEN_METRICS) {
                open_metrics = open_metrics.max(quality);
            } else if ["text/plain", "text/*", "*/*"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
                text = text.max(quality);
            }
        }
    }
    if open_metrics > 0.0 && open_metrics >= text { ScrapeFormat::OpenMetrics } else { ScrapeFormat::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_scraper_prefers() {
        let of_prometheus = "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;\
             version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.25,*/*;q=0.1";
        for (accepted, format) in [
            ("", ScrapeFormat::Text),
            ("*/*", ScrapeFormat::Text),
            ("text/html", ScrapeFormat::Text),
            ("application/openmetrics-text", ScrapeFormat::OpenMetrics),
            ("application/openmetrics-text;q=0", ScrapeFormat::Text),
            ("text/plain, application/openmetrics-text;q=0.5", ScrapeFormat::Text),
            (of_prometheus, ScrapeFormat::OpenMetrics),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accepted))]);
            assert_eq!(accepted_format(&headers), format, "{accepted}");
        }
    }
}
