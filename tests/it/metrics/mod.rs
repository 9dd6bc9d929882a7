//! The metrics of a real service, and what is made of them: `deploy/prometheus`, `deploy/grafana`.

mod calls;
mod counted;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use identity::metrics::Metrics;
use serde_json::Value;

use self::calls::UsedService;
use crate::harness::{Api, Backend, Process, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): every_kind_of_call_is_in_a_scrape);
    register!(suite.on(&[Backend::Sqlite]): rules_and_dashboards_name_metrics_of_a_scrape);
    register!(suite.plain(): lost_lines_and_the_process_are_measured);
    register!(suite.plain_with(has_promtool): promtool_accepts_a_scrape, promtool_accepts_the_rules);
}

fn has_promtool() -> Result<(), String> {
    let runs = Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    runs.map(drop).map_err(|_| "promtool is not installed: `scripts/servers install prometheus`".to_owned())
}

/// Scrapes, with a token if there is one.
async fn scrape(metrics: SocketAddr, token: Option<&str>) -> String {
    let mut call = reqwest::Client::new().get(format!("http://{metrics}/metrics"));
    if let Some(token) = token {
        call = call.bearer_auth(token);
    }
    let answer = call.send().await.expect("a scrape");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("text")
}

fn value(page: &str, series: &str) -> f64 {
    let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    found.unwrap_or_else(|| panic!("no {series} in {page}"))
}

/// Scrapes until a series has at least this value.
async fn reaches(metrics: SocketAddr, series: &str, least: f64) {
    let begun = Instant::now();
    loop {
        let page = scrape(metrics, None).await;
        if value(&page, series) >= least {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{series} stays {}", value(&page, series));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn every_kind_of_call_is_in_a_scrape(database: TestDatabase) {
    let used = UsedService::start(&database).await;
    let page = &used.page;
    let outcome = |outcome: &str| value(page, &format!(r#"identity_outcomes_total{{outcome="{outcome}"}}"#));
    assert_eq!(["created", "linked", "merged"].map(outcome), [2.0 + 10.0, 1.0, 1.0]);
    assert_eq!(outcome("matched"), 1.0 + 1.0 + 10.0 + 10.0);
    let committed = value(page, r#"identity_transactions_total{result="committed"}"#);
    assert!((5.0..=14.0).contains(&committed), "{committed}");
    assert_eq!(value(page, r#"identity_batch_size_sum{lane="write"}"#), 14.0, "the merge, the link and 12 new");
    assert_eq!(value(page, r#"identity_batch_size_count{lane="write"}"#), committed);
    assert!(value(page, r#"identity_batch_size_sum{lane="batch"}"#) >= 10.0);
    assert!(value(page, r#"identity_queue_wait_seconds_count{lane="read"}"#) >= 6.0);
    assert_eq!(value(page, "identity_database_up"), 1.0);
    assert_eq!(value(page, "identity_queue_depth"), 0.0);

    let system = match database.backend {
        Backend::Postgres => "postgresql",
        Backend::Sqlite | Backend::Mariadb | Backend::Mysql => database.backend.name(),
    };
    let count = |operation: &str| {
        let labels = format!(r#"db_system_name="{system}",db_operation_name="{operation}""#);
        value(page, &format!("db_client_operation_duration_seconds_count{{{labels}}}"))
    };
    assert!(
        count("look_up") + count("compare_versions") >= 6.0 && count("write") >= 5.0 && count("ping") >= 1.0,
        "{page}"
    );
    assert_eq!((count("commit"), count("begin") >= committed), (committed, true));
    let connections =
        ["used", "idle"].map(|state| value(page, &format!(r#"db_client_connections{{state="{state}"}}"#)));
    assert!((1.0..=16.0).contains(&connections.iter().sum()), "{connections:?}");

    for info in Metrics::on().catalogue() {
        assert!(page.contains(&format!("# TYPE {} {}\n", info.name, info.kind)), "{info:?}");
    }
    for private in &used.private {
        assert!(!page.contains(private), "{private} in {page}");
    }
    used.service.stop().await;
}

async fn lost_lines_and_the_process_are_measured() {
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").expect("/dev/full"));
    // Below the ports that the system gives to clients, which would take it meanwhile.
    let ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_000));
    let free = |port: u16| std::net::TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok();
    let metrics = ports.take(100).find_map(free).expect("a free port");
    let address = metrics.to_string();
    let variables = [("DATABASE_URL", "sqlite::memory:"), ("METRICS_ADDR", address.as_str())];
    let process = Process::start_with_log_to(full, &variables).await;
    process.caller().identify(Api::Http, Some("a@x.de"), None).await.expect("an answer");
    reaches(metrics, "identity_log_lines_dropped_total", 1.0).await;
    let page = scrape(metrics, None).await;
    assert_eq!(value(&page, "identity_panics_total"), 0.0);
    assert!(value(&page, "process_open_fds") > 5.0 && value(&page, "process_resident_memory_bytes") > 1e6, "{page}");
    assert_eq!(value(&page, &format!(r#"identity_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"))), 1.0);
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The names of metrics in an expression: its words that begin like those of the service, and no label.
fn names(expression: &str) -> BTreeSet<String> {
    let begins = ["grpc_server_", "http_server_", "identity_", "db_client_", "process_"];
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let is_name = |word: &&str| !word.contains(':') && begins.iter().any(|begin| word.starts_with(begin));
    words.filter(is_name).map(str::to_owned).collect()
}

/// The expressions of the rules, which stand behind `expr:` on one line.
fn rule_expressions(yaml: &str) -> Vec<String> {
    yaml.lines().filter_map(|line| Some(line.trim().strip_prefix("expr: ")?.to_owned())).collect()
}

/// The expressions of a dashboard: all values of the key `expr`.
fn dashboard_expressions(json: &Value, found: &mut Vec<String>) {
    match json {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| dashboard_expressions(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| dashboard_expressions(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn rules_and_dashboards_name_metrics_of_a_scrape(database: TestDatabase) {
    let rules = rule_expressions(&std::fs::read_to_string(file("deploy/prometheus/rules.yaml")).expect("the rules"));
    assert!(rules.len() > 10, "{rules:#?}");
    let dashboard = std::fs::read_to_string(file("deploy/grafana/identity.json")).expect("the dashboard");
    let mut panels = Vec::new();
    dashboard_expressions(&serde_json::from_str(&dashboard).expect("JSON"), &mut panels);
    assert!(panels.len() > 10, "{panels:#?}");

    let UsedService { service, page, .. } = UsedService::start(&database).await;
    service.stop().await;
    let series: BTreeSet<&str> =
        page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(['{', ' ']).next()).collect();
    let yaml = std::fs::read_to_string(file("deploy/prometheus/rules.yaml")).expect("the rules");
    let recorded: BTreeSet<&str> = yaml.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    for expression in rules.iter().chain(&panels) {
        let named = names(expression);
        let used = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        let used: Vec<&str> = used.filter(|word| word.contains(':')).collect();
        assert!(used.iter().all(|name| recorded.contains(name)), "no rule records one of {used:?}");
        let missing: Vec<_> = named.iter().filter(|name| !series.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?} is in no scrape: {expression}");
    }
    let shown: BTreeSet<String> = panels.iter().flat_map(|expression| names(expression)).collect();
    for expression in &rules {
        let missing: Vec<_> = names(expression).difference(&shown).cloned().collect();
        assert!(missing.is_empty(), "no panel of the dashboard shows {missing:?}: {expression}");
    }
    assert!(rules.iter().chain(&panels).filter(|expression| !names(expression).is_empty()).count() > 20);
}

fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("");
    assert!(done.status.success(), "{arguments:?}: {said}");
    // Lints of `check metrics` are lines, too.
    assert!(arguments != ["check", "metrics"] || said.trim().is_empty(), "{said}");
}

async fn promtool_accepts_a_scrape() {
    let database = TestDatabase::create(Backend::Sqlite).await;
    let UsedService { service, page, .. } = UsedService::start(&database).await;
    promtool(&["check", "metrics"], &page);
    service.stop().await;
    database.drop().await;
}

async fn promtool_accepts_the_rules() {
    for (check, path) in [("check", "rules.yaml"), ("test", "rules_test.yaml")] {
        promtool(&[check, "rules", file("deploy/prometheus").join(path).to_str().expect("UTF-8")], "");
    }
}
