//! The batch lanes: read lists, whose order matters.
//!
//! A list is read piece by piece, in order, and what is not known altogether goes to the write lanes, in
//! order, which keep it. Nothing else needs the order but what touches something that the list still has
//! in the write lanes: that goes there too, behind it, and all the rest is answered from the read, so that
//! known customers do not wait for writes.
//!
//! Between two pieces the world goes on: what was nobody's, or somebody else's, when it went to the write lanes may be
//! this customer's by now. So what counts is everything that the customer owns, by the latest read.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc};

use super::job::{Job, ListId, Reply, Statement};
use super::panic_guard;
use super::read_lane::ReadLane;
use crate::domain::{Identifier, Identity, Observation};
use crate::store::Store;

/// The jobs of a list, and where their answers come. The permit is shared out among them, so that each
/// gives its part back when it is done; a list that is longer than the permit has its first jobs pay.
pub(super) fn jobs(
    observations: Vec<Observation>,
    deadline: Instant,
    mut permit: OwnedSemaphorePermit,
) -> (Vec<Job>, Vec<Reply>) {
    let mut part = || {
        let size = permit.num_permits().min(1);
        permit.split(size).unwrap_or_else(|| unreachable!("no more than there is"))
    };
    let list = Some(ListId::next());
    let job = |observation| {
        let (job, reply) = Job::new(observation, deadline, part());
        (Job { list, ..job }, reply)
    };
    observations.into_iter().map(job).unzip()
}

/// One of several lanes that share a queue of lists. Each reads one list at a time.
pub(super) struct BatchLane<S> {
    /// A read lane that does not run by itself.
    pub(super) reader: ReadLane<S>,
    pub(super) queue: Arc<Mutex<mpsc::UnboundedReceiver<Vec<Job>>>>,
}

impl<S: Store> panic_guard::Worker for BatchLane<S> {
    async fn run(&mut self) {
        while let Some(jobs) = self.next().await {
            self.resolve(jobs).await;
        }
    }
}

impl<S: Store> BatchLane<S> {
    async fn next(&self) -> Option<Vec<Job>> {
        self.queue.lock().await.recv().await
    }

    async fn resolve(&self, jobs: Vec<Job>) {
        let mut ahead = Ahead::default();
        let mut jobs = jobs.into_iter().peekable();
        while let Some(first) = jobs.next() {
            let mut piece = Statement::new(first);
            while let Some(job) = jobs.next_if(|job| piece.has_room_for(job)) {
                piece.push(job);
            }
            self.reader.read(piece.jobs, |job, matched| ahead.lets_pass(&job.observation, matched)).await;
        }
    }
}

/// The identifiers of the jobs of a list that went to the write lanes.
#[derive(Default)]
struct Ahead(HashSet<Identifier>);

impl Ahead {
    /// Whether the next observation of the list may be answered with the identity that it matched, if there is
    /// one. If not, it joins those that are ahead of the rest.
    fn lets_pass(&mut self, observation: &Observation, matched: Option<&Identity>) -> bool {
        let passes = matched.is_some_and(|identity| !self.has_any_of(identity));
        if !passes {
            self.0.extend(observation.identifiers().iter().cloned());
        }
        passes
    }

    fn has_any_of(&self, identity: &Identity) -> bool {
        let mut owned = identity.contacts().iter().flat_map(|contact| contact.identifiers.iter());
        !self.0.is_empty() && owned.any(|identifier| self.0.contains(identifier))
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
        let contact = Contact {
            id: ContactId(id),
            identifiers: observation(values).identifiers().into(),
            created_at: Timestamp(id),
            updated_at: Timestamp(id),
            link: Link::Primary,
        };
        Identity::new(vec![contact]).unwrap()
    }

    fn lets_pass(ahead: &mut Ahead, values: &[&str], by: &Snapshot) -> bool {
        let observation = observation(values);
        ahead.lets_pass(&observation, by.matched(&observation).map(AsRef::as_ref))
    }

    #[test]
    fn only_what_touches_something_ahead_has_to_wait() {
        let snapshot = Snapshot::new(vec![known(1, &["a@x", "1"]), known(2, &["b@x", "2"]), known(3, &["c@x", "3"])]);
        let mut ahead = Ahead::default();
        let mut passes = |values: &[&str]| lets_pass(&mut ahead, values, &snapshot);
        assert!(passes(&["a@x"]));
        assert!(!passes(&["a@x", "9"]), "brings a number");
        assert!(!passes(&["1"]), "its customer is about to get a number");
        assert!(passes(&["b@x", "2"]));
        assert!(!passes(&["b@x", "3"]), "a merge");
        assert!(!passes(&["2"]) && !passes(&["c@x"]), "the merged");
        assert!(!passes(&["new@x"]) && !passes(&["new@x"]));
    }

    /// Somebody else's request joined them between two reads.
    #[test]
    fn whose_identifier_went_ahead_has_to_wait_by_the_latest_read() {
        let mut ahead = Ahead::default();
        let before = Snapshot::new(vec![known(1, &["a@x", "1"]), known(2, &["b@x", "2"])]);
        assert!(!lets_pass(&mut ahead, &["new@x"], &before));
        assert!(!lets_pass(&mut ahead, &["b@x", "9"], &before));
        let linked = Snapshot::new(vec![known(1, &["a@x", "1", "new@x"])]);
        assert!(!lets_pass(&mut ahead, &["1"], &linked));
        let merged = Snapshot::new(vec![known(3, &["c@x", "3", "b@x", "2"])]);
        assert!(!lets_pass(&mut ahead, &["c@x"], &merged));
    }

    /// Where a read does not have the latest, nothing passes, and the order is kept all the same.
    #[test]
    fn what_a_read_does_not_match_is_ahead() {
        let mut ahead = Ahead::default();
        let snapshot = Snapshot::new(vec![known(1, &["a@x", "1"])]);
        assert!(!ahead.lets_pass(&observation(&["a@x"]), None));
        assert!(!lets_pass(&mut ahead, &["1"], &snapshot));
    }
}
