//! The counts and latencies of a run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::client::CallResult;
use crate::proto::identity::v1::Outcome;
use crate::transport::call_outcome::code_name;

/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// The longest recorded latency, in nanoseconds: an hour. A longer one counts as this.
const MAX_LATENCY: u64 = 3_600_000_000_000;

/// Counts and latencies (in nanoseconds) of the requests of a run, or of one thread of a run.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    /// Latencies of answered requests. Errors count separately: fast errors would make the latency look better.
    pub(super) latency: Histogram<u64>,
    pub(super) error_latency: Histogram<u64>,
    outcomes: BTreeMap<Outcome, u64>,
    errors: BTreeMap<&'static str, u64>,
    /// Requests that were due but not sent before the end.
    pub(super) unsent: u64,
    pub(super) from: Instant,
    until: Instant,
}

impl Measurement {
    /// # Errors
    /// Never, with these bounds.
    pub(super) fn new(from: Instant) -> anyhow::Result<Self> {
        Ok(Self {
            latency: Histogram::new_with_bounds(1_000, MAX_LATENCY, DIGITS)?,
            error_latency: Histogram::new_with_bounds(1_000, MAX_LATENCY, DIGITS)?,
            outcomes: BTreeMap::new(),
            errors: BTreeMap::new(),
            unsent: 0,
            from,
            until: from,
        })
    }

    /// Records the result of a request that was due, or sent, at `begun`.
    pub(super) fn record(&mut self, result: CallResult, begun: Instant, now: Instant) {
        let nanos = u64::try_from(now.saturating_duration_since(begun).as_nanos()).unwrap_or(u64::MAX);
        match result {
            Ok(outcome) => {
                *self.outcomes.entry(outcome).or_default() += 1;
                self.latency.saturating_record(nanos);
            }
            Err(code) => {
                *self.errors.entry(code_name(code)).or_default() += 1;
                self.error_latency.saturating_record(nanos);
            }
        }
        self.until = self.until.max(now);
    }

    /// Adds another measurement to this one.
    ///
    /// # Errors
    /// Never, since all tallies have the same bounds.
    pub(super) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.latency.add(&other.latency)?;
        self.error_latency.add(&other.error_latency)?;
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(*outcome).or_default() += count;
        }
        for (code, count) in &other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        self.unsent += other.unsent;
        self.until = self.until.max(other.until);
        Ok(())
    }

    /// Returns the time from the beginning to the last answer.
    pub(super) fn elapsed(&self) -> Duration {
        self.until - self.from
    }

    pub(super) fn answers(&self) -> u64 {
        self.latency.len()
    }

    pub(super) fn errors(&self) -> u64 {
        self.error_latency.len()
    }

    pub(super) fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or_default()
    }

    pub(super) fn errors_by_code(&self) -> &BTreeMap<&'static str, u64> {
        &self.errors
    }

    /// Returns the codes of all errors, for a message.
    pub(super) fn error_names(&self) -> String {
        self.errors.keys().copied().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_request_that_was_sent_late_counts_from_when_it_was_due() {
        let due = Instant::now();
        let ms = Duration::from_millis;
        let mut measurement = Measurement::new(due).unwrap();
        // The service hangs for 100 ms: so did the requests that were due meanwhile, whenever they were sent.
        for late in 0..10 {
            measurement.record(Ok(Outcome::Matched), due + ms(10) * late, due + ms(100));
        }
        let median = measurement.latency.value_at_quantile(0.5);
        assert!((50_000_000..=61_000_000).contains(&median), "{median}");
        assert_eq!((measurement.answers(), measurement.elapsed()), (10, ms(100)));
    }

    #[test]
    fn errors_are_counted_apart() {
        let from = Instant::now();
        let (mut one, mut other) = (Measurement::new(from).unwrap(), Measurement::new(from).unwrap());
        one.record(Ok(Outcome::Created), from, from + Duration::from_secs(1));
        other.record(Err(Code::ResourceExhausted), from, from);
        one.add(&other).unwrap();
        assert_eq!((one.answers(), one.errors(), one.outcome(Outcome::Created)), (1, 1, 1));
        assert_eq!(one.error_names(), "RESOURCE_EXHAUSTED");
    }
}
