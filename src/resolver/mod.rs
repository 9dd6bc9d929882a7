//! Use cases: what the APIs ask for. The only writer.
//!
//! Requests are gathered, never delayed: whatever waits when a lane is free goes together, so an idle
//! service answers one request in one transaction, and a busy one shares a transaction among hundreds.
//!
//! ```text
//! identify ──> read lanes ── everything known: answered from one consistent read that has the latest
//!                   └──────> write lanes ── one transaction: lock, read again what changed, plan, write, commit
//! ```
//!
//! [`write_lane`] has the lock protocol, and [`write_queue`] keeps the write lanes out of each other's way. Lists, whose
//! order matters, are read by lanes of their own: [`batch_lane`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::domain::{Answer, Observation};
use crate::settings::QueueSettings;
use crate::store::{Store, StoreError};

mod backoff;
mod batch_lane;
mod job;
mod panic_guard;
mod read_lane;
mod write_lane;
mod write_queue;

use batch_lane::BatchLane;
use job::Job;
use panic_guard::caught;
use read_lane::{ReadLane, ReadQueue};
use write_lane::WriteLane;
use write_queue::WriteQueue;

/// Why an observation got no answer. Nothing of it is stored, or all of it: calling again is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// More requests wait than the service takes on; it was not begun.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The database cannot be reached, or the service is shutting down.
    #[error("the database cannot be reached")]
    Unavailable,
    /// The caller's deadline passed first.
    #[error("the deadline passed before there was an answer")]
    DeadlineExceeded,
    /// The database gave a new row an id that another row has, and will go on so until an operator has
    /// raised its counter of automatic ids above those in use.
    #[error("the database's automatic ids are behind those in use: an operator must raise them")]
    IdTaken,
    /// A fault of the service or of its tables; the log has the cause.
    #[error("the request could not be handled")]
    Internal,
}

impl From<&StoreError> for IdentifyError {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::TimedOut(_) => Self::Unavailable,
            StoreError::IdTaken(_) => Self::IdTaken,
            StoreError::LostRace(_) | StoreError::DuplicateKey(_) | StoreError::Rejected(_) => Self::Internal,
        }
    }
}

/// What the APIs need of the resolver; a trait so that their tests can put a failing one in its place.
pub trait Identify: Clone + Send + Sync + 'static {
    /// Finds or makes the identity that the observation belongs to, before the deadline.
    ///
    /// # Errors
    /// [`IdentifyError`], see there.
    fn identify(
        &self,
        observation: Observation,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answer, IdentifyError>> + Send;

    /// The same for a list: an answer or an error for each, in order. Observations that share an
    /// identifier or an identity are handled in the order of the list.
    ///
    /// # Errors
    /// [`IdentifyError::Overloaded`] when there is no room for all of them; then none was begun.
    fn identify_all(
        &self,
        observations: Vec<Observation>,
        deadline: Instant,
    ) -> impl Future<Output = Result<Answers, IdentifyError>> + Send {
        async move {
            let mut answers = Vec::with_capacity(observations.len());
            for observation in observations {
                answers.push(self.identify(observation, deadline).await);
            }
            Ok(answers)
        }
    }

    /// The same, but where there is no room it waits for it, however long. The time-out counts from then.
    fn identify_in_turn(
        &self,
        observations: Vec<Observation>,
        timeout: Duration,
    ) -> impl Future<Output = Answers> + Send {
        async move {
            let count = observations.len();
            let answers = self.identify_all(observations, job::after(timeout)).await;
            answers.unwrap_or_else(|error| vec![Err(error); count])
        }
    }
}

/// What became of each observation of a list.
pub type Answers = Vec<Result<Answer, IdentifyError>>;

/// How many reads run at once, each on a connection of its own. Reads never wait behind writes,
/// but where a read is not enough to answer ([`LookupResult`](crate::store::LookupResult)).
const READ_LANES: usize = 4;

/// How many lists are read at once, likewise. Beside the read lanes, so that no single request waits
/// while a long list is read.
const BATCH_LANES: usize = 2;

/// How often a healthy database is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(1);

/// The resolver over a store. Clones share its lanes, which end with the last of them.
#[derive(Clone, Debug)]
pub struct Resolver {
    reads: mpsc::UnboundedSender<Job>,
    batches: mpsc::UnboundedSender<Vec<Job>>,
    /// One permit a request under way: this bounds all queues.
    admission: Arc<Semaphore>,
    queue: QueueSettings,
    reachable: Reachable,
}

/// Whether the database answered when it was last asked. Each change is logged, once.
#[derive(Clone, Debug)]
struct Reachable {
    now: Arc<watch::Sender<bool>>,
    changes: Arc<AtomicU64>,
}

impl Reachable {
    fn new() -> Self {
        Self { now: Arc::new(watch::Sender::new(true)), changes: Arc::default() }
    }

    fn get(&self) -> bool {
        *self.now.borrow()
    }

    /// How often it has changed so far.
    fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// It answered.
    fn found(&self) {
        if !self.get() && !self.now.send_replace(true) {
            self.changes.fetch_add(1, Ordering::Relaxed);
            tracing::info!("the database can be reached again");
        }
    }

    /// It did not.
    fn lost(&self, error: &StoreError) {
        if self.get() && self.now.send_replace(false) {
            self.changes.fetch_add(1, Ordering::Relaxed);
            tracing::error!(error.message = %error, "the database cannot be reached");
        }
    }
}

impl Resolver {
    /// Starts the lanes over a store, on the current tokio runtime.
    pub fn start<S: Store>(store: S, queue: QueueSettings) -> Self {
        let (reads, read_queue) = mpsc::unbounded_channel();
        let (writes, write_queue) = mpsc::unbounded_channel();
        let reachable = Reachable::new();
        let read_queue = Arc::new(Mutex::new(ReadQueue::new(read_queue)));
        let read_lane = || ReadLane {
            store: store.clone(),
            queue: Arc::clone(&read_queue),
            writes: writes.clone(),
            reachable: reachable.clone(),
        };
        for _ in 0..READ_LANES {
            panic_guard::start(read_lane());
        }
        let (batches, batch_queue) = mpsc::unbounded_channel();
        let batch_queue = Arc::new(Mutex::new(batch_queue));
        for _ in 0..BATCH_LANES {
            panic_guard::start(BatchLane { reader: read_lane(), queue: Arc::clone(&batch_queue) });
        }
        let write_queue = Arc::new(Mutex::new(WriteQueue::new(write_queue, queue.transaction_size)));
        let recent = write_lane::RecentIdentifiers::default();
        let lock_waiters = Arc::new(Semaphore::new(write_lane::LOCK_WAITERS));
        for _ in 0..store.writers() {
            panic_guard::start(WriteLane {
                store: store.clone(),
                write_queue: Arc::clone(&write_queue),
                recent: recent.clone(),
                lock_waiters: Arc::clone(&lock_waiters),
                reachable: reachable.clone(),
            });
        }
        tokio::spawn(watch_store(store, reachable.clone(), reads.downgrade()));
        Self { reads, batches, admission: Arc::new(Semaphore::new(queue.queue_limit)), queue, reachable }
    }

    /// Whether the database can be reached, as it changes.
    pub fn reachable(&self) -> watch::Receiver<bool> {
        self.reachable.now.subscribe()
    }
}

impl Identify for Resolver {
    async fn identify(&self, observation: Observation, deadline: Instant) -> Result<Answer, IdentifyError> {
        let permit = Arc::clone(&self.admission).try_acquire_owned().map_err(|_| IdentifyError::Overloaded)?;
        let (job, answer) = Job::new(observation, deadline, permit);
        let changes = self.reachable.changes();
        self.reads.send(job).map_err(|_| IdentifyError::Unavailable)?;
        self.answer(answer, deadline, changes).await
    }

    async fn identify_all(&self, observations: Vec<Observation>, deadline: Instant) -> Result<Answers, IdentifyError> {
        let places = self.places(observations.len());
        let permit =
            Arc::clone(&self.admission).try_acquire_many_owned(places).map_err(|_| IdentifyError::Overloaded)?;
        Ok(self.resolve(observations, deadline, permit).await)
    }

    async fn identify_in_turn(&self, observations: Vec<Observation>, timeout: Duration) -> Answers {
        let count = observations.len();
        let places = Arc::clone(&self.admission).acquire_many_owned(self.places(count));
        let Ok(permit) = places.await else { return vec![Err(IdentifyError::Internal); count] }; // Closed never.
        self.resolve(observations, job::after(timeout), permit).await
    }
}

impl Resolver {
    /// The places that a list takes: one each, and all there are if it is longer than that.
    fn places(&self, items: usize) -> u32 {
        u32::try_from(items.min(self.queue.queue_limit)).unwrap_or(u32::MAX)
    }

    /// Sends a list on its way; one that has no order goes with the single requests.
    async fn resolve(
        &self,
        observations: Vec<Observation>,
        deadline: Instant,
        permit: OwnedSemaphorePermit,
    ) -> Answers {
        let (mut jobs, replies) = batch_lane::jobs(observations, deadline, permit);
        let changes = self.reachable.changes();
        let sent = match (jobs.pop(), jobs.is_empty()) {
            (Some(job), true) => self.reads.send(job).is_ok(),
            (last, _) => self.batches.send(jobs.into_iter().chain(last).collect()).is_ok(),
        };
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            answers.push(if sent {
                self.answer(reply, deadline, changes).await
            } else {
                Err(IdentifyError::Unavailable)
            });
        }
        answers
    }

    /// Waits for the answer; `changes` were those of [`Reachable`] before the job was sent.
    async fn answer(&self, answer: job::Reply, deadline: Instant, changes: u64) -> Result<Answer, IdentifyError> {
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(answer)) => answer,
            // Its lane panicked, which is logged. (Past the deadline, a lane just drops it.)
            Ok(Err(_)) if !job::has_passed(deadline) => Err(IdentifyError::Internal),
            // A retry helps when it was the database, and may not when it was the deadline.
            _ if !self.reachable.get() || self.reachable.changes() != changes => Err(IdentifyError::Unavailable),
            _ => Err(IdentifyError::DeadlineExceeded),
        }
    }
}

/// Keeps [`Reachable`] right while nobody asks for anything, until the resolver is gone.
async fn watch_store<S: Store>(store: S, reachable: Reachable, resolver: mpsc::WeakUnboundedSender<Job>) {
    while resolver.upgrade().is_some() {
        match caught(store.ping()).await {
            Ok(()) => reachable.found(),
            Err(error) => reachable.lost(&error),
        }
        tokio::time::sleep(PING_EVERY).await;
    }
}
