//! The collector: one that is dead, the variables that name it, and addresses that are wrong.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{has_call, new_trace, traceparent};
use crate::certificates::{Authority, Files};
use crate::harness::{Api, Backend, Collector, Event, Process, Proxy, Service, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Sqlite]):
        a_dead_collector_costs_spans_and_nothing_else,
        a_dead_connection_to_the_collector_is_replaced,
    );
    register!(suite.plain():
        a_silent_collector_delays_the_end_by_a_second_at_most,
        the_standard_variables_count,
        a_wrong_endpoint_stops_the_start,
    );
}

async fn a_dead_collector_costs_spans_and_nothing_else(database: TestDatabase) {
    // One refuses connections, and one takes them and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let refusing = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let [silent_url, refusing_url] =
        [&silent, &refusing].map(|listener| format!("http://{}", listener.local_addr().expect("bound")));
    drop(refusing);
    for (url, reason) in [(refusing_url, "export"), (silent_url, "queue")] {
        let flags = ["--otlp-endpoint", &url, "--trace-sample-ratio", "1", "--metrics-addr", "127.0.0.1:0"];
        let service = Service::start_with(&database.url, &flags).await;
        let (caller, metrics) = (service.caller(), service.metrics.expect("asked for"));
        let events: Vec<_> = (0..4).map(|number| Event::of(&format!("{number}@hillvalley.edu"), "")).collect();
        let begun = Instant::now();
        loop {
            // Beyond what the queue holds: no call waits for a collector.
            for event in &events {
                caller.identify(Api::Grpc, event.email.as_deref(), None).await.expect("an answer");
            }
            let page = reqwest::get(format!("http://{metrics}/metrics")).await.expect("a scrape");
            let page = page.text().await.expect("text");
            let series = format!(r#"identity_spans_dropped_total{{reason="{reason}"}} "#);
            let dropped = page.lines().find_map(|line| line.strip_prefix(&series)).expect("the series");
            if dropped != "0" {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{reason}");
        }
        // Without its limit, the end would wait for the time-out of the exporter: 10 s.
        let begun = Instant::now();
        service.stop().await;
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
}

/// Calls a process whose spans go to this collector. Returns how long the process then takes to end, and its log.
async fn end_of_process(collector: Option<&str>) -> (Duration, String) {
    let mut variables = vec![("DATABASE_URL", "sqlite::memory:"), ("TRACE_SAMPLE_RATIO", "1")];
    variables.extend(collector.map(|url| ("OTLP_ENDPOINT", url)));
    let mut process = Process::start(&variables).await;
    for api in Api::BOTH {
        process.caller().identify(api, Some("doc@hillvalley.edu"), None).await.expect("an answer");
    }
    let begun = Instant::now();
    process.signal("-TERM");
    assert!(process.end().await.success(), "{}", process.log());
    (begun.elapsed(), process.log_at_its_end())
}

async fn a_silent_collector_delays_the_end_by_a_second_at_most() {
    /// For `kill`, for the pause between two looks at the process, and for other work of the machine. The fastest of
    /// several runs counts, so a run that the machine held up proves nothing.
    const NOISE: Duration = Duration::from_millis(500);
    const LOST: &str = "the last spans could not be exported in time";
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("bound"));
    let taken = tokio::spawn(async move {
        let mut connections = Vec::new();
        loop {
            connections.push(silent.accept().await.expect("a connection"));
        }
    });
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (took, log) = end_of_process(None).await;
        assert!(!log.contains(LOST), "{log}");
        without.push(took);
        let (took, log) = end_of_process(Some(&url)).await;
        assert!(log.contains(LOST), "its end had no spans to wait for: {log}");
        with.push(took);
    }
    taken.abort();
    let fastest = |runs: &[Duration]| *runs.iter().min().expect("a run");
    assert!(fastest(&with) <= fastest(&without) + Duration::from_secs(1) + NOISE, "{with:?} {without:?}");
}

/// Nobody closes it, and nothing arrives: a machine that lost its power, a firewall that forgot it.
async fn a_dead_connection_to_the_collector_is_replaced(database: TestDatabase) {
    let collector = Collector::start().await;
    let proxy = Proxy::start(&collector.url()).await;
    let flags = ["--otlp-endpoint", &proxy.url, "--trace-sample-ratio", "1"];
    let service = Service::start_with(&database.url, &flags).await;
    service.caller().identify(Api::Http, Some("doc@hillvalley.edu"), None).await.expect("an answer");
    let before = collector.until(|spans| !spans.is_empty()).await.len();
    proxy.swallow();
    let begun = Instant::now();
    while collector.spans().len() == before {
        service.caller().identify(Api::Http, Some("doc@hillvalley.edu"), None).await.expect("an answer");
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "no message arrives any more");
    }
    service.stop().await;
}

/// Of the environment of a process.
async fn the_standard_variables_count() {
    let (authority, files) = (Authority::new(), Files::new());
    let certificate = authority.issue_local();
    let collector = Collector::start_with_tls(&certificate.pem, &certificate.key).await;
    let ca = files.write("ca.pem", &authority.pem);
    let url = format!("https://localhost:{}", collector.address.port());
    let mut process = Process::start(&[
        ("DATABASE_URL", "sqlite::memory:"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &url),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.to_str().expect("UTF-8")),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "shop-identity"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=one"),
        ("TRACE_SAMPLE_RATIO", "0"),
    ])
    .await;
    let (trace, logged) = (new_trace(), new_trace());
    for (trace, flags) in [(&trace, "01"), (&logged, "00")] {
        let call = reqwest::Client::new().post(format!("http://{}/identify", process.http));
        let call = call.header("traceparent", traceparent(trace, flags)).body(r#"{"email":"doc@hillvalley.edu"}"#);
        assert_eq!(call.send().await.expect("an answer").status(), 200);
    }
    process.caller().identify(Api::Http, Some("doc@hillvalley.edu"), None).await.expect("an answer");
    collector.until(|spans| has_call(spans, &trace)).await;
    assert_eq!(collector.header("authorization").as_deref(), Some("Bearer x"));
    assert_eq!(collector.header("grpc-encoding").as_deref(), Some("gzip"));
    let resource = collector.resource();
    for (name, value) in [
        ("service.name", "shop-identity"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", "one"),
        ("deployment.environment.name", "test"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert_eq!(resource.get(name).map(String::as_str), Some(value), "{resource:?}");
    }
    process.signal("-TERM");
    assert!(process.end().await.success());
    let log = process.log_at_its_end();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let ids: Vec<_> = lines.filter(|line| line["message"] == "call").map(|line| line["trace_id"].clone()).collect();
    assert_eq!(ids, [json!(trace), json!(logged), Value::Null], "also of a trace that is not sampled");
}

async fn a_wrong_endpoint_stops_the_start() {
    for (variables, line) in [
        (&[("OTLP_ENDPOINT", "collector:4317")][..], "identity: OTLP_ENDPOINT (environment): must be a URL such as"),
        (
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")],
            "identity: OTEL_EXPORTER_OTLP_ENDPOINT (environment): must be a URL such as",
        ),
        (
            &[("OTLP_ENDPOINT", "https://localhost:1"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere.pem")],
            "identity: OTEL_EXPORTER_OTLP_CERTIFICATE (environment): cannot read /nowhere.pem: ",
        ),
        (
            &[("OTLP_ENDPOINT", "https://localhost:1"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/dev/null")],
            "identity: OTEL_EXPORTER_OTLP_CERTIFICATE (environment): /dev/null must be a PEM file with a certificate",
        ),
    ] {
        let variables = variables.iter().copied().chain([("DATABASE_URL", "sqlite::memory:"), ("LOG_FORMAT", "text")]);
        let done = crate::harness::binary().envs(variables).output().expect("the binary runs");
        let log = String::from_utf8(done.stderr).expect("UTF-8");
        assert_eq!((done.status.code(), log.starts_with(line), log.lines().count()), (Some(2), true, 1), "{log}");
    }
}
