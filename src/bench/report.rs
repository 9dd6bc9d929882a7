//! The printed result of a measurement: a table for people, JSON for machines.

use std::collections::BTreeMap;
use std::fmt::Write;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::args::{self, RunArgs};
use super::load::Load;
use super::measurement::Measurement;
use crate::proto::identity::v1::Outcome;

/// The result of a measurement. The JSON output is this struct. A time is in microseconds if its name has `us`.
#[derive(Debug, Serialize)]
pub(super) struct BenchReport {
    scenario: String,
    api: String,
    callers: u32,
    per_call: u32,
    threads: u32,
    /// Requests that were due each second. Absent in a closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<u32>,
    duration_s: f64,
    /// Answered requests, without errors.
    answers: u64,
    answers_per_s: f64,
    latency_us: Latency,
    outcomes: BTreeMap<&'static str, u64>,
    errors: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_latency_us: Option<Latency>,
    /// Requests that were due but not sent before the end, because every caller waited.
    unsent: u64,
}

#[derive(Debug, Serialize)]
struct Latency {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Created, "created"),
    (Outcome::Matched, "matched"),
    (Outcome::Linked, "linked"),
    (Outcome::Merged, "merged"),
];

impl BenchReport {
    pub(super) fn new(run: &RunArgs, load: &Load, measurement: &Measurement) -> Self {
        let named = (args::value_name(run.scenario), args::value_name(run.api));
        let outcomes = OUTCOMES.map(|(outcome, name)| (name, measurement.outcome(outcome)));
        Self {
            callers: run.callers,
            per_call: load.per_call,
            threads: load.threads,
            rate: run.rate,
            outcomes: outcomes.into_iter().filter(|(_, count)| *count > 0).collect(),
            ..Self::without_load(named, measurement)
        }
    }

    /// Returns the report of one caller without requests, such as fsync. It has no outcomes.
    pub(super) fn without_load((scenario, api): (String, String), measurement: &Measurement) -> Self {
        let seconds = measurement.elapsed().as_secs_f64();
        Self {
            scenario,
            api,
            callers: 1,
            per_call: 1,
            threads: 1,
            rate: None,
            duration_s: rounded(seconds),
            answers: measurement.answers(),
            answers_per_s: rounded(measurement.answers() as f64 / seconds),
            latency_us: Latency::from_histogram(&measurement.latency),
            outcomes: BTreeMap::new(),
            errors: measurement.errors_by_code().clone(),
            error_latency_us: (measurement.errors() > 0).then(|| Latency::from_histogram(&measurement.error_latency)),
            unsent: measurement.unsent,
        }
    }

    /// Returns the result as one line of JSON.
    ///
    /// # Errors
    /// Never: all keys of its maps are text.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// Returns the result as text.
    pub(super) fn table(&self) -> String {
        let Self { scenario, api, callers, per_call, duration_s, answers_per_s, answers, .. } = self;
        let each = if *per_call > 1 { format!(" of {per_call} each") } else { String::new() };
        let loop_ = self.rate.map_or_else(|| "closed loop".to_owned(), |rate| format!("{rate} due a second"));
        let mut text = format!("{scenario} · {api} · callers {callers}{each} · {loop_} · {duration_s:.1} s\n");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:<10} {answers_per_s:.0} a second, {answers} in all", "answers");
        let _ = writeln!(text, "  {:<10} {}", "latency", self.latency_us.line());
        if !self.outcomes.is_empty() {
            let _ = writeln!(text, "  {:<10} {}", "outcomes", counts(&self.outcomes));
        }
        let errors = if self.errors.is_empty() { "none".to_owned() } else { counts(&self.errors) };
        let _ = write!(text, "  {:<10} {errors}", "errors");
        if let Some(latency) = &self.error_latency_us {
            let _ = write!(text, "\n  {:<10} {}", "", latency.line());
        }
        if self.unsent > 0 {
            let _ = write!(text, "\n  {:<10} {} were due and no caller was free", "unsent", self.unsent);
        }
        text
    }
}

impl Latency {
    fn from_histogram(nanos: &Histogram<u64>) -> Self {
        let us = |nanos: u64| rounded(nanos as f64 / 1e3);
        let at = |quantile| us(nanos.value_at_quantile(quantile));
        Self {
            mean: rounded(nanos.mean() / 1e3),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: us(nanos.max()),
        }
    }

    fn line(&self) -> String {
        let Self { p50, p90, p99, p999, max, mean: _ } = self;
        let named = [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p999), ("max", max)];
        named.map(|(name, us)| format!("{name} {:.3} ms", us / 1e3)).join("   ")
    }
}

fn counts(counts: &BTreeMap<&'static str, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join("   ")
}

/// Rounds to a tenth. More digits would be noise.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
