use std::time::Instant;

use tokio::sync::mpsc;

use super::admission::Admission;
use super::database_health::DatabaseHealth;
use super::deadline::has_passed;
use super::error::IdentifyError;
use super::graph::{GraphJob, GraphQueue, GraphRead, LargeContacts};
use super::job::{Job, ReplyReceiver};
use super::large_identities::LargeIdentities;
use crate::domain::graph::{SetName, SetNotes};
use crate::traces::RequestTrace;

/// A batch of one job has no order, so it goes with the single requests.
pub(super) const MAX_SINGLES_OF_BATCH: usize = 1;

/// Look-ups have no order. So those of a small call go with the single requests.
pub(super) const MAX_SINGLE_LOOK_UPS: usize = 8;

/// The ways into the lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) to_read: mpsc::UnboundedSender<Job>,
    pub(super) to_batch: mpsc::UnboundedSender<Vec<Job>>,
    /// For requests about large identities, and for batches with such requests.
    pub(super) large_to_read: mpsc::UnboundedSender<Job>,
    pub(super) large_to_batch: mpsc::UnboundedSender<Vec<Job>>,
    /// For reads by id, and for look-ups under locks.
    pub(super) to_graph: GraphQueue,
    /// For those of large identities.
    pub(super) large_to_graph: GraphQueue,
    /// For pages of all identities.
    pub(super) to_list: GraphQueue,
    /// For reads of the past.
    pub(super) to_history: GraphQueue,
    pub(super) large: LargeIdentities,
    pub(super) large_contacts: LargeContacts,
    pub(super) admission: Admission,
    pub(super) database: DatabaseHealth,
}

impl Lanes {
    /// Sends a read to its lane, and waits for the reply.
    pub(super) async fn read_graph<T>(
        &self,
        lane: &GraphQueue,
        read: GraphRead,
        reply: ReplyReceiver<T>,
        deadline: Instant,
    ) -> Result<T, IdentifyError> {
        let changes = self.database.changes();
        if lane.send(read).is_err() {
            return Err(IdentifyError::Unavailable);
        }
        self.wait_for_reply(reply, deadline, changes).await
    }

    /// Reads the notes of sets. The call has its permit elsewhere.
    pub(super) async fn notes_of(
        &self,
        sets: Vec<SetName>,
        deadline: Instant,
        trace: RequestTrace,
    ) -> Result<SetNotes, IdentifyError> {
        let (job, reply) = GraphJob::new(sets, deadline, None, trace);
        self.read_graph(&self.to_graph, GraphRead::Notes(job), reply, deadline).await
    }

    /// Sends a job to the read lane for its identity. Returns whether there is one.
    pub(super) fn send(&self, mut job: Job) -> bool {
        job.large = self.large.find(job.identifiers());
        let to_read = if job.large.is_some() { &self.large_to_read } else { &self.to_read };
        to_read.send(job).is_ok()
    }

    /// Sends a batch to the batch lanes.
    fn send_batch(&self, mut jobs: Vec<Job>) -> bool {
        jobs.iter_mut().for_each(|job| job.large = self.large.find(job.identifiers()));
        let is_any_large = jobs.iter().any(|job| job.large.is_some());
        let to_batch = if is_any_large { &self.large_to_batch } else { &self.to_batch };
        to_batch.send(jobs).is_ok()
    }

    /// Sends the jobs of a call and waits for all replies. At most `max_singles` of them go with the single requests,
    /// whose statements they share. More are a batch, which has an order and holds up no single request.
    pub(super) async fn reply_to_all<T>(
        &self,
        (mut jobs, replies): (Vec<Job>, Vec<ReplyReceiver<T>>),
        max_singles: usize,
        deadline: Instant,
        trace: &RequestTrace,
    ) -> Vec<Result<T, IdentifyError>> {
        jobs.iter_mut().for_each(|job| job.trace = trace.clone());
        let changes = self.database.changes();
        let is_sent =
            if jobs.len() <= max_singles { jobs.into_iter().all(|job| self.send(job)) } else { self.send_batch(jobs) };
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
    pub(super) async fn wait_for_reply<T>(
        &self,
        reply: ReplyReceiver<T>,
        deadline: Instant,
        changes: u64,
    ) -> Result<T, IdentifyError> {
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
