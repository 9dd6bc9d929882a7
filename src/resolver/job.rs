use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time;

use super::IdentifyError;
use crate::domain::{Answer, Identifier, Identity, Observation, Outcome};
use crate::store::{MAX_LOOKUP, StoreError};

/// A request under way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) observation: Observation,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Answer, IdentifyError>>,
    /// The identities that owned any of its identifiers when a read looked, and those identifiers.
    pub(super) owners: Vec<Arc<Identity>>,
    pub(super) owned: Vec<Identifier>,
    /// The list that it is of.
    pub(super) list: Option<ListId>,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// A list, whose order matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ListId(u64);

impl ListId {
    /// Another one each time.
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What the caller of a job waits on.
pub(super) type Reply = oneshot::Receiver<Result<Answer, IdentifyError>>;

impl Job {
    /// A job that nobody has looked at yet.
    pub(super) fn new(observation: Observation, deadline: Instant, permit: OwnedSemaphorePermit) -> (Self, Reply) {
        let (reply, answer) = oneshot::channel();
        let (owners, owned, list) = Default::default();
        (Self { observation, deadline, reply, owners, owned, list, _permit: permit }, answer)
    }

    /// Whether somebody still waits for the answer. What nobody waits for does not cost a statement.
    pub(super) fn is_wanted(&self) -> bool {
        !self.reply.is_closed() && !has_passed(self.deadline)
    }

    pub(super) fn identifiers(&self) -> &[Identifier] {
        self.observation.identifiers()
    }

    /// Answers it with the identity that owns all of its identifiers.
    pub(super) fn matched(self, identity: &Arc<Identity>) {
        self.answer(Ok(Answer { outcome: Outcome::Matched, identity: Arc::clone(identity) }));
    }

    pub(super) fn answer(self, answer: Result<Answer, IdentifyError>) {
        let _ = self.reply.send(answer); // The caller may have left.
    }
}

/// Whether it is later than that, by the clock of the timers.
pub(super) fn has_passed(deadline: Instant) -> bool {
    time::Instant::now().into_std() >= deadline
}

/// The moment that is so much later than now, by the same clock.
pub(super) fn after(timeout: Duration) -> Instant {
    (time::Instant::now() + timeout).into_std()
}

/// Those identifiers of the jobs that are wanted, sorted, each once.
pub(super) fn identifiers(jobs: &[Job], is_wanted: impl Fn(&Job, &Identifier) -> bool) -> Vec<Identifier> {
    let of = |job| Job::identifiers(job).iter().filter(|identifier| is_wanted(job, identifier));
    let mut identifiers: Vec<Identifier> = jobs.iter().flat_map(of).cloned().collect();
    identifiers.sort();
    identifiers.dedup();
    identifiers
}

/// The jobs of one statement that looks their identifiers up, of which it takes [`MAX_LOOKUP`].
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) jobs: Vec<Job>,
    /// How many more identifiers it takes.
    room: usize,
}

impl Statement {
    /// One that begins with this job, however large it is.
    pub(super) fn new(first: Job) -> Self {
        let room = MAX_LOOKUP.saturating_sub(first.identifiers().len());
        Self { jobs: vec![first], room }
    }

    pub(super) fn is_full(&self) -> bool {
        self.room == 0
    }

    pub(super) fn has_room_for(&self, job: &Job) -> bool {
        job.identifiers().len() <= self.room
    }

    pub(super) fn push(&mut self, job: Job) {
        self.room = self.room.saturating_sub(job.identifiers().len());
        self.jobs.push(job);
    }
}

/// Answers all of them alike.
pub(super) fn fail(jobs: Vec<Job>, error: &StoreError) {
    jobs.into_iter().for_each(|job| job.answer(Err(error.into())));
}
