//! The metrics: all names, labels and buckets, and the handles by which the rest of the service records.
//!
//! Handles are resolved at start and passed down: a call costs a few additions, without a lock, a look-up or a text.
//! Without `--metrics-addr` the handles are empty and do nothing. This module uses none of the parts that record, so
//! each of them may use it.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `labels` | the values of labels; each is an enum, so none can grow without end |
//! | `histogram` | histograms without locks, and all buckets |
//! | `registration` | families, handles and the catalogue that `docs/metrics.md` is compared with |
//! | `rpc` | calls of both APIs |
//! | `work` | queues, lanes, transactions; the database |
//! | `service` | connections, callers, certificates, the log |
//! | `process` | what the operating system says |
//!
//! To add a metric: a field of the families in one of these files, registered there; a method of its handle; the call
//! at the place that knows; and a row in `docs/metrics.md`.

mod histogram;
mod labels;
mod process;
mod registration;
mod rpc;
mod service;
mod work;

use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

pub(crate) use self::labels::Label;
pub use self::labels::{
    AuthFailure, ConnectionUse, DatabaseOperation, FailoverReason, ItemResultKind, LaneKind, MeteredApi, ReloadEnd,
    ReloadedFile, RetryCause, ShedReason, SpanDrop, TransactionEnd,
};
pub use self::registration::MetricInfo;
use self::registration::Registration;
use self::rpc::RpcFamilies;
pub use self::rpc::{GrpcMethod, HttpRoute};
pub use self::service::CallerMetrics;
use self::service::ServiceFamilies;
use self::work::{DatabaseFamilies, WorkFamilies};
pub use self::work::{DatabaseMetrics, OperationTimer, WorkMetrics};

/// All metrics of the process. Clones share them. [`Metrics::default`] records nothing.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Option<Arc<Families>>);

#[derive(Debug)]
struct Families {
    registry: Registry,
    catalogue: Vec<MetricInfo>,
    rpc: RpcFamilies,
    work: Arc<WorkFamilies>,
    database: Arc<DatabaseFamilies>,
    service: ServiceFamilies,
}

/// How a scrape is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeFormat {
    /// The text format of Prometheus, version 0.0.4.
    Text,
    /// OpenMetrics, version 1.0.0.
    OpenMetrics,
}

impl ScrapeFormat {
    /// The content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Metrics {
    /// Registers all metrics.
    pub fn on() -> Self {
        let mut registration = Registration::default();
        let rpc = RpcFamilies::register(&mut registration);
        let work = Arc::new(WorkFamilies::register(&mut registration));
        let database = Arc::new(DatabaseFamilies::register(&mut registration));
        let service = ServiceFamilies::register(&mut registration);
        process::register(&mut registration);
        let Registration { registry, catalogue } = registration;
        Self(Some(Arc::new(Families { registry, catalogue, rpc, work, database, service })))
    }

    /// Every metric, by name. Empty without metrics.
    pub fn catalogue(&self) -> Vec<MetricInfo> {
        let mut all = self.0.as_ref().map(|families| families.catalogue.clone()).unwrap_or_default();
        all.sort();
        all
    }

    /// All series as a scrape has them. Empty without metrics.
    pub fn scrape(&self, format: ScrapeFormat) -> String {
        let mut page = String::new();
        if let Some(families) = &self.0 {
            // Writing to a `String` does not fail.
            let _ = match format {
                ScrapeFormat::Text => prometheus_text::encode(&mut page, &families.registry),
                ScrapeFormat::OpenMetrics => text::encode(&mut page, &families.registry),
            };
        }
        page
    }

    /// The handles of the gRPC method `package.Service/Method`, of this type (`unary`, `bidi_stream`, …); without a
    /// name, those of all unknown methods together.
    pub fn grpc_method(&self, kind: &'static str, name: Option<&str>) -> Option<GrpcMethod> {
        self.0.as_ref().map(|families| families.rpc.grpc(kind, name))
    }

    /// The handles of an HTTP route; without one, those of all unknown paths together.
    pub fn http_route(&self, route: Option<&str>) -> Option<HttpRoute> {
        self.0.as_ref().map(|families| families.rpc.http(route))
    }

    /// The handle for the queues and lanes.
    pub fn work(&self) -> WorkMetrics {
        WorkMetrics(self.0.as_ref().map(|families| Arc::clone(&families.work)))
    }

    /// The handle for a database of this kind (`mysql`, `postgresql`, …).
    pub fn database(&self, system: &str) -> DatabaseMetrics {
        self.0.as_ref().map(|families| families.database.of_system(system)).unwrap_or_default()
    }

    /// Says where it is read whether the database can be used.
    pub fn read_database_up(&self, read: impl Fn() -> bool + Send + Sync + 'static) {
        if let Some(families) = &self.0 {
            families.database.read_up(read);
        }
    }

    /// Says where lost lines of the log and panics are counted.
    pub fn read_log(&self, lost_lines: fn() -> u64, panics: fn() -> u64) {
        if let Some(families) = &self.0 {
            families.service.lost_lines.set(lost_lines);
            families.service.panics.set(panics);
        }
    }

    /// Requests to identify ended.
    pub fn count_items(&self, api: MeteredApi, result: ItemResultKind, items: u64) {
        if let Some(families) = &self.0
            && items > 0
        {
            families.service.items.get(api).get(result).inc_by(items);
        }
    }

    /// Counts a connection for as long as the guard lives.
    pub fn connection(&self, api: MeteredApi) -> ConnectionGuard {
        if let Some(families) = &self.0 {
            families.service.connections.get(api).inc();
        }
        ConnectionGuard { metrics: self.clone(), api }
    }

    /// A caller was not let in.
    pub fn count_auth_failure(&self, reason: AuthFailure) {
        if let Some(families) = &self.0 {
            families.service.auth_failures.get(reason).inc();
        }
    }

    /// So many spans were lost.
    pub fn count_dropped_spans(&self, reason: SpanDrop, spans: usize) {
        if let Some(families) = &self.0 {
            families.service.dropped_spans.get(reason).inc_by(u64::try_from(spans).unwrap_or(u64::MAX));
        }
    }

    /// The handles of a caller whom the tokens file names. Ask for them when the file is read, not for each call.
    pub fn caller(&self, name: &str) -> CallerMetrics {
        self.0.as_ref().map(|families| families.service.caller(name)).unwrap_or_default()
    }

    /// Ends the series of a caller whom the tokens file names no more.
    pub fn forget_caller(&self, name: &str) {
        if let Some(families) = &self.0 {
            families.service.forget_caller(name);
        }
    }

    /// The certificate in force expires then.
    pub fn set_certificate_expiry(&self, at: SystemTime) {
        if let Some(families) = &self.0 {
            families.service.set_certificate_expiry(at);
        }
    }

    /// A file was read again.
    pub fn count_reload(&self, file: ReloadedFile, end: ReloadEnd) {
        if let Some(families) = &self.0 {
            families.service.reloads.get(file).get(end).inc();
            families.service.stale.get(file).set((end == ReloadEnd::Error).into());
        }
    }

    /// Returns how often files were read again, for tests.
    #[cfg(test)]
    pub(crate) fn reloads(&self, file: ReloadedFile, end: ReloadEnd) -> u64 {
        self.0.as_ref().map_or(0, |families| families.service.reloads.get(file).get(end).get())
    }
}

/// One open connection.
#[derive(Debug)]
pub struct ConnectionGuard {
    metrics: Metrics,
    api: MeteredApi,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        if let Some(families) = &self.metrics.0 {
            families.service.connections.get(self.api).dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn both_formats_have_every_metric_but_that_of_callers() {
        let metrics = Metrics::on();
        metrics.grpc_method("unary", None);
        metrics.http_route(None).expect("on").end(&http::Method::GET, 200, std::time::Duration::ZERO);
        metrics.database("sqlite");
        for format in [ScrapeFormat::Text, ScrapeFormat::OpenMetrics] {
            let page = metrics.scrape(format);
            for info in metrics.catalogue() {
                let family = match format {
                    ScrapeFormat::Text => info.name.as_str(),
                    ScrapeFormat::OpenMetrics => info.name.strip_suffix("_total").unwrap_or(&info.name),
                };
                let is_there = page.contains(&format!("# TYPE {family} {}\n", info.kind));
                assert_eq!(
                    is_there,
                    family != "identity_caller_requests_total" && family != "identity_caller_requests",
                    "{family}"
                );
            }
            assert_eq!(page.ends_with("# EOF\n"), format == ScrapeFormat::OpenMetrics);
        }
    }

    #[test]
    fn callers_are_those_of_the_tokens_file() {
        let metrics = Metrics::on();
        metrics.caller("checkout").count(Code::Ok);
        let series = r#"identity_caller_requests_total{caller="checkout",code="OK"} 1"#;
        assert!(metrics.scrape(ScrapeFormat::Text).contains(series));
        metrics.forget_caller("checkout");
        assert!(!metrics.scrape(ScrapeFormat::Text).contains("checkout"));
    }

    #[test]
    fn unknown_methods_statuses_and_paths_share_a_value() {
        let metrics = Metrics::on();
        let unknown = metrics.http_route(None).expect("on");
        for (method, status) in [("BREW", 200), ("STEAL", 200), ("GET", 299), ("GET", 298)] {
            unknown.begin();
            unknown.end(&method.parse().expect("a method"), status, std::time::Duration::ZERO);
        }
        let page = metrics.scrape(ScrapeFormat::Text);
        let count = |method: &str, status: u16| {
            let labels = format!(r#"http_request_method="{method}",http_route="unknown""#);
            let status = format!(r#"http_response_status_code="{status}""#);
            format!("http_server_request_duration_seconds_count{{{labels},{status}}} 2")
        };
        assert!(page.contains(&count("_OTHER", 200)) && page.contains(&count("GET", 599)), "{page}");
        assert!(page.contains("http_server_active_requests 0"));
    }

    #[test]
    fn a_certificate_and_a_reload_are_seen() {
        let metrics = Metrics::on();
        metrics.set_certificate_expiry(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000));
        metrics.count_reload(ReloadedFile::Tokens, ReloadEnd::Error);
        metrics.count_auth_failure(AuthFailure::Scope);
        let page = metrics.scrape(ScrapeFormat::Text);
        for series in [
            "identity_tls_certificate_expiry_timestamp_seconds 4000000000",
            r#"identity_config_reloads_total{what="tokens",result="error"} 1"#,
            r#"identity_config_stale{what="tokens"} 1"#,
            r#"identity_config_stale{what="certificate"} 0"#,
            r#"identity_auth_failures_total{reason="scope"} 1"#,
        ] {
            assert!(page.contains(series), "{series}: {page}");
        }
        metrics.count_reload(ReloadedFile::Tokens, ReloadEnd::Ok);
        assert!(metrics.scrape(ScrapeFormat::Text).contains(r#"identity_config_stale{what="tokens"} 0"#));
    }

    #[test]
    fn without_metrics_nothing_is_recorded() {
        let metrics = Metrics::default();
        metrics.count_reload(ReloadedFile::Tokens, ReloadEnd::Ok);
        metrics.caller("checkout").count(Code::Ok);
        drop(metrics.connection(MeteredApi::Grpc));
        assert_eq!((metrics.scrape(ScrapeFormat::Text), metrics.catalogue()), (String::new(), Vec::new()));
    }
}
