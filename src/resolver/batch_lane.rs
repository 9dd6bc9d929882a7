//! The batch lanes read batches, whose order matters.
//!
//! A batch lane looks up a batch group by group, in order. A job that needs a write goes to the write lanes, which keep
//! the order. A later job of the batch must follow it there if it concerns the same customer. All other jobs get their
//! answer from the read, so known customers do not wait for writes.
//!
//! The tables can change between two reads of a batch. An identifier that had no owner when its job went to the write
//! lanes may belong to a customer of a later job by now. So the lane compares with everything that the customer owns by
//! the latest read.
//!
//! A job with `validate_only` is never written, so it cannot follow a job ahead to the write lanes. If that job is
//! about the same customer, this one waits until it is done, and is looked up again. The rest of the batch waits with
//! it: what comes after it must not be written before it is answered.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, mpsc};

use super::admission::Permit;
use super::identity_reader::{Found, Moments, ReadResult};
use super::job::{BatchId, Job, ReplyReceiver};
use super::panic_guard::Worker;
use super::read_lane::{ReadLane, Turn};
use super::read_queue::LookupGroup;
use crate::domain::{Identifier, Identity, Observation};
use crate::metrics::LaneKind;
use crate::store::Store;

/// Returns the jobs of a batch and the receivers of their replies.
///
/// Each job gets one place and gives it back when it is done. (With fewer places, the last jobs get them.)
pub(super) fn batch_jobs<Q, T>(
    requests: Vec<Q>,
    deadline: Instant,
    mut permits: Permit,
    new: impl Fn(Q, Instant, Permit) -> (Job, ReplyReceiver<T>),
) -> (Vec<Job>, Vec<ReplyReceiver<T>>) {
    let batch = Some(BatchId::next());
    let count = requests.len();
    let job = |(ahead, request)| {
        let (mut job, reply) = new(request, deadline, permits.split_one(count - ahead));
        job.batch = batch;
        (job, reply)
    };
    requests.into_iter().enumerate().map(job).unzip()
}

/// One of the lanes that share a queue of batches. It reads one batch at a time.
pub(super) struct BatchLane<S> {
    /// A read lane that does not run by itself.
    pub(super) reader: ReadLane<S>,
    pub(super) queue: Arc<Mutex<mpsc::UnboundedReceiver<Vec<Job>>>>,
    /// The way back into the queue, for jobs that have waited.
    pub(super) to_queue: mpsc::WeakUnboundedSender<Vec<Job>>,
}

impl<S: Store> Worker for BatchLane<S> {
    async fn run(&mut self) {
        while let Some(jobs) = self.next().await {
            // All jobs of a batch have waited since it came.
            let waited = jobs.first().map(|job| job.queued.elapsed());
            self.reader.work.record_waits(LaneKind::Batch, waited.into_iter());
            self.resolve(jobs).await;
        }
    }
}

impl<S: Store> BatchLane<S> {
    async fn next(&self) -> Option<Vec<Job>> {
        self.queue.lock().await.recv().await
    }

    async fn resolve(&self, mut jobs: Vec<Job>) {
        let mut ahead = JobsAhead::default();
        let (under_way, done) = mpsc::channel(1);
        if jobs.iter().any(|job| job.validate_only) {
            jobs.iter_mut().for_each(|job| job.under_way = Some(under_way.clone()));
        }
        drop(under_way);
        let large = &self.reader.large;
        let of_large = |mut job: Job| {
            job.large = job.large.or_else(|| large.find(job.identifiers())); // Perhaps by an earlier group.
            job
        };
        let mut jobs = jobs.into_iter().map(of_large).peekable();
        while let Some(first) = jobs.next() {
            let mut group = LookupGroup::new(first);
            while let Some(job) = jobs.next_if(|job| group.has_room_for(job)) {
                group.push(job);
            }
            let turn = |job: &Job, found: Found<'_>, read: &ReadResult| ahead.turn(job, found, read);
            let mut waiting = self.reader.read(group.jobs, Moments::One, turn).await;
            if !waiting.is_empty() {
                waiting.extend(jobs);
                return self.resolve_after(done, waiting);
            }
        }
    }

    /// Sends jobs to the queue once more when the jobs ahead of them are done. No lane waits for that.
    fn resolve_after(&self, mut done: mpsc::Receiver<Infallible>, mut jobs: Vec<Job>) {
        jobs.iter_mut().for_each(|job| job.under_way = None);
        let to_queue = self.to_queue.clone();
        tokio::spawn(async move {
            let _ = done.recv().await;
            jobs.iter_mut().for_each(Job::set_queued);
            if let Some(queue) = to_queue.upgrade() {
                drop(queue.send(jobs)); // Without a lane, their callers get an error.
            }
        });
    }
}

/// The jobs of a batch that are not done when a later one is looked up.
#[derive(Default)]
struct JobsAhead {
    /// Of those in the write lanes.
    pending: PendingIdentifiers,
    /// Whether one is read under locks.
    is_read_under_locks: bool,
    /// Whether one waits.
    is_waiting: bool,
}

impl JobsAhead {
    /// Returns what becomes of the next job of the batch.
    fn turn(&mut self, job: &Job, found: Found<'_>, read: &ReadResult) -> Turn {
        let turn = match job.validate_only {
            _ if self.is_waiting => Turn::Wait,
            false if self.pending.may_answer(&job.observation, found) => Turn::Answer,
            false if self.is_read_under_locks => Turn::Wait,
            false => Turn::GoOn,
            true => self.turn_of_read(&job.observation, found, &read.snapshot.owners_of(&job.observation)),
        };
        self.is_waiting = turn == Turn::Wait;
        turn
    }

    /// The same, for a job with `validate_only` whose identifiers these identities own.
    fn turn_of_read(&mut self, observation: &Observation, found: Found<'_>, owners: &[Arc<Identity>]) -> Turn {
        let is_proof = matches!(found, Found::Owners);
        let is_behind =
            || self.pending.has_any_in(observation) || owners.iter().any(|owner| self.pending.has_any_of(owner));
        if is_proof {
            return if is_behind() { Turn::Wait } else { Turn::Answer };
        }
        // It is not known whom it is about.
        if !self.pending.is_empty() {
            return Turn::Wait;
        }
        self.is_read_under_locks = true;
        Turn::GoOn
    }
}

/// The identifiers of the jobs of a batch that went to the write lanes.
#[derive(Default)]
struct PendingIdentifiers(HashSet<Identifier>);

impl PendingIdentifiers {
    /// Returns whether the read may answer the next observation of the batch with what it found. If not, the
    /// observation goes to the write lanes, so its identifiers are added.
    fn may_answer(&mut self, observation: &Observation, found: Found<'_>) -> bool {
        let may_answer = match found {
            Found::Matched(identity) => !self.has_any_of(identity),
            // What is ignored can count when an item ahead is written.
            Found::OnlyIgnored => !self.has_any_in(observation),
            Found::Owners | Found::Nothing => false,
        };
        if !may_answer {
            self.0.extend(observation.identifiers().iter().cloned());
        }
        may_answer
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has_any_in(&self, observation: &Observation) -> bool {
        observation.identifiers().iter().any(|identifier| self.0.contains(identifier))
    }

    /// Goes through the fewer: the pending identifiers, or those of the identity. Many items may be about one identity
    /// of 10,000 contacts.
    fn has_any_of(&self, identity: &Identity) -> bool {
        if self.0.len() <= identity.contacts().len() {
            return self.0.iter().any(|identifier| identity.owns(identifier));
        }
        let mut owned = identity.contacts().iter().flat_map(|contact| contact.identifiers.iter());
        owned.any(|identifier| self.0.contains(identifier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Contact, ContactId, IdentifierKind, Link, Snapshot, Timestamp};

    fn identifier(value: &str) -> Identifier {
        let kind = if value.contains('@') { IdentifierKind::Email } else { IdentifierKind::Phone };
        Identifier::from_stored(kind, value)
    }

    fn observation(values: &[&str]) -> Observation {
        Observation::new(values.iter().map(|value| identifier(value))).unwrap()
    }

    fn known(id: i64, values: &[&str]) -> Identity {
        let identifiers = observation(values).identifiers().to_vec();
        Identity::new(vec![Contact::new(ContactId(id), identifiers, Timestamp(id), Link::Primary)]).unwrap()
    }

    fn may_answer(pending: &mut PendingIdentifiers, values: &[&str], by: &Snapshot) -> bool {
        let observation = observation(values);
        let found = match by.matched(&observation) {
            Some(identity) => Found::Matched(identity),
            None if by.ignores_all_of(&observation) => Found::OnlyIgnored,
            None => Found::Nothing,
        };
        pending.may_answer(&observation, found)
    }

    #[test]
    fn only_what_touches_something_ahead_has_to_wait() {
        let snapshot = Snapshot::new(vec![known(1, &["a@x", "1"]), known(2, &["b@x", "2"]), known(3, &["c@x", "3"])]);
        let mut pending = PendingIdentifiers::default();
        let mut may_answer = |values: &[&str]| may_answer(&mut pending, values, &snapshot);
        assert!(may_answer(&["a@x"]));
        assert!(!may_answer(&["a@x", "9"]), "brings a number");
        assert!(!may_answer(&["1"]), "its customer is about to get a number");
        assert!(may_answer(&["b@x", "2"]));
        assert!(!may_answer(&["b@x", "3"]), "a merge");
        assert!(!may_answer(&["2"]) && !may_answer(&["c@x"]), "the merged");
        assert!(!may_answer(&["new@x"]) && !may_answer(&["new@x"]));
    }

    /// The request of another caller joined them between two reads.
    #[test]
    fn whose_identifier_went_ahead_has_to_wait_by_the_latest_read() {
        let mut pending = PendingIdentifiers::default();
        let before = Snapshot::new(vec![known(1, &["a@x", "1"]), known(2, &["b@x", "2"])]);
        assert!(!may_answer(&mut pending, &["new@x"], &before));
        assert!(!may_answer(&mut pending, &["b@x", "9"], &before));
        let linked = Snapshot::new(vec![known(1, &["a@x", "1", "new@x"])]);
        assert!(!may_answer(&mut pending, &["1"], &linked));
        let merged = Snapshot::new(vec![known(3, &["c@x", "3", "b@x", "2"])]);
        assert!(!may_answer(&mut pending, &["c@x"], &merged));
    }

    /// It compares the other way round when more is ahead than the identity has.
    #[test]
    fn whose_identifier_went_ahead_has_to_wait_however_much_is_ahead() {
        let many = |id: i64| {
            let link = if id == 1 { Link::Primary } else { Link::SecondaryOf(ContactId(1)) };
            let identifiers = observation(&[&format!("{id}@x")]).identifiers().to_vec();
            Contact::new(ContactId(id), identifiers, Timestamp(id), link)
        };
        let many = Identity::new((1..=10).map(many).collect()).unwrap();
        let snapshot = Snapshot::new(vec![many, known(11, &["a@x", "1"])]);
        let mut pending = PendingIdentifiers::default();
        for number in 0..20 {
            assert!(!may_answer(&mut pending, &[&format!("new{number}@x")], &snapshot));
            assert!(may_answer(&mut pending, &["9@x"], &snapshot) && may_answer(&mut pending, &["a@x"], &snapshot));
        }
        let of_many = observation(&["3@x"]).identifiers().to_vec();
        for mut pending in [PendingIdentifiers::default(), pending] {
            pending.0.extend(of_many.iter().cloned());
            assert!(may_answer(&mut pending, &["a@x"], &snapshot));
            assert!(!may_answer(&mut pending, &["9@x"], &snapshot));
        }
    }

    /// The item ahead can be the first for which the identifier counts again.
    #[test]
    fn what_is_ignored_has_to_wait_if_it_went_ahead() {
        let till = identifier("0");
        let snapshot = Snapshot::new(vec![known(1, &["a@x"])]).with_ignored([till].into());
        let mut pending = PendingIdentifiers::default();
        assert!(may_answer(&mut pending, &["0"], &snapshot));
        assert!(may_answer(&mut pending, &["a@x", "0"], &snapshot) && may_answer(&mut pending, &["0"], &snapshot));
        assert!(!may_answer(&mut pending, &["new@x", "0"], &snapshot));
        assert!(!may_answer(&mut pending, &["0"], &snapshot));
    }

    #[test]
    fn what_is_not_written_waits_for_its_customers_and_never_overtakes_what_it_does_not_know() {
        let snapshot = Snapshot::new(vec![known(1, &["a@x", "1"]), known(2, &["b@x", "2"])]);
        let mut ahead = JobsAhead::default();
        let turn = |ahead: &mut JobsAhead, values: &[&str], found: Found<'_>| {
            let observation = observation(values);
            ahead.turn_of_read(&observation, found, &snapshot.owners_of(&observation))
        };
        assert_eq!(turn(&mut ahead, &["a@x", "new@x"], Found::Owners), Turn::Answer, "nothing is ahead");
        assert!(!may_answer(&mut ahead.pending, &["1", "new@x"], &snapshot));
        assert_eq!(turn(&mut ahead, &["b@x", "other@x"], Found::Owners), Turn::Answer);
        assert_eq!(turn(&mut ahead, &["new@x"], Found::Owners), Turn::Wait, "it is about to be somebody's");
        assert_eq!(turn(&mut ahead, &["a@x"], Found::Owners), Turn::Wait);
        assert_eq!(turn(&mut ahead, &["b@x", "a@x"], Found::Owners), Turn::Wait, "a merge");
        assert_eq!(turn(&mut ahead, &["b@x"], Found::Nothing), Turn::Wait, "nobody knows whose it is");
        let mut ahead = JobsAhead::default();
        assert_eq!(turn(&mut ahead, &["b@x"], Found::Nothing), Turn::GoOn);
        assert!(ahead.is_read_under_locks, "what is written waits for it");
    }

    /// A read without the latest state answers nothing, and the order holds all the same.
    #[test]
    fn what_a_read_does_not_match_is_ahead() {
        let mut pending = PendingIdentifiers::default();
        let snapshot = Snapshot::new(vec![known(1, &["a@x", "1"])]);
        assert!(!pending.may_answer(&observation(&["a@x"]), Found::Nothing));
        assert!(!may_answer(&mut pending, &["1"], &snapshot));
    }
}
