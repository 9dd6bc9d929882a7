//! `identity bench` against the real service, on SQLite: every scenario through every API.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "shared/certificates.rs"]
mod certificates;
#[path = "shared/running_service.rs"]
mod running_service;

use std::process::{Command, Output};

use certificates::{Authority, Files};
use running_service::RunningService;
use serde_json::Value;

const CUSTOMERS: &str = "5000";

/// A service on a database of its own, which holds [`CUSTOMERS`].
struct Service {
    folder: tempfile::TempDir,
    running: RunningService,
}

impl Service {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("identity.db").display());
        let seeded = identity(&["--database-url", &url, "bench", "seed", "--contacts", CUSTOMERS]).await;
        assert!(seeded.status.success(), "{seeded:?}");
        let running = RunningService::start(&url, flags).await.unwrap();
        assert_eq!(running.metrics, None, "nobody asked for metrics");
        Self { folder, running }
    }

    /// What a short run reports.
    async fn run(&self, arguments: &[&str]) -> Value {
        let (grpc, http) = (self.running.grpc.to_string(), self.running.http.to_string());
        let common = ["--grpc-addr", &grpc, "--http-addr", &http, "bench", "run", "--customers", CUSTOMERS];
        let time = ["--duration", "1s", "--warmup", "200ms", "--callers", "8", "--format", "json"];
        let mut output = identity(&[&common[..], &time, arguments].concat()).await;
        // A disk that writes for others can take a second for one commit.
        for _ in 0..5 {
            if output.status.success() || !String::from_utf8_lossy(&output.stderr).contains("sent no answer") {
                break;
            }
            output = identity(&[&common[..], &time, arguments].concat()).await;
        }
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&report["errors"], &report["unsent"]), (&serde_json::json!({}), &0.into()), "{report}");
        report
    }
}

async fn identity(arguments: &[&str]) -> Output {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_identity"));
    command.env_clear().env("LOG_FORMAT", "text").args(arguments);
    let run = move || command.output();
    tokio::task::spawn_blocking(run).await.unwrap().unwrap()
}

/// How many percent of the answers had this outcome.
fn percent(report: &Value, outcome: &str) -> f64 {
    let answers = report["answers"].as_f64().unwrap();
    report["outcomes"][outcome].as_f64().unwrap_or_default() * 100.0 / answers
}

/// With 100 to 10,000 answers, a share is off by a few percent.
const TOLERANCE: f64 = 12.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_has_its_outcomes_through_every_api() {
    let service = Service::start().await;
    for (api, per_call) in [("grpc", "1"), ("json", "1"), ("batch", "20"), ("stream", "1"), ("stream", "5")] {
        for (scenario, shares) in [
            ("known", &[("matched", 100.0)][..]),
            ("new", &[("created", 100.0)]),
            ("mixed", &[("matched", 70.0), ("linked", 20.0), ("created", 10.0)]),
            ("merge", &[("matched", 50.0), ("merged", 50.0)]),
            ("hot", &[("matched", 84.0), ("linked", 11.0), ("created", 5.0)]),
        ] {
            let report = service.run(&["--scenario", scenario, "--api", api, "--per-call", per_call]).await;
            assert!(report["answers"].as_u64().unwrap() > 0);
            let all: f64 = shares.iter().map(|(outcome, _)| percent(&report, outcome)).sum();
            assert!((all - 100.0).abs() < 0.01, "{scenario} over {api} has other outcomes too: {report}");
            for (outcome, share) in shares {
                let found = percent(&report, outcome);
                assert!((found - share).abs() < TOLERANCE, "{scenario} over {api}: {found} % {outcome}: {report}");
            }
        }
    }
    service.running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_ups_and_explanations_are_measured() {
    let service = Service::start().await;
    let report = service.run(&["--scenario", "known", "--api", "look-up"]).await;
    assert!((percent(&report, "matched") - 100.0).abs() < 0.01, "{report}");
    let grpc = service.running.grpc.to_string();
    let own = ["--grpc-addr", &grpc, "--http-addr", &grpc];
    let flags = ["bench", "explain", "--contacts", "250", "--duration", "300ms", "--format", "json"];
    let output = identity(&[&own[..], &flags].concat()).await;
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report["answers"].as_u64().unwrap() > 0 && report["errors"] == serde_json::json!({}), "{report}");
    let output = identity(&[&own[..], &["bench", "run", "--api", "look-up", "--scenario", "new"]].concat()).await;
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(line.starts_with("identity: --api look-up works only") && line.lines().count() == 1, "{line}");
    service.running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_for_single_requests_refuses_more_in_one_call() {
    let output = identity(&["bench", "run", "--api", "json", "--per-call", "2"]).await;
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(line.starts_with("identity: --per-call") && line.lines().count() == 1, "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_keeps_its_rate() {
    let service = Service::start().await;
    let report = service.run(&["--scenario", "known", "--rate", "50"]).await;
    assert_eq!(report["answers"], 50, "as many as were due in a second: {report}");
    let latency = |name: &str| report["latency_us"][name].as_f64().unwrap();
    assert!(latency("p50") > 0.0 && latency("p50") <= latency("p999") && latency("p999") <= latency("max"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_fsync_are_measured_alike() {
    let service = Service::start().await;
    let report = service.run(&["--scenario", "health", "--threads", "2"]).await;
    assert!(report["answers_per_s"].as_f64().unwrap() > 0.0);
    let folder = service.folder.path().to_str().unwrap();
    let output = identity(&["bench", "fsync", "--folder", folder, "--duration", "100ms", "--format", "json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report["answers"].as_u64().unwrap() > 0);
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("identity.db")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_customers_is_not_seeded() {
    let service = Service::start().await;
    let url = format!("sqlite://{}", service.folder.path().join("identity.db").display());
    let output = identity(&["--database-url", &url, "bench", "seed", "--contacts", "1"]).await;
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(line.starts_with("identity: the database has contacts already") && line.lines().count() == 1, "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_measured_with_a_client_certificate_and_a_token() {
    let (authority, clients, files) = (Authority::new(), Authority::new(), Files::new());
    let [cert, key] = files.write_certificate("server", &authority.issue_local());
    let [client, client_key] = files.write_certificate("client", &clients.issue(&["unknown.example"]));
    let (ca, client_ca) = (files.write("ca.pem", &authority.pem), files.write("clients.pem", &clients.pem));
    let callers = files.path("callers.toml");
    let callers = ["--tokens-file", text(&callers)];
    let made = identity(&[&["token", "new", "bench", "--scope", "identify"][..], &callers].concat()).await;
    assert!(made.status.success(), "{made:?}");
    let token = files.write("token", &String::from_utf8(made.stdout).unwrap());
    let tls = ["--tls-cert", text(&cert), "--tls-key", text(&key), "--tls-client-ca", text(&client_ca)];
    let service = Service::start_with(&[&tls[..], &callers].concat()).await;
    let flags = ["--ca", text(&ca), "--client-cert", text(&client), "--client-key", text(&client_key)];
    for api in ["grpc", "json", "batch", "stream"] {
        let report = service.run(&[&["--api", api, "--token-file", text(&token)][..], &flags].concat()).await;
        assert!(report["answers"].as_u64().unwrap() > 0, "{api}");
    }
    // It sends a token, so another certificate than that in the file is refused.
    let [other, _] = files.write_certificate("other", &authority.issue_local());
    let grpc = service.running.grpc.to_string();
    let own = ["--grpc-addr", &grpc, "--tls-cert", text(&other), "bench", "run", "--token-file", text(&token)];
    let output = identity(&[&own[..], &flags[2..]].concat()).await;
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && line.contains("certificate"), "{line}");
    service.running.stop().await.unwrap();
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}
