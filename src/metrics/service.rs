//! The process as a service: connections, callers, certificates, the log.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tonic::Code;

use super::labels::{AuthFailure, ItemResultKind, Label, MeteredApi, ReloadEnd, ReloadedFile, SpanDrop};
use super::registration::{ByLabel, Labels, Registration, Slot};
use super::rpc::code_name;

const CALLER_LABELS: [&str; 2] = ["caller", "code"];

/// The metrics of the process as a service.
#[derive(Debug)]
pub(super) struct ServiceFamilies {
    pub(super) items: ByLabel<MeteredApi, ByLabel<ItemResultKind, Counter>>,
    pub(super) connections: ByLabel<MeteredApi, Gauge>,
    pub(super) auth_failures: ByLabel<AuthFailure, Counter>,
    callers: Family<Labels, Counter>,
    certificate_expiry: Gauge,
    pub(super) reloads: ByLabel<ReloadedFile, ByLabel<ReloadEnd, Counter>>,
    pub(super) stale: ByLabel<ReloadedFile, Gauge>,
    pub(super) lost_lines: Slot,
    pub(super) dropped_spans: ByLabel<SpanDrop, Counter>,
    pub(super) panics: Slot,
}

impl ServiceFamilies {
    pub(super) fn register(registration: &mut Registration) -> Self {
        let connections = Family::<Labels, Gauge>::default();
        registration.add("identity_connections", &[MeteredApi::NAME], "Connections of callers", connections.clone());
        let callers = Family::default();
        registration.add("identity_caller_requests_total", &CALLER_LABELS, "Calls of each caller", callers.clone());
        let certificate_expiry = Gauge::default();
        registration.add(
            "identity_tls_certificate_expiry_timestamp_seconds",
            &[],
            "When the certificate in force expires, in Unix time; 0 without TLS",
            certificate_expiry.clone(),
        );
        let stale = Family::<Labels, Gauge>::default();
        registration.add(
            "identity_config_stale",
            &[ReloadedFile::NAME],
            "1 while the files cannot be used, so that their old content stays in force",
            stale.clone(),
        );
        let build = Family::<Labels, Gauge>::default();
        registration.add("identity_build_info", &["version"], "Always 1: the version of the service", build.clone());
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        Self {
            items: two_labels(
                registration,
                "identity_items_total",
                "Requests to identify that ended; each item of a batch or a stream is one",
            ),
            connections: ByLabel::new(|api: MeteredApi| {
                connections.get_or_create_owned(&vec![(MeteredApi::NAME, api.value().to_owned())])
            }),
            auth_failures: registration.counters("identity_auth_failures_total", "Calls of callers not let in"),
            callers,
            certificate_expiry,
            reloads: two_labels(registration, "identity_config_reloads_total", "Files that were read again"),
            stale: ByLabel::new(|file: ReloadedFile| {
                stale.get_or_create_owned(&vec![(ReloadedFile::NAME, file.value().to_owned())])
            }),
            lost_lines: registration.read(
                "identity_log_lines_dropped_total",
                "Lines of the log that were lost: its reader is slow or gone",
                MetricType::Counter,
            ),
            dropped_spans: registration.counters(
                "identity_spans_dropped_total",
                "Spans of traces that were lost on their way to the collector",
            ),
            panics: registration.read("identity_panics_total", "Panics; each is a bug", MetricType::Counter),
        }
    }

    pub(super) fn set_certificate_expiry(&self, at: SystemTime) {
        let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.certificate_expiry.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    pub(super) fn caller(&self, name: &str) -> CallerMetrics {
        let of_code = |code: usize| {
            let code = code_name(Code::from_i32(i32::try_from(code).unwrap_or_default()));
            self.callers.get_or_create_owned(&caller_labels(name, code))
        };
        CallerMetrics(Some(std::array::from_fn(of_code)))
    }

    pub(super) fn forget_caller(&self, name: &str) {
        for code in 0..17 {
            self.callers.remove(&caller_labels(name, code_name(Code::from_i32(code))));
        }
    }
}

fn caller_labels(name: &str, code: &str) -> Labels {
    CALLER_LABELS.into_iter().zip([name, code].map(str::to_owned)).collect()
}

/// Registers a counter for each pair of values.
fn two_labels<A: Label, B: Label>(
    registration: &mut Registration,
    name: &str,
    help: &str,
) -> ByLabel<A, ByLabel<B, Counter>> {
    let family = Family::<Labels, Counter>::default();
    registration.add(name, &[A::NAME, B::NAME], help, family.clone());
    let pair = |a: A, b: B| vec![(A::NAME, a.value().to_owned()), (B::NAME, b.value().to_owned())];
    ByLabel::new(|a: A| ByLabel::new(|b: B| family.get_or_create_owned(&pair(a, b))))
}

/// The handles of one caller of the tokens file. Without metrics they do nothing.
#[derive(Clone, Debug, Default)]
pub struct CallerMetrics(Option<[Counter; 17]>);

impl CallerMetrics {
    /// A call of the caller ended with this code.
    pub fn count(&self, code: Code) {
        if let Some(counters) = &self.0 {
            counters[code as usize].inc();
        }
    }
}
