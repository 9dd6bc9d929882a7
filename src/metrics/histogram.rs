//! A histogram without locks, and the buckets of each histogram.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The buckets of call times, in seconds. A known customer takes half a millisecond, a new one a few (two fsyncs), a
/// waiting one up to `MAX_QUEUE_WAIT` (1 s), and no call more than `REQUEST_TIMEOUT` (10 s). So the buckets are finest
/// between 0.25 and 50 ms, where a shop's budgets are, and each is at most 2.5 times as large as the one before.
pub(super) const CALL_SECONDS: [f64; 18] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The buckets of a statement or of a wait in a queue: from 100 us, a look-up by key, to the 3 s of `DATABASE_TIMEOUT`.
pub(super) const STATEMENT_SECONDS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.5, 1.0, 3.0];

/// The buckets of requests in a statement or a transaction, which takes at most 256.
pub(super) const REQUESTS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// A histogram whose observations cost two additions. (That of `prometheus-client` takes a lock.)
#[derive(Clone, Debug)]
pub(super) struct Histogram(Arc<Cells>);

#[derive(Debug)]
struct Cells {
    bounds: &'static [f64],
    /// One for each bound, and one for what is larger.
    counts: Box<[AtomicU64]>,
    /// Nanoseconds, or requests.
    sum: AtomicU64,
    /// How many of these units are 1 in the scrape.
    units: f64,
}

impl Histogram {
    /// A histogram of times.
    pub(super) fn of_times(bounds: &'static [f64]) -> Self {
        Self::new(bounds, 1e9)
    }

    /// A histogram of numbers of requests.
    pub(super) fn of_counts(bounds: &'static [f64]) -> Self {
        Self::new(bounds, 1.0)
    }

    fn new(bounds: &'static [f64], units: f64) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Cells { bounds, counts, sum: AtomicU64::new(0), units }))
    }

    /// Observes a time.
    pub(super) fn observe_time(&self, time: Duration) {
        self.add(time.as_secs_f64(), u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Observes a number of requests.
    pub(super) fn observe_count(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.add(count.into(), count.into());
    }

    fn add(&self, value: f64, units: u64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Relaxed);
        self.0.sum.fetch_add(units, Relaxed);
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // Of the same reads, so that it is the last bucket.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum.load(Relaxed) as f64 / self.0.units;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_is_not_below_it() {
        let histogram = Histogram::of_times(&[0.001, 0.01]);
        for micros in [1, 1_000, 1_001, 10_000, 10_001, 5_000_000] {
            histogram.observe_time(Duration::from_micros(micros));
        }
        let counts: Vec<u64> = histogram.0.counts.iter().map(|count| count.load(Relaxed)).collect();
        assert_eq!(counts, [2, 2, 2]);
        assert_eq!(histogram.0.sum.load(Relaxed), 5_022_003_000);
        let sizes = Histogram::of_counts(&REQUESTS);
        sizes.observe_count(256);
        assert_eq!((sizes.0.counts[8].load(Relaxed), sizes.0.sum.load(Relaxed)), (1, 256));
    }

    #[test]
    fn buckets_rise() {
        for bounds in [&CALL_SECONDS[..], &STATEMENT_SECONDS, &REQUESTS] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        }
    }
}
