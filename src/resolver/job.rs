use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::admission::Permit;
use super::deadline::has_passed;
use super::error::IdentifyError;
use super::large_identities::LargeRoot;
use super::request::IdentifyRequest;
use crate::domain::{Answer, Identifier, Identity, Observation, Outcome};
use crate::store::{Epoch, StoreError};
use crate::traces::RequestTrace;

/// One request on its way through the lanes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) observation: Observation,
    /// It is never written: see [`preview`](crate::domain::preview()).
    pub(super) validate_only: bool,
    pub(super) deadline: Instant,
    reply: ReplyTo,
    /// The identities that owned some of its identifiers at the read.
    pub(super) owners: Vec<Arc<Identity>>,
    /// The identifiers that had an owner at the read.
    pub(super) owned: Vec<Identifier>,
    /// The identifiers that were ignored at the read.
    pub(super) ignored: Vec<Identifier>,
    /// The epoch of that read ([`Store::epoch`](crate::store::Store::epoch)).
    pub(super) epoch: Option<Epoch>,
    /// When the contacts of the owners were read, at the earliest: they can be copies from the cache.
    pub(super) read_at: Option<tokio::time::Instant>,
    /// The batch that it belongs to.
    pub(super) batch: Option<BatchId>,
    /// Jobs behind it in its batch wait until it is dropped.
    pub(super) under_way: Option<UnderWay>,
    /// The large identity that the job is about, if it is known. Of the jobs about others, it shares a statement only
    /// with those of its batch.
    pub(super) large: Option<LargeRoot>,
    /// Since when it waits in its present queue.
    pub(super) queued: tokio::time::Instant,
    /// Its place in a trace.
    pub(super) trace: RequestTrace,
    /// The trace has the wait in its present queue.
    pub(super) is_wait_recorded: bool,
    permit: Permit,
}

/// Identifies a caller's batch. The order of its jobs matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BatchId(u64);

impl BatchId {
    /// Returns a new id, which no other batch of this process has.
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Kept by jobs that others wait for. Its receiver hears when the last one is dropped, and nothing else.
pub(super) type UnderWay = mpsc::Sender<std::convert::Infallible>;

/// Receives the reply to a job.
pub(super) type ReplyReceiver<T = Answer> = oneshot::Receiver<Result<T, IdentifyError>>;

/// Where the reply to a job goes.
#[derive(Debug)]
enum ReplyTo {
    Identify(oneshot::Sender<Result<Answer, IdentifyError>>),
    LookUp(oneshot::Sender<Result<Owner, IdentifyError>>),
}

/// Who owns the identifier of a look-up.
#[derive(Clone, Debug)]
pub(super) enum Owner {
    Identity(Arc<Identity>),
    Nobody,
    /// The read proves nothing: it has to be read again, under locks.
    Unproven,
}

impl Job {
    /// Returns a new job, and the receiver of its reply.
    pub(super) fn new(request: IdentifyRequest, deadline: Instant, permit: Permit) -> (Self, ReplyReceiver) {
        let (reply, receiver) = oneshot::channel();
        let IdentifyRequest { observation, validate_only } = request;
        let job = Self::with_reply(observation, deadline, permit, ReplyTo::Identify(reply));
        (Self { validate_only, ..job }, receiver)
    }

    /// Returns a job that only asks who owns its one identifier, and the receiver of its reply. It never needs a write.
    pub(super) fn look_up(observation: Observation, deadline: Instant, permit: Permit) -> (Self, ReplyReceiver<Owner>) {
        debug_assert_eq!(observation.identifiers().len(), 1, "each identifier has an owner of its own");
        let (reply, receiver) = oneshot::channel();
        (Self::with_reply(observation, deadline, permit, ReplyTo::LookUp(reply)), receiver)
    }

    fn with_reply(observation: Observation, deadline: Instant, permit: Permit, reply: ReplyTo) -> Self {
        let (owners, owned, ignored, batch, large, epoch, read_at, trace, is_wait_recorded) = Default::default();
        let (validate_only, under_way) = Default::default();
        let queued = tokio::time::Instant::now();
        Self {
            observation,
            validate_only,
            deadline,
            reply,
            owners,
            owned,
            ignored,
            epoch,
            read_at,
            batch,
            under_way,
            large,
            queued,
            trace,
            is_wait_recorded,
            permit,
        }
    }

    /// Returns whether it only asks who owns its identifier.
    pub(super) fn is_look_up(&self) -> bool {
        matches!(self.reply, ReplyTo::LookUp(_))
    }

    /// Returns whether the caller still waits. A job without a waiting caller must not cost a statement.
    pub(super) fn is_wanted(&self) -> bool {
        let is_closed = match &self.reply {
            ReplyTo::Identify(reply) => reply.is_closed(),
            ReplyTo::LookUp(reply) => reply.is_closed(),
        };
        !is_closed && !has_passed(self.deadline)
    }

    /// What was ignored at the read may count by now: it has to be read again.
    pub(super) fn forget_ignored(&mut self) {
        self.owned.append(&mut self.ignored);
    }

    /// It waits in another queue from now on.
    pub(super) fn set_queued(&mut self) {
        (self.queued, self.is_wait_recorded) = (tokio::time::Instant::now(), false);
    }

    pub(super) fn identifiers(&self) -> &[Identifier] {
        self.observation.identifiers()
    }

    /// Sends the reply.
    pub(super) fn reply(mut self, result: Result<Answer, IdentifyError>) {
        // An outage is no work done.
        if !matches!(result, Err(IdentifyError::Unavailable)) {
            let outcome = result.as_ref().ok().map(|answer| answer.outcome);
            self.permit.set_answered(outcome.filter(|_| !self.validate_only));
        }
        // The caller may be gone.
        match self.reply {
            ReplyTo::Identify(reply) => drop(reply.send(result)),
            // The lanes answer a look-up by `reply_owner`, and by errors.
            ReplyTo::LookUp(reply) => drop(reply.send(result.map(|_| Owner::Unproven))),
        }
    }

    /// Sends the reply to a look-up.
    pub(super) fn reply_owner(mut self, owner: Owner) {
        self.permit.set_answered(None);
        match self.reply {
            ReplyTo::LookUp(reply) => drop(reply.send(Ok(owner))),
            ReplyTo::Identify(reply) => drop(reply.send(Err(IdentifyError::Internal))), // It is no look-up.
        }
    }

    /// Replies with the identity that owns all identifiers of the job but for the ignored ones.
    pub(super) fn reply_matched(self, identity: &Arc<Identity>, ignored: Vec<Identifier>) {
        self.reply(Ok(Answer { outcome: Outcome::Matched, identity: Arc::clone(identity).into(), ignored }));
    }
}

/// Returns since when each of these jobs waits in its queue. A job of a batch also waits for the jobs before it, so it
/// says nothing about the queue and is left out.
pub(super) fn queued(jobs: &[Job]) -> impl Iterator<Item = tokio::time::Instant> + Clone {
    jobs.iter().filter(|job| job.batch.is_none()).map(|job| job.queued)
}

/// Sends the same error to all jobs.
pub(super) fn reply_error(jobs: Vec<Job>, error: &StoreError) {
    jobs.into_iter().for_each(|job| job.reply(Err(error.into())));
}

/// Returns the identifiers of the jobs that `include` accepts: sorted, each once.
pub(super) fn sorted_identifiers(jobs: &[Job], include: impl Fn(&Job, &Identifier) -> bool) -> Vec<Identifier> {
    let included = |job| Job::identifiers(job).iter().filter(|identifier| include(job, identifier));
    let mut identifiers: Vec<Identifier> = jobs.iter().flat_map(included).cloned().collect();
    identifiers.sort();
    identifiers.dedup();
    identifiers
}
