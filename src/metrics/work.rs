//! Requests on their way through the queues, and what is asked of the database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::histogram::{Histogram, REQUESTS, STATEMENT_SECONDS};
use super::labels::{
    ConnectionUse, DatabaseOperation, FailoverReason, Label, LaneKind, OutcomeKind, RetryCause, ShedReason,
    TransactionEnd,
};
use super::registration::{Buckets, ByLabel, Labels, Registration, Slot};
use crate::domain::Outcome;

/// The metrics of the queues, the lanes and their transactions.
#[derive(Debug)]
pub(super) struct WorkFamilies {
    outcomes: ByLabel<OutcomeKind, Counter>,
    batch_size: ByLabel<LaneKind, Histogram>,
    queue_wait: ByLabel<LaneKind, Histogram>,
    queue_depth: Slot,
    transactions: ByLabel<TransactionEnd, Counter>,
    retries: ByLabel<RetryCause, Counter>,
    shed: ByLabel<ShedReason, Counter>,
}

impl WorkFamilies {
    pub(super) fn register(registration: &mut Registration) -> Self {
        let times = Buckets::Times(&STATEMENT_SECONDS);
        Self {
            outcomes: registration.counters("identity_outcomes_total", "Requests that the resolver answered"),
            batch_size: registration.histograms(
                "identity_batch_size",
                "Requests that shared a look-up or a transaction",
                Buckets::Counts(&REQUESTS),
            ),
            queue_wait: registration.histograms(
                "identity_queue_wait_seconds",
                "Time that requests waited for a look-up or a transaction; of a batch, for its first look-up",
                times,
            ),
            queue_depth: registration.read(
                "identity_queue_depth",
                "Requests in the service: waiting, looked up or written",
                MetricType::Gauge,
            ),
            transactions: registration.counters("identity_transactions_total", "Transactions that ended"),
            retries: registration.counters("identity_retries_total", "Look-ups and transactions that started over"),
            shed: registration.counters("identity_shed_total", "Requests that were refused because of load"),
        }
    }
}

/// The handle of what the resolver records. Without metrics it does nothing.
#[derive(Clone, Debug, Default)]
pub struct WorkMetrics(pub(super) Option<Arc<WorkFamilies>>);

impl WorkMetrics {
    /// A request was answered.
    pub fn count_outcome(&self, outcome: Outcome) {
        if let Some(families) = &self.0 {
            let outcome = match outcome {
                Outcome::Created => OutcomeKind::Created,
                Outcome::Matched => OutcomeKind::Matched,
                Outcome::Linked => OutcomeKind::Linked,
                Outcome::Merged => OutcomeKind::Merged,
            };
            families.outcomes.get(outcome).inc();
        }
    }

    /// So many requests share a look-up or a transaction.
    pub fn record_batch(&self, lane: LaneKind, requests: usize) {
        if let Some(families) = &self.0 {
            families.batch_size.get(lane).observe_count(requests);
        }
    }

    /// Requests leave their queue after these waits.
    pub fn record_waits(&self, lane: LaneKind, waits: impl Iterator<Item = Duration>) {
        if let Some(families) = &self.0 {
            waits.for_each(|wait| families.queue_wait.get(lane).observe_time(wait));
        }
    }

    /// A transaction ended.
    pub fn count_transaction(&self, end: TransactionEnd) {
        if let Some(families) = &self.0 {
            families.transactions.get(end).inc();
        }
    }

    /// A look-up or a transaction starts over.
    pub fn count_retry(&self, cause: RetryCause) {
        if let Some(families) = &self.0 {
            families.retries.get(cause).inc();
        }
    }

    /// So many requests were refused because of load.
    pub fn count_shed(&self, reason: ShedReason, requests: usize) {
        if let Some(families) = &self.0 {
            families.shed.get(reason).inc_by(u64::try_from(requests).unwrap_or(u64::MAX));
        }
    }

    /// Says where the number of requests in the service is read.
    pub fn read_queue_depth(&self, read: impl Fn() -> usize + Send + Sync + 'static) {
        if let Some(families) = &self.0 {
            families.queue_depth.set(move || u64::try_from(read()).unwrap_or(u64::MAX));
        }
    }
}

/// The metrics of the database.
#[derive(Debug)]
pub(super) struct DatabaseFamilies {
    operations: Family<Labels, Histogram, Buckets>,
    connections: ByLabel<ConnectionUse, Slot>,
    up: Slot,
    failovers: ByLabel<FailoverReason, Counter>,
}

impl DatabaseFamilies {
    pub(super) fn register(registration: &mut Registration) -> Self {
        let operations = Family::new_with_constructor(Buckets::Times(&STATEMENT_SECONDS));
        registration.add(
            "db_client_operation_duration_seconds",
            &["db_system_name", DatabaseOperation::NAME],
            "Time that the database took, with the wait for a connection",
            operations.clone(),
        );
        Self {
            operations,
            connections: registration.read_each("db_client_connections", "Connections to the database"),
            up: registration.read("identity_database_up", "Whether the database can be used", MetricType::Gauge),
            failovers: registration
                .counters("identity_database_failovers_total", "Times that all connections were replaced"),
        }
    }

    pub(super) fn read_up(&self, read: impl Fn() -> bool + Send + Sync + 'static) {
        self.up.set(move || u64::from(read()));
    }

    /// The handles for one kind of database.
    pub(super) fn of_system(self: &Arc<Self>, system: &str) -> DatabaseMetrics {
        let operations = ByLabel::new(|operation: DatabaseOperation| {
            let operation = (DatabaseOperation::NAME, operation.value().to_owned());
            self.operations.get_or_create_owned(&vec![("db_system_name", system.to_owned()), operation])
        });
        DatabaseMetrics(Some(Arc::new(DatabaseHandles { families: Arc::clone(self), operations })))
    }
}

/// The handle of what the store records. Without metrics it does nothing.
#[derive(Clone, Debug, Default)]
pub struct DatabaseMetrics(Option<Arc<DatabaseHandles>>);

#[derive(Debug)]
struct DatabaseHandles {
    families: Arc<DatabaseFamilies>,
    operations: ByLabel<DatabaseOperation, Histogram>,
}

impl DatabaseMetrics {
    /// Measures an operation from now until the timer is dropped.
    pub fn timer(&self, operation: DatabaseOperation) -> OperationTimer {
        OperationTimer(self.0.as_ref().map(|handles| (handles.operations.get(operation).clone(), Instant::now())))
    }

    /// All connections were replaced.
    pub fn count_failover(&self, reason: FailoverReason) {
        if let Some(handles) = &self.0 {
            handles.families.failovers.get(reason).inc();
        }
    }

    /// Says where the number of connections in each state is read.
    pub fn read_connections(&self, state: ConnectionUse, read: impl Fn() -> usize + Send + Sync + 'static) {
        if let Some(handles) = &self.0 {
            handles.families.connections.get(state).set(move || u64::try_from(read()).unwrap_or(u64::MAX));
        }
    }
}

/// Measures an operation until it is dropped. Without metrics it does nothing.
#[derive(Debug, Default)]
pub struct OperationTimer(Option<(Histogram, Instant)>);

impl Drop for OperationTimer {
    fn drop(&mut self) {
        if let Some((histogram, begun)) = &self.0 {
            histogram.observe_time(begun.elapsed());
        }
    }
}
