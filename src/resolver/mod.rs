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
//! | `identify`, `request` | the trait that the APIs call, and what they ask for |
//! | `admission` | which requests get into the service, by two rules: |
//! | `queue_delay`, `fair_share`; `reservation` | how many, by their wait; whose; places of calls without a body |
//! | `lanes` | the ways into the lanes, and the wait for a reply |
//! | `large_identities` | which jobs must not share a statement with others |
//! | `read_queue`, `read_lane` | groups of requests, and the look-up that answers known customers |
//! | `identity_reader`, `cache` | reads by version, and the copies in memory that they compare |
//! | `batch_lane` | the look-up of batches, whose order matters |
//! | `graph/` | reads by id, lists, and reads of the past |
//! | `write_queue`, `key_reservation` | which requests may run side by side |
//! | `write_lane`, `refused_alone` | retries, splits and lock waits |
//! | `write_transaction`, `written_copies` | one transaction, the lock protocol, and copies of what it has written |
//! | `attempts`, `backoff`; `aside` | when a read or a transaction is tried again; long work beside the async workers |
//! | `fault_log`, `batch_span` | a line a minute for a fault of the database; traces of look-ups and transactions |
//!
//! In the process of `serve`, no other module writes contacts. `verify --repair`, `ignore`, `adopt`, `import` and
//! `bench seed` write them too, each in a process of its own: `docs/architecture.md` says what keeps them apart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};

use crate::domain::graph::{SetName, SetNotes};
use crate::domain::{Answer, ContactId, Identifier, Identity, LookUp, Observation, Timestamp};
use crate::metrics::{LaneKind, Metrics};
use crate::settings::{CacheSettings, QueueSettings};
use crate::store::{HistoryRead, Store, StoreError};
use crate::traces::RequestTrace;

mod admission;
mod aside;
mod attempts;
mod backoff;
mod batch_lane;
mod batch_span;
mod cache;
mod caller;
mod database_health;
mod deadline;
mod error;
mod fair_share;
mod fault_log;
mod graph;
mod identify;
mod identity_reader;
mod job;
mod key_reservation;
mod lanes;
mod large_identities;
mod panic_guard;
mod ping;
mod queue_delay;
mod read_lane;
mod read_queue;
mod recent_identifiers;
mod refused_alone;
mod request;
mod reservation;
mod write_lane;
mod write_queue;
mod write_transaction;
mod written_copies;

pub use caller::Caller;
pub use database_health::DatabaseState;
pub use error::IdentifyError;
pub use graph::{IdentityPage, PastLookUp, ReadGraph};
pub use identify::{Admitted, Answers, Identify, Reserved};
pub use request::IdentifyRequest;

use admission::{Admission, Permit};
use batch_lane::{BatchLane, batch_jobs};
use cache::IdentityCache;
use database_health::DatabaseHealth;
use deadline::deadline_after;
use graph::{GraphJob, GraphLane, GraphQueue, GraphRead, HistoryQuery, IdReader, LargeContacts, PageQuery, PastQuery};
use identity_reader::IdentityReader;
use job::{Job, Owner};
use lanes::{Lanes, MAX_SINGLE_LOOK_UPS, MAX_SINGLES_OF_BATCH};
use large_identities::LargeIdentities;
use ping::ping_database;
use read_lane::{MAX_SECOND_LOOKUPS, ReadLane};
use read_queue::ReadQueue;
use recent_identifiers::RecentIdentifiers;
use write_lane::{MAX_LOCK_WAITS, WriteLane};
use write_queue::WriteQueue;

/// Lanes for single requests. A read waits behind a write only if the read is not enough for an answer
/// ([`LookupResult`](crate::store::LookupResult)).
///
/// Each look-up and each transaction has a connection of its own. At once there are at most 8 look-ups of lanes (one
/// lane of each kind is for large identities), [`MAX_SECOND_LOOKUPS`], 2 transactions of write lanes, 2 that wait for a
/// lock ([`MAX_LOCK_WAITS`]), a ping, and 6 reads of [`GRAPH_LANES`], [`HISTORY_LANES`] and of the two lanes beside
/// them: 21. With fewer connections, some of them wait for one.
const READ_LANES: usize = 4;

/// Lanes for reads by id. One more is for large identities, and one for lists: no other read waits for those.
const GRAPH_LANES: usize = 2;

/// Lanes for reads of the past. Each has a history in memory, and works with it on a thread of its own.
const HISTORY_LANES: usize = 2;

/// Lanes for batches, beside the read lanes. So a single request does not wait for a long batch.
const BATCH_LANES: usize = 2;

/// The resolver over a store. Clones share its lanes, which end with the last clone.
#[derive(Clone, Debug)]
pub struct Resolver {
    lanes: Arc<Lanes>,
    /// Whose requests it takes.
    caller: Caller,
    /// The trace that they belong to.
    trace: RequestTrace,
}

impl Resolver {
    /// Starts the lanes over a store, on the current tokio runtime.
    pub fn start<S: Store>(store: S, settings: QueueSettings, cache: CacheSettings) -> Self {
        Self::start_after(Ok(()), store, settings, cache, &Metrics::default())
    }

    /// Starts the lanes over a store that was pinged, so that the first probe hears the truth.
    pub fn start_after<S: Store>(
        ping: Result<(), StoreError>,
        store: S,
        settings: QueueSettings,
        cache: CacheSettings,
        metrics: &Metrics,
    ) -> Self {
        let cache = IdentityCache::new(&cache);
        let work = metrics.work();
        let (to_write, write_queue) = mpsc::unbounded_channel();
        let database = DatabaseHealth::new();
        database.record_ping(ping);
        let admission = Admission::new(&settings, work.clone());
        let large = LargeIdentities::default();
        let large_turn = Arc::default();
        let second_lookups = Arc::new(Semaphore::new(MAX_SECOND_LOOKUPS));
        let large_contacts = LargeContacts::default();
        let start_graph_lanes = |lanes: usize, to_large: Option<&GraphQueue>| {
            let (to_lane, queue) = mpsc::unbounded_channel();
            let queue = Arc::new(Mutex::new(queue));
            for _ in 0..lanes {
                panic_guard::spawn(GraphLane {
                    reader: IdReader { store: store.clone(), cache: cache.clone() },
                    queue: Arc::clone(&queue),
                    to_large: to_large.cloned(),
                    large: large_contacts.clone(),
                    database: database.clone(),
                    work: work.clone(),
                });
            }
            to_lane
        };
        let large_to_graph = start_graph_lanes(1, None);
        let to_graph = start_graph_lanes(GRAPH_LANES, Some(&large_to_graph));
        let to_list = start_graph_lanes(1, Some(&large_to_graph));
        let to_history = start_graph_lanes(HISTORY_LANES, None);
        let start_lanes = |read_lanes: usize, batch_lanes: usize, to_large: Option<&mpsc::UnboundedSender<Job>>| {
            let (to_read, read_queue) = mpsc::unbounded_channel();
            let (to_batch, batch_queue) = mpsc::unbounded_channel();
            let read_queue = Arc::new(Mutex::new(ReadQueue::new(read_queue)));
            let batch_queue = Arc::new(Mutex::new(batch_queue));
            let to_batch_again = to_batch.downgrade();
            let read_lane = |kind: LaneKind, to_large: Option<&mpsc::UnboundedSender<Job>>| ReadLane {
                reader: IdentityReader { store: store.clone(), cache: cache.clone() },
                queue: Arc::clone(&read_queue),
                to_write: to_write.clone(),
                to_graph: to_graph.clone(),
                to_large: to_large.cloned(),
                database: database.clone(),
                admission: admission.clone(),
                large: large.clone(),
                large_turn: Arc::clone(&large_turn),
                second_lookups: Arc::clone(&second_lookups),
                max_contacts: settings.max_contacts,
                kind,
                work: work.clone(),
            };
            for _ in 0..read_lanes {
                panic_guard::spawn(read_lane(LaneKind::Read, to_large));
            }
            for _ in 0..batch_lanes {
                panic_guard::spawn(BatchLane {
                    reader: read_lane(LaneKind::Batch, None),
                    queue: Arc::clone(&batch_queue),
                    to_queue: to_batch_again.clone(),
                });
            }
            (to_read, to_batch)
        };
        let (large_to_read, large_to_batch) = start_lanes(1, 1, None);
        let (to_read, to_batch) = start_lanes(READ_LANES, BATCH_LANES, Some(&large_to_read));
        let write_lane = WriteLane {
            store: store.clone(),
            queue: Arc::new(Mutex::new(WriteQueue::new(write_queue, settings.transaction_size))),
            database: database.clone(),
            admission: admission.clone(),
            recent: RecentIdentifiers::default(),
            cache: cache.clone(),
            lock_waits: Arc::new(Semaphore::new(MAX_LOCK_WAITS)),
            max_contacts: settings.max_contacts,
            work,
        };
        for _ in 0..store.writers() {
            panic_guard::spawn(write_lane.clone());
        }
        tokio::spawn(ping_database(store, database.clone(), to_read.downgrade()));
        let lanes = Lanes {
            to_read,
            to_batch,
            large_to_read,
            large_to_batch,
            to_graph,
            large_to_graph,
            to_list,
            to_history,
            large,
            large_contacts,
            admission,
            database,
        };
        Self { lanes: Arc::new(lanes), caller: Caller::default(), trace: RequestTrace::default() }
    }

    /// Returns a receiver that says whether the database can be used.
    pub fn database_state(&self) -> watch::Receiver<DatabaseState> {
        self.lanes.database.subscribe()
    }
}

impl Identify for Resolver {
    fn for_caller(&self, caller: Caller) -> Self {
        Self { lanes: Arc::clone(&self.lanes), caller, trace: self.trace.clone() }
    }

    fn in_trace(self, trace: RequestTrace) -> Self {
        Self { trace, ..self }
    }

    fn reserve(&self, caller: Caller, deadline: Instant) -> Result<Reserved, IdentifyError> {
        Ok(Reserved(Some(self.lanes.admission.try_reserve(caller, deadline)?)))
    }

    async fn identify(&self, request: IdentifyRequest, deadline: Instant) -> Result<Answer, IdentifyError> {
        self.identify_reserved(Reserved::default(), request, deadline).await
    }

    async fn identify_reserved(
        &self,
        reserved: Reserved,
        request: IdentifyRequest,
        deadline: Instant,
    ) -> Result<Answer, IdentifyError> {
        let permit = self.lanes.admission.try_admit(reserved.0, self.caller, 1, deadline)?;
        let (mut job, reply) = Job::new(request, deadline, permit);
        job.trace = self.trace.clone();
        let changes = self.lanes.database.changes();
        if !self.lanes.send(job) {
            return Err(IdentifyError::Unavailable);
        }
        self.lanes.wait_for_reply(reply, deadline, changes).await
    }

    async fn admit(&self, reserved: Reserved, requests: usize, deadline: Instant) -> Result<Admitted, IdentifyError> {
        Ok(Admitted(Some(self.lanes.admission.try_admit(reserved.0, self.caller, requests, deadline)?)))
    }

    async fn identify_admitted(
        &self,
        admitted: Admitted,
        requests: Vec<IdentifyRequest>,
        deadline: Instant,
    ) -> Answers {
        match admitted {
            Admitted(Some(permit)) => self.resolve(requests, deadline, permit).await,
            Admitted(None) => vec![Err(IdentifyError::Internal); requests.len()], // Not from this resolver.
        }
    }

    async fn identify_in_turn(&self, requests: Vec<IdentifyRequest>, timeout: Duration) -> Answers {
        let permits = self.lanes.admission.admit(self.caller, requests.len()).await;
        self.resolve(requests, deadline_after(timeout), permits).await
    }
}

impl ReadGraph for Resolver {
    async fn identity_of(
        &self,
        reserved: Reserved,
        contact: ContactId,
        deadline: Instant,
    ) -> Result<Option<Arc<Identity>>, IdentifyError> {
        let permit = self.lanes.admission.try_admit(reserved.0, self.caller, 1, deadline)?;
        let (job, reply) = GraphJob::new(contact, deadline, permit, self.trace.clone());
        let is_large = self.lanes.large_contacts.has(contact);
        let lane = if is_large { &self.lanes.large_to_graph } else { &self.lanes.to_graph };
        self.lanes.read_graph(lane, GraphRead::Identity(job), reply, deadline).await
    }

    async fn look_up(
        &self,
        reserved: Reserved,
        identifiers: Vec<Identifier>,
        deadline: Instant,
    ) -> Result<LookUp, IdentifyError> {
        let permits = self.lanes.admission.try_admit(reserved.0, self.caller, identifiers.len(), deadline)?;
        let one_each = identifiers.iter().map(|identifier| Observation::new([identifier.clone()]));
        let observations: Vec<Observation> = one_each.filter_map(Result::ok).collect();
        let jobs = batch_jobs(observations, deadline, permits, Job::look_up);
        let mut owners = Vec::with_capacity(identifiers.len());
        for owner in self.lanes.reply_to_all(jobs, MAX_SINGLE_LOOK_UPS, deadline, &self.trace).await {
            owners.push(match owner? {
                Owner::Identity(identity) => Some(identity),
                Owner::Nobody => None,
                Owner::Unproven => return self.look_up_locked(identifiers, deadline).await,
            });
        }
        Ok(LookUp::new(identifiers.into_iter().zip(owners).collect()))
    }

    async fn look_up_at(
        &self,
        reserved: Reserved,
        identifiers: Vec<Identifier>,
        at: Timestamp,
        deadline: Instant,
    ) -> Result<PastLookUp, IdentifyError> {
        let permits = self.lanes.admission.try_admit(reserved.0, self.caller, identifiers.len(), deadline)?;
        let query = PastQuery { identifiers, at, deadline };
        let (job, reply) = GraphJob::new(query, deadline, Some(permits), self.trace.clone());
        self.lanes.read_graph(&self.lanes.to_history, GraphRead::PastOwners(job), reply, deadline).await
    }

    async fn read_history<T, F>(
        &self,
        reserved: Reserved,
        contact: ContactId,
        deadline: Instant,
        work: F,
    ) -> Result<T, IdentifyError>
    where
        T: Send + 'static,
        F: FnOnce(HistoryRead) -> T + Send + Sync + 'static,
    {
        let permit = self.lanes.admission.try_admit(reserved.0, self.caller, 1, deadline)?;
        let (keep, mut kept) = oneshot::channel();
        let work = Box::new(move |read| drop(keep.send(work(read)))); // The caller may be gone.
        let query = HistoryQuery { contact, work: Some(work) };
        let (job, reply) = GraphJob::new(query, deadline, Some(permit), self.trace.clone());
        self.lanes.read_graph(&self.lanes.to_history, GraphRead::History(job), reply, deadline).await?;
        kept.try_recv().map_err(|_| IdentifyError::Internal) // It was sent before the reply.
    }

    async fn notes_of(&self, sets: Vec<SetName>, deadline: Instant) -> Result<SetNotes, IdentifyError> {
        self.lanes.notes_of(sets, deadline, self.trace.clone()).await
    }

    async fn list_identities(
        &self,
        reserved: Reserved,
        after: Option<ContactId>,
        limit: usize,
        deadline: Instant,
    ) -> Result<IdentityPage, IdentifyError> {
        let permit = self.lanes.admission.try_admit(reserved.0, self.caller, 1, deadline)?;
        let query = PageQuery { after, limit };
        let (job, reply) = GraphJob::new(query, deadline, permit, self.trace.clone());
        self.lanes.read_graph(&self.lanes.to_list, GraphRead::Page(job), reply, deadline).await
    }
}

impl Resolver {
    async fn resolve(&self, requests: Vec<IdentifyRequest>, deadline: Instant, permits: Permit) -> Answers {
        let jobs = batch_jobs(requests, deadline, permits, Job::new);
        self.lanes.reply_to_all(jobs, MAX_SINGLES_OF_BATCH, deadline, &self.trace).await
    }

    /// Looks up who owns these identifiers under locks: one server of several that take writes proves nothing. The
    /// look-up before has given its places back, so this one asks for places as any other request.
    async fn look_up_locked(&self, identifiers: Vec<Identifier>, deadline: Instant) -> Result<LookUp, IdentifyError> {
        let permit = self.lanes.admission.try_admit(None, self.caller, identifiers.len(), deadline)?;
        let (job, reply) = GraphJob::new(identifiers.clone(), deadline, permit, self.trace.clone());
        let read = self.lanes.read_graph(&self.lanes.to_graph, GraphRead::Owners(job), reply, deadline);
        Ok(LookUp::new(identifiers.into_iter().zip(read.await?).collect()))
    }
}
