//! What a service must have counted after every kind of call.

use std::time::{Duration, Instant};

use prost_reflect::DescriptorPool;
use serde_json::Value;

use super::scrape;
use crate::harness::Service;

/// Scrapes until every call is counted. HTTP drops an answer, which counts it, a moment after the caller has it.
/// Returns that page.
pub(super) async fn until_all_are_counted(service: &Service, token: &str) -> String {
    let metrics = service.metrics.expect("asked for");
    let description = reqwest::get(format!("http://{}/openapi.json", service.http)).await.expect("an answer");
    let description: Value = description.json().await.expect("JSON");
    let begun = Instant::now();
    loop {
        let page = scrape(metrics, Some(token)).await;
        let missing = uncounted(&page, &description);
        if missing.is_empty() {
            return page;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{missing:#?} in {page}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What should be counted and is not: a success of each RPC and of each path, and each refusal.
fn uncounted(page: &str, description: &Value) -> Vec<String> {
    let count = |series: &str| page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
    let mut missing = Vec::new();
    let mut expect = |series: String, least: f64| {
        if count(&series).is_none_or(|found| found < least) {
            missing.push(series);
        }
    };
    let handled = |kind: &str, rpc: &str, code: &str| {
        let (service, method) = rpc.split_once('/').expect("an RPC");
        let labels = [("type", kind), ("service", service), ("method", method), ("code", code)];
        let labels = labels.map(|(name, value)| format!(r#"grpc_{name}="{value}""#)).join(",");
        format!("grpc_server_handled_total{{{labels}}}")
    };
    let pool = DescriptorPool::decode(identity::proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let kind = if method.is_client_streaming() { "bidi_stream" } else { "unary" };
        expect(handled(kind, &format!("{}/{}", method.parent_service().full_name(), method.name()), "OK"), 1.0);
    }
    for (kind, rpc, code, least) in [
        ("bidi_stream", "grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "OK", 1.0),
        ("bidi_stream", "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "OK", 1.0),
        ("unary", "grpc.health.v1.Health/Check", "OK", 1.0),
        ("server_stream", "grpc.health.v1.Health/Watch", "Canceled", 1.0),
        ("unary", "unknown/unknown", "Unimplemented", 1.0),
        ("unary", "identity.v1.IdentityService/Identify", "InvalidArgument", 1.0),
        ("unary", "identity.v1.IdentityService/Identify", "Unauthenticated", 2.0),
        ("unary", "identity.v1.IdentityService/Identify", "PermissionDenied", 1.0),
        ("unary", "identity.v1.GraphService/GetIdentity", "Unauthenticated", 2.0),
        ("unary", "identity.v1.GraphService/GetIdentity", "PermissionDenied", 1.0),
    ] {
        expect(handled(kind, rpc, code), least);
    }
    let labels = |method: &str, route: &str, status: u16| {
        let labels = [("request_method", method), ("route", route), ("response_status_code", &status.to_string())];
        labels.map(|(name, value)| format!(r#"http_{name}="{value}""#)).join(",")
    };
    for (method, route, status) in [
        ("GET", "/docs", 304),
        ("GET", "/graph", 304),
        ("GET", "/openapi.json", 304),
        ("GET", "unknown", 404),
        ("GET", "/v1/{name=identities/*}", 404),
        ("GET", "/v1/{name=identities/*}", 401),
        ("GET", "/v1/{name=identities/*}", 403),
        ("GET", "/v1/{name=identities/*}", 429),
        ("POST", "/identify", 400),
        ("POST", "/identify", 415),
        ("POST", "/identify", 401),
        ("POST", "/identify", 403),
        ("DELETE", "/identify", 405),
        ("POST", "/v1/identities:lookup", 400),
        ("POST", "/v1/identities:lookup", 415),
    ] {
        expect(format!("http_server_request_duration_seconds_count{{{}}}", labels(method, route, status)), 1.0);
    }
    for (metric, label, least) in [
        ("identity_items_total", r#"api="grpc",result="ok""#, 26.0),
        ("identity_items_total", r#"api="http",result="invalid""#, 1.0),
        ("identity_shed_total", r#"reason="rate""#, 1.0),
        ("identity_auth_failures_total", r#"reason="missing""#, 4.0),
        ("identity_auth_failures_total", r#"reason="unknown_token""#, 4.0),
        ("identity_auth_failures_total", r#"reason="scope""#, 4.0),
        ("identity_caller_requests_total", r#"caller="checkout",code="OK""#, 25.0),
        ("identity_caller_requests_total", r#"caller="scraper",code="PermissionDenied""#, 4.0),
        ("identity_caller_requests_total", r#"caller="hasty",code="ResourceExhausted""#, 1.0),
    ] {
        expect(format!("{metric}{{{label}}}"), least);
    }

    // Each path of the description, with a variable as `*`.
    let successes = page.lines().filter_map(|line| {
        let (_, route) =
            line.strip_prefix("http_server_request_duration_seconds_count{")?.split_once(r#"http_route=""#)?;
        let (route, status) = route.split_once(r#"",http_response_status_code=""#)?;
        status.starts_with("200").then(|| plain(route))
    });
    let successes: Vec<String> = successes.collect();
    let paths = description["paths"].as_object().expect("paths").keys().map(|path| plain(path));
    // `/health` counts as `/healthz`.
    missing.extend(paths.filter(|path| path != "/health" && !successes.contains(path)));
    missing
}

/// A path with `*` for a variable, also for one that has a pattern of its own: `{name=identities/*}`.
fn plain(path: &str) -> String {
    let mut parts = path.split('{');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').expect("a variable");
        plain.push_str(variable.split_once('=').map_or("*", |(_, pattern)| pattern));
        plain.push_str(rest);
    }
    plain
}
