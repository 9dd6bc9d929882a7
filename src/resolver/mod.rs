//! The use case of the service: from an observation to the identity that it belongs to.
//!
//! Requests that wait at the same time share a statement or a transaction. An idle service adds no delay: it answers
//! one request in one transaction. A busy service puts hundreds of requests into one transaction.
//!
//! ```text
//! identify ──> read lanes ── nothing new: answered from one consistent read of the latest state
//!                   └──────> write lanes ── one transaction: lock, read again what changed, plan, write, commit
//! ```
//!
//! | file | what it holds |
//! | --- | --- |
//! | `identify` | the trait that the APIs call |
//! | `admission` | the limit for requests in the service |
//! | `read_queue`, `read_lane` | groups of requests, and the look-up that answers known customers |
//! | `batch_lane` | the look-up of batches, whose order matters |
//! | `write_queue` | which requests may run side by side |
//! | `write_lane` | retries, splits and lock waits |
//! | `write_transaction` | one transaction and the lock protocol |
//!
//! While a service runs, this module is the only one that writes contacts. `identity verify --repair` and `identity
//! bench seed` write too, each from a process of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::domain::{Answer, Observation};
use crate::settings::QueueSettings;
use crate::store::Store;

mod admission;
mod backoff;
mod batch_lane;
mod database_health;
mod deadline;
mod error;
mod identify;
mod job;
mod panic_guard;
mod read_lane;
mod read_queue;
mod recent_identifiers;
mod write_lane;
mod write_queue;
mod write_transaction;

pub use error::IdentifyError;
pub use identify::{Admitted, Answers, Identify};

use admission::Admission;
use batch_lane::{BatchLane, batch_jobs};
use database_health::DatabaseHealth;
use deadline::{deadline_after, has_passed};
use job::{Job, ReplyReceiver};
use panic_guard::catch_panic;
use read_lane::ReadLane;
use read_queue::ReadQueue;
use recent_identifiers::RecentIdentifiers;
use write_lane::{MAX_LOCK_WAITS, WriteLane};
use write_queue::WriteQueue;

/// Maximum look-ups at once for single requests, each on its own connection. A read waits behind a write only if the
/// read is not enough for an answer ([`LookupResult`](crate::store::LookupResult)).
const READ_LANES: usize = 4;

/// Maximum look-ups at once for batches, beside the read lanes. So a single request does not wait for a long batch.
const BATCH_LANES: usize = 2;

/// Time between two pings of the database.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The resolver over a store. Clones share its lanes, which end with the last clone.
#[derive(Clone, Debug)]
pub struct Resolver {
    to_read: mpsc::UnboundedSender<Job>,
    to_batch: mpsc::UnboundedSender<Vec<Job>>,
    admission: Admission,
    database: DatabaseHealth,
}

impl Resolver {
    /// Starts the lanes over a store, on the current tokio runtime.
    pub fn start<S: Store>(store: S, settings: QueueSettings) -> Self {
        let (to_read, read_queue) = mpsc::unbounded_channel();
        let (to_write, write_queue) = mpsc::unbounded_channel();
        let database = DatabaseHealth::new();
        let read_queue = Arc::new(Mutex::new(ReadQueue::new(read_queue)));
        let read_lane = || ReadLane {
            store: store.clone(),
            queue: Arc::clone(&read_queue),
            to_write: to_write.clone(),
            database: database.clone(),
        };
        for _ in 0..READ_LANES {
            panic_guard::spawn(read_lane());
        }
        let (to_batch, batch_queue) = mpsc::unbounded_channel();
        let batch_queue = Arc::new(Mutex::new(batch_queue));
        for _ in 0..BATCH_LANES {
            panic_guard::spawn(BatchLane { reader: read_lane(), queue: Arc::clone(&batch_queue) });
        }
        let write_lane = WriteLane {
            store: store.clone(),
            queue: Arc::new(Mutex::new(WriteQueue::new(write_queue, settings.transaction_size))),
            database: database.clone(),
            recent: RecentIdentifiers::default(),
            lock_waits: Arc::new(Semaphore::new(MAX_LOCK_WAITS)),
            max_contacts: settings.max_contacts,
        };
        for _ in 0..store.writers() {
            panic_guard::spawn(write_lane.clone());
        }
        tokio::spawn(ping_database(store, database.clone(), to_read.downgrade()));
        Self { to_read, to_batch, admission: Admission::new(settings.queue_limit), database }
    }

    /// Returns a receiver that says whether the database can be reached.
    pub fn reachable(&self) -> watch::Receiver<bool> {
        self.database.subscribe()
    }
}

impl Identify for Resolver {
    async fn identify(&self, observation: Observation, deadline: Instant) -> Result<Answer, IdentifyError> {
        let permit = self.admission.try_admit(1)?;
        let (job, reply) = Job::new(observation, deadline, permit);
        let changes = self.database.changes();
        self.to_read.send(job).map_err(|_| IdentifyError::Unavailable)?;
        self.wait_for_reply(reply, deadline, changes).await
    }

    async fn admit(&self, observations: usize, _deadline: Instant) -> Result<Admitted, IdentifyError> {
        Ok(Admitted(Some(self.admission.try_admit(observations)?)))
    }

    async fn identify_admitted(
        &self,
        admitted: Admitted,
        observations: Vec<Observation>,
        deadline: Instant,
    ) -> Answers {
        match admitted {
            Admitted(Some(permits)) => self.resolve(observations, deadline, permits).await,
            Admitted(None) => vec![Err(IdentifyError::Internal); observations.len()], // Not from this resolver.
        }
    }

    async fn identify_in_turn(&self, observations: Vec<Observation>, timeout: Duration) -> Answers {
        match self.admission.admit(observations.len()).await {
            Ok(permits) => self.resolve(observations, deadline_after(timeout), permits).await,
            Err(error) => vec![Err(error); observations.len()],
        }
    }
}

impl Resolver {
    /// Resolves a batch. A batch of one observation has no order, so it goes with the single requests.
    async fn resolve(
        &self,
        observations: Vec<Observation>,
        deadline: Instant,
        permits: OwnedSemaphorePermit,
    ) -> Answers {
        let (mut jobs, replies) = batch_jobs(observations, deadline, permits);
        let changes = self.database.changes();
        let is_sent = match (jobs.pop(), jobs.is_empty()) {
            (Some(job), true) => self.to_read.send(job).is_ok(),
            (last, _) => self.to_batch.send(jobs.into_iter().chain(last).collect()).is_ok(),
        };
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            answers.push(if is_sent {
                self.wait_for_reply(reply, deadline, changes).await
            } else {
                Err(IdentifyError::Unavailable)
            });
        }
        answers
    }

    /// Waits for a reply until the deadline. `changes` is [`DatabaseHealth::changes`] from before the job was sent.
    async fn wait_for_reply(
        &self,
        reply: ReplyReceiver,
        deadline: Instant,
        changes: u64,
    ) -> Result<Answer, IdentifyError> {
        match tokio::time::timeout_at(deadline.into(), reply).await {
            Ok(Ok(result)) => result,
            // The lane panicked, which the log says. (A lane also drops a job whose deadline has passed.)
            Ok(Err(_)) if !has_passed(deadline) => Err(IdentifyError::Internal),
            // The caller may retry if the database was unreachable meanwhile.
            _ if !self.database.is_reachable() || self.database.changes() != changes => Err(IdentifyError::Unavailable),
            _ => Err(IdentifyError::DeadlineExceeded),
        }
    }
}

/// Keeps [`DatabaseHealth`] current while there are no requests, until the resolver is gone.
async fn ping_database<S: Store>(store: S, database: DatabaseHealth, resolver: mpsc::WeakUnboundedSender<Job>) {
    while resolver.upgrade().is_some() {
        match catch_panic(store.ping()).await {
            Ok(()) => database.record_reachable(),
            Err(error) => database.record_unreachable(&error),
        }
        tokio::time::sleep(PING_INTERVAL).await;
    }
}
