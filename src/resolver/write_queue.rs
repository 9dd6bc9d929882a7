//! The queue of the write lanes.
//!
//! Lanes write side by side. Two of them must not work on the same customer: they would wait for each other's locks,
//! and the order of batches would be lost. So each running group of jobs reserves its keys ([`Key`]). A job waits if it
//! shares a key with a running group or with an earlier waiting job. All other waiting jobs go to the next free lane
//! together.
//!
//! A group is about one large identity (and has other jobs of the same batch), or about none. The transaction of a
//! large one takes long. One such group runs at a time. It takes a lane, but does not count as a running one: the other
//! jobs do not gather because of it, and take the next free lane at once. With one lane (SQLite) they wait for it.
//!
//! A second lane starts when there are enough jobs for two, or when the first lane takes long. Jobs that a locked row
//! blocks leave their lane. They keep a reservation of their own, so they delay only the jobs that share a key with
//! them.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::job::Job;
use super::key_reservation::{Holder, Key, KeyReservation, Released, keys_of};
use super::large_identities::LargeRoot;
/// Minimum jobs for a transaction beside a running one. Fewer jobs wait for its end.
///
/// Lanes side by side make smaller groups. Besides, a MySQL commit beside another one sometimes takes 100 ms
/// (docs/benchmarks.md).
const MIN_JOBS_FOR_ANOTHER_LANE: usize = 64;

/// Maximum time that fewer jobs wait while a lane runs. A lane that waits for locks must not block the rest.
const MAX_GATHER_TIME: Duration = Duration::from_millis(20);

/// Jobs that wait for a write lane. All write lanes share it.
pub(super) struct WriteQueue {
    /// Maximum jobs in one transaction.
    max_jobs: usize,
    arriving: mpsc::UnboundedReceiver<Job>,
    /// Reservations that ended.
    released: mpsc::UnboundedReceiver<Released>,
    release: mpsc::UnboundedSender<Released>,
    /// Without the one that has a large identity.
    running_lanes: usize,
    /// Whether a group about a large identity runs.
    is_large_running: bool,
    /// The keys of all reservations.
    reserved: HashSet<Key>,
    /// Jobs that must wait, in order.
    waiting: VecDeque<Job>,
    waiting_keys: HashSet<Key>,
}

impl WriteQueue {
    pub(super) fn new(arriving: mpsc::UnboundedReceiver<Job>, max_jobs: usize) -> Self {
        let (release, released) = mpsc::unbounded_channel();
        let (running_lanes, is_large_running, reserved, waiting, waiting_keys) = Default::default();
        Self { max_jobs, arriving, released, release, running_lanes, is_large_running, reserved, waiting, waiting_keys }
    }

    /// Returns the jobs for one transaction and their reservation. Returns `None` when the resolver is gone.
    ///
    /// It returns at once if no lane runs. Otherwise it returns when the lanes are done, or when there are enough jobs
    /// for another lane.
    pub(super) async fn next(&mut self) -> Option<(Vec<Job>, KeyReservation)> {
        let mut group = Vec::new();
        self.retry_waiting(&mut group);
        self.take_arrived(&mut group);
        while group.is_empty() {
            self.wait(&mut group).await?;
        }
        let gather = async {
            let is_large = large_root(&group).is_some();
            while !is_large && self.running_lanes > 0 && group.len() < MIN_JOBS_FOR_ANOTHER_LANE.min(self.max_jobs) {
                self.wait(&mut group).await?;
            }
            Some(())
        };
        let _ = timeout(MAX_GATHER_TIME, gather).await;
        Some(self.reserve(group))
    }

    /// Waits until a job arrives or a reservation ends, then adds the jobs that may run. `None` when no job can come.
    async fn wait(&mut self, group: &mut Vec<Job>) -> Option<()> {
        let is_idle = self.running_lanes == 0 && group.is_empty() && self.waiting.is_empty();
        tokio::select! {
            biased; // A fixed order, so that a simulation can be repeated.
            Some(released) = self.released.recv() => {
                self.release(&released);
                self.retry_waiting(group);
            }
            job = self.arriving.recv(), if is_idle || !self.arriving.is_closed() => self.place(job?, group),
        }
        self.take_arrived(group);
        Some(())
    }

    /// Places the jobs that have arrived, while the group has room.
    fn take_arrived(&mut self, group: &mut Vec<Job>) {
        while group.len() < self.max_jobs
            && let Ok(job) = self.arriving.try_recv()
        {
            self.place(job, group);
        }
    }

    /// Places the waiting jobs again, in order.
    fn retry_waiting(&mut self, group: &mut Vec<Job>) {
        while let Ok(released) = self.released.try_recv() {
            self.release(&released);
        }
        self.waiting_keys.clear();
        for job in std::mem::take(&mut self.waiting) {
            self.place(job, group);
        }
    }

    fn release(&mut self, released: &Released) {
        match released.holder {
            Holder::Lane => self.running_lanes -= 1,
            Holder::LargeLane => self.is_large_running = false,
            Holder::Blocked => {}
        }
        for key in &released.keys {
            self.reserved.remove(key);
        }
    }

    /// Adds a job to the group or, if it must wait, to the waiting jobs.
    fn place(&mut self, job: Job, group: &mut Vec<Job>) {
        let is_taken = |key| self.reserved.contains(&key) || self.waiting_keys.contains(&key);
        if group.len() == self.max_jobs || !self.may_join(&job, group) || keys_of(&job).any(is_taken) {
            self.waiting_keys.extend(keys_of(&job));
            self.waiting.push_back(job);
        } else {
            group.push(job);
        }
    }

    /// Returns whether a job may share a transaction with this group, by the size of its identity.
    ///
    /// A job of the same batch may share that of a large identity: otherwise a batch that is about large and small ones
    /// in turn would need a transaction for each item.
    fn may_join(&self, job: &Job, group: &[Job]) -> bool {
        match (group.first(), large_root(group)) {
            (None, _) => job.large.is_none() || !self.is_large_running,
            (Some(_), None) => job.large.is_none(),
            (Some(first), Some(root)) => job.large == Some(root) || (job.batch.is_some() && job.batch == first.batch),
        }
    }

    fn reserve(&mut self, group: Vec<Job>) -> (Vec<Job>, KeyReservation) {
        let keys: Vec<Key> = group.iter().flat_map(keys_of).collect();
        let holder = if large_root(&group).is_some() { Holder::LargeLane } else { Holder::Lane };
        match holder {
            Holder::LargeLane => self.is_large_running = true,
            Holder::Lane | Holder::Blocked => self.running_lanes += 1,
        }
        self.reserved.extend(keys.iter().cloned());
        (group, KeyReservation::new(keys, holder, self.release.clone()))
    }
}

/// Returns the large identity that a group is about. The first job of a group decides it.
fn large_root(group: &[Job]) -> Option<LargeRoot> {
    group.first().and_then(|first| first.large)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::domain::{Contact, ContactId, Identifier, IdentifierKind, Identity, Link, Observation, Timestamp};
    use crate::resolver::admission::Permit;
    use crate::resolver::job::BatchId;

    const MAX_JOBS: usize = 256;

    /// A job about a phone number, and the identities that own it.
    fn job(phone: usize, roots: &[i64], batch: Option<BatchId>) -> Job {
        let phone = Identifier::from_stored(IdentifierKind::Phone, phone.to_string());
        let observation = Observation::new([phone]).unwrap();
        let deadline = (Instant::now() + Duration::from_secs(1)).into_std();
        let (mut job, _) = Job::new(observation.into(), deadline, Permit::for_test());
        job.owners = roots.iter().map(|id| Arc::new(customer(*id))).collect();
        job.batch = batch;
        job
    }

    fn customer(id: i64) -> Identity {
        let email = Identifier::from_stored(IdentifierKind::Email, format!("{id}@x"));
        Identity::new(vec![Contact::new(ContactId(id), [email], Timestamp(id), Link::Primary)]).unwrap()
    }

    fn phones(jobs: &[Job]) -> Vec<&str> {
        jobs.iter().map(|job| job.identifiers()[0].value()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_get_nothing_that_touches_what_another_is_at() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MAX_JOBS);
        for (phone, roots) in [(1, &[][..]), (2, &[7])] {
            send.send(job(phone, roots, None)).unwrap();
        }
        let (first, reservation) = write_queue.next().await.unwrap();
        assert_eq!(phones(&first), ["1", "2"]);
        for (phone, roots) in [(1, &[][..]), (3, &[7, 8]), (4, &[8]), (5, &[9])] {
            send.send(job(phone, roots, None)).unwrap();
        }
        let (second, _reservation) = write_queue.next().await.unwrap();
        assert_eq!(phones(&second), ["5"], "4 shares with 3, which waits and came first");
        assert!(timeout(MAX_GATHER_TIME * 2, write_queue.next()).await.is_err());
        drop(reservation);
        let (third, _reservation) = write_queue.next().await.unwrap();
        assert_eq!(phones(&third), ["1", "3", "4"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_never_in_two_lanes_and_a_transaction_has_its_limit() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MAX_JOBS);
        let batch = Some(BatchId::next());
        for phone in 0..MAX_JOBS + 2 {
            send.send(job(phone, &[], batch)).unwrap();
        }
        send.send(job(9_999, &[], None)).unwrap();
        let (first, reservation) = write_queue.next().await.unwrap();
        assert_eq!(first.len(), MAX_JOBS);
        let (second, _reservation) = write_queue.next().await.unwrap();
        assert_eq!(phones(&second), ["9999"]);
        drop(reservation);
        let (third, _reservation) = write_queue.next().await.unwrap();
        assert_eq!(phones(&third), ["256", "257"]);
    }

    #[tokio::test(start_paused = true)]
    async fn another_lane_begins_with_enough_or_after_a_while_or_when_the_first_is_done() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MAX_JOBS);
        let begun = Instant::now();
        send.send(job(1, &[], None)).unwrap();
        let (_, first) = write_queue.next().await.unwrap();
        (2..2 + MIN_JOBS_FOR_ANOTHER_LANE).for_each(|phone| send.send(job(phone, &[], None)).unwrap());
        let (enough, second) = write_queue.next().await.unwrap();
        assert_eq!((enough.len(), begun.elapsed()), (MIN_JOBS_FOR_ANOTHER_LANE, Duration::ZERO));

        send.send(job(100, &[], None)).unwrap();
        let (patient, third) = write_queue.next().await.unwrap();
        assert_eq!(patient.len(), 1);
        assert!(begun.elapsed() >= MAX_GATHER_TIME, "the others hang");

        drop((first, second));
        let begun = Instant::now();
        send.send(job(101, &[], None)).unwrap();
        let (gathered, ()) = tokio::join!(write_queue.next(), async {
            sleep(MAX_GATHER_TIME / 4).await;
            send.send(job(102, &[], None)).unwrap();
            sleep(MAX_GATHER_TIME / 4).await;
            drop(third);
        });
        assert_eq!(phones(&gathered.unwrap().0), ["101", "102"]);
        assert!(begun.elapsed() < MAX_GATHER_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_to_another_reservation_keeps_no_lane_busy_and_nobody_else() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MAX_JOBS);
        [1, 2].into_iter().for_each(|phone| send.send(job(phone, &[phone as i64], None)).unwrap());
        let (jobs, mut lane) = write_queue.next().await.unwrap();
        let part = lane.split_off(&jobs[..1]);
        drop(lane);
        [1, 2].into_iter().for_each(|phone| send.send(job(phone, &[], None)).unwrap());
        let begun = Instant::now();
        let (free, _lane) = write_queue.next().await.unwrap();
        assert_eq!((phones(&free), begun.elapsed()), (vec!["2"], Duration::ZERO));
        assert!(timeout(MAX_GATHER_TIME * 2, write_queue.next()).await.is_err());
        drop(part);
        assert_eq!(phones(&write_queue.next().await.unwrap().0), ["1"]);
    }

    /// A job about a phone number and a large identity.
    fn large(phone: usize, root: i64, batch: Option<BatchId>) -> Job {
        let mut job = job(phone, &[root], batch);
        job.large = Some(ContactId(root));
        job
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_about_a_large_identity_are_in_a_transaction_of_their_own_beside_the_others() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MAX_JOBS);
        for job in [large(1, 7, None), job(2, &[], None), large(3, 8, None), large(4, 7, None)] {
            send.send(job).unwrap();
        }
        let begun = Instant::now();
        let (first, first_lane) = write_queue.next().await.unwrap();
        assert_eq!((phones(&first), first_lane.is_large()), (vec!["1", "4"], true));
        let (second, second_lane) = write_queue.next().await.unwrap();
        assert_eq!((phones(&second), second_lane.is_large()), (vec!["2"], false));
        send.send(job(5, &[], None)).unwrap();
        drop(second_lane);
        let (third, third_lane) = write_queue.next().await.unwrap();
        assert_eq!((phones(&third), begun.elapsed()), (vec!["5"], Duration::ZERO), "it waits for no large one");
        assert!(timeout(MAX_GATHER_TIME * 2, write_queue.next()).await.is_err(), "one large one at a time");
        drop((first_lane, third_lane));
        assert_eq!(phones(&write_queue.next().await.unwrap().0), ["3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_about_large_and_small_identities_in_turn_needs_few_transactions() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MAX_JOBS);
        let batch = Some(BatchId::next());
        for phone in 0..20 {
            let item = if phone % 2 == 0 { job(phone, &[], batch) } else { large(phone, 7, batch) };
            send.send(item).unwrap();
        }
        let (first, reservation) = write_queue.next().await.unwrap();
        assert_eq!(first.len(), 1);
        drop(reservation);
        assert_eq!(write_queue.next().await.unwrap().0.len(), 19);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_done_before_the_end() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MAX_JOBS);
        send.send(job(1, &[], None)).unwrap();
        let (_, reservation) = write_queue.next().await.unwrap();
        send.send(job(1, &[], None)).unwrap();
        drop(send);
        assert!(timeout(MAX_GATHER_TIME * 2, write_queue.next()).await.is_err());
        drop(reservation);
        let (jobs, reservation) = write_queue.next().await.unwrap();
        assert_eq!(jobs.len(), 1);
        drop(reservation);
        assert!(write_queue.next().await.is_none());
    }
}
