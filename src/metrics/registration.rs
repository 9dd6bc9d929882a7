//! Registering metrics, each with its entry in the catalogue.

use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::registry::{Metric, Registry};

use super::histogram::Histogram;
use super::labels::Label;

/// The labels of a series: name and value.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A metric of the catalogue, which `docs/metrics.md` lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricInfo {
    /// The name, with `_total` if it is a counter.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels, in order.
    pub labels: Vec<&'static str>,
}

/// A registry in the making.
#[derive(Debug, Default)]
pub(super) struct Registration {
    pub(super) registry: Registry,
    pub(super) catalogue: Vec<MetricInfo>,
}

/// Makes the histograms of a family.
#[derive(Clone, Copy, Debug)]
pub(super) enum Buckets {
    /// Of times, in seconds.
    Times(&'static [f64]),
    /// Of numbers of requests.
    Counts(&'static [f64]),
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        match self {
            Self::Times(bounds) => Histogram::of_times(bounds),
            Self::Counts(bounds) => Histogram::of_counts(bounds),
        }
    }
}

impl Registration {
    /// Registers a metric. The name of a counter ends with `_total`.
    pub(super) fn add(&mut self, name: &str, labels: &[&'static str], help: &str, metric: impl Metric) {
        self.describe(name, labels, metric.metric_type());
        // The encoder appends it.
        self.registry.register(name.strip_suffix("_total").unwrap_or(name), help, metric);
    }

    /// Adds an entry to the catalogue.
    pub(super) fn describe(&mut self, name: &str, labels: &[&'static str], kind: MetricType) {
        let kind = match kind {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Info => "info",
            MetricType::Unknown => "unknown",
        };
        self.catalogue.push(MetricInfo { name: name.to_owned(), kind, labels: labels.to_vec() });
    }

    /// Registers a counter for each value of a label. All begin at 0.
    pub(super) fn counters<L: Label>(&mut self, name: &str, help: &str) -> ByLabel<L, Counter> {
        let family = Family::<Labels, Counter>::default();
        self.add(name, &[L::NAME], help, family.clone());
        ByLabel::new(|value: L| family.get_or_create_owned(&vec![(L::NAME, value.value().to_owned())]))
    }

    /// Registers a histogram for each value of a label.
    pub(super) fn histograms<L: Label>(&mut self, name: &str, help: &str, buckets: Buckets) -> ByLabel<L, Histogram> {
        let family = Family::<Labels, Histogram, Buckets>::new_with_constructor(buckets);
        self.add(name, &[L::NAME], help, family.clone());
        ByLabel::new(|value: L| family.get_or_create_owned(&vec![(L::NAME, value.value().to_owned())]))
    }

    /// Registers a number that is read when it is scraped. It is 0 until its slot has a reader.
    pub(super) fn read(&mut self, name: &str, help: &str, kind: MetricType) -> Slot {
        let slot = Slot::default();
        self.add(name, &[], help, OnScrape { kind, series: vec![(Labels::new(), slot.clone())] });
        slot
    }

    /// Registers such a gauge for each value of a label.
    pub(super) fn read_each<L: Label>(&mut self, name: &str, help: &str) -> ByLabel<L, Slot> {
        let slots = ByLabel::new(|_: L| Slot::default());
        let series = |value: &L| (vec![(L::NAME, value.value().to_owned())], slots.get(*value).clone());
        let series = L::ALL.iter().map(series).collect();
        self.add(name, &[L::NAME], help, OnScrape { kind: MetricType::Gauge, series });
        slots
    }
}

/// The handles of a metric, one for each value of a label, made at start.
#[derive(Debug)]
pub(super) struct ByLabel<L, M> {
    handles: Box<[M]>,
    label: PhantomData<L>,
}

impl<L: Label, M> ByLabel<L, M> {
    pub(super) fn new(handle: impl FnMut(L) -> M) -> Self {
        Self { handles: L::ALL.iter().copied().map(handle).collect(), label: PhantomData }
    }

    pub(super) fn get(&self, label: L) -> &M {
        &self.handles[label.index()]
    }
}

type Reader = Box<dyn Fn() -> u64 + Send + Sync>;

/// Where a number is read that another part of the service keeps. It costs nothing between scrapes.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<OnceLock<Reader>>);

impl Slot {
    /// Sets the reader, once.
    pub(super) fn set(&self, read: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(read));
    }

    fn get(&self) -> u64 {
        self.0.get().map_or(0, |read| read())
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

/// A counter or a gauge of such numbers.
#[derive(Debug)]
struct OnScrape {
    kind: MetricType,
    series: Vec<(Labels, Slot)>,
}

impl EncodeMetric for OnScrape {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (labels, slot) in &self.series {
            let mut of_series = encoder.encode_family(labels)?;
            match self.kind {
                MetricType::Counter => of_series.encode_counter::<NoLabelSet, _, u64>(&slot.get(), None)?,
                MetricType::Gauge | MetricType::Histogram | MetricType::Info | MetricType::Unknown => {
                    of_series.encode_gauge(&slot.get())?;
                }
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }
}
