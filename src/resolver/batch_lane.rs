//! The batch lanes read batches, whose order matters.
//!
//! A batch lane looks up a batch group by group, in order. A job that needs a write goes to the write lanes, which keep
//! the order. A later job of the batch must follow it there if it concerns the same customer. All other jobs get their
//! answer from the read, so known customers do not wait for writes.
//!
//! The tables can change between two reads of a batch. An identifier that had no owner when its job went to the write
//! lanes may belong to a customer of a later job by now. So the lane compares with everything that the customer owns by
//! the latest read.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, mpsc};

use super::admission::Permit;
use super::identity_reader::{Found, Moments};
use super::job::{BatchId, Job, ReplyReceiver};
use super::panic_guard::Worker;
use super::read_lane::ReadLane;
use super::read_queue::LookupGroup;
use crate::domain::{Identifier, Identity, Observation};
use crate::metrics::LaneKind;
use crate::store::Store;

/// Returns the jobs of a batch and the receivers of their replies.
///
/// Each job gets one place and gives it back when it is done. (With fewer places, the last jobs get them.)
pub(super) fn batch_jobs<T>(
    observations: Vec<Observation>,
    deadline: Instant,
    mut permits: Permit,
    new: impl Fn(Observation, Instant, Permit) -> (Job, ReplyReceiver<T>),
) -> (Vec<Job>, Vec<ReplyReceiver<T>>) {
    let batch = Some(BatchId::next());
    let count = observations.len();
    let job = |(ahead, observation)| {
        let (mut job, reply) = new(observation, deadline, permits.split_one(count - ahead));
        job.batch = batch;
        (job, reply)
    };
    observations.into_iter().enumerate().map(job).unzip()
}

/// One of the lanes that share a queue of batches. It reads one batch at a time.
pub(super) struct BatchLane<S> {
    /// A read lane that does not run by itself.
    pub(super) reader: ReadLane<S>,
    pub(super) queue: Arc<Mutex<mpsc::UnboundedReceiver<Vec<Job>>>>,
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

    async fn resolve(&self, jobs: Vec<Job>) {
        let mut pending = PendingIdentifiers::default();
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
            let may_answer = |job: &Job, found: Found<'_>| pending.may_answer(&job.observation, found);
            self.reader.read(group.jobs, Moments::One, may_answer).await;
        }
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
            Found::OnlyIgnored => !observation.identifiers().iter().any(|identifier| self.0.contains(identifier)),
            Found::Nothing => false,
        };
        if !may_answer {
            self.0.extend(observation.identifiers().iter().cloned());
        }
        may_answer
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

    /// A read without the latest state answers nothing, and the order holds all the same.
    #[test]
    fn what_a_read_does_not_match_is_ahead() {
        let mut pending = PendingIdentifiers::default();
        let snapshot = Snapshot::new(vec![known(1, &["a@x", "1"])]);
        assert!(!pending.may_answer(&observation(&["a@x"]), Found::Nothing));
        assert!(!may_answer(&mut pending, &["1"], &snapshot));
    }
}
