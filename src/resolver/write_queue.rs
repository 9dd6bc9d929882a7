//! What waits to be written, for the write lanes.
//!
//! Lanes write side by side, so no two of them may be about the same customer: they would wait for each
//! other's locks, and the order of lists would be lost. A lane takes whatever waits, as the read lanes do,
//! but what touches something that another lane is at, or something that waits already, waits on. A second lane
//! goes to work when there is enough for two, or when the first takes long. Those who need a row that somebody has
//! locked leave the lane, with a claim of their own, and sit it out: it holds up them alone.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::job::{Job, ListId};
use crate::domain::{ContactId, Identifier};

/// So many jobs are worth a transaction beside another's; fewer do better to wait for its end. Lanes that work side
/// by side divide the batches, and a commit of MySQL's beside another hangs for 100 ms now and then
/// (docs/benchmarks.md).
const WORTH_A_LANE: usize = 64;

/// How long fewer wait at most while a lane is at work: one that waits for locks must not hold up the rest.
const PATIENCE: Duration = Duration::from_millis(20);

/// The queue of the write lanes.
pub(super) struct WriteQueue {
    /// The most jobs in one transaction.
    most: usize,
    arriving: mpsc::UnboundedReceiver<Job>,
    /// Claims that ended.
    released: mpsc::UnboundedReceiver<Released>,
    release: mpsc::UnboundedSender<Released>,
    /// How many lanes are at work, and what they are at.
    at_work: usize,
    busy: HashSet<Key>,
    /// Jobs that have to wait, in order, and what they are about.
    held: VecDeque<Job>,
    held_keys: HashSet<Key>,
}

/// What two jobs can share.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Identifier(Identifier),
    Root(ContactId),
    /// Its order holds also between customers who are about to become one.
    List(ListId),
}

/// While it lives, no other lane gets anything that these jobs are about. (Also when a lane panics.)
pub(super) struct KeyReservation {
    keys: Vec<Key>,
    is_of_a_lane: bool,
    release: mpsc::UnboundedSender<Released>,
}

/// What a claim was to.
struct Released {
    keys: Vec<Key>,
    is_of_a_lane: bool,
}

impl KeyReservation {
    /// Leaves what these jobs are about to a claim of their own, which keeps no lane busy.
    pub(super) fn part(&mut self, jobs: &[Job]) -> Self {
        let theirs: HashSet<Key> = jobs.iter().flat_map(keys).collect();
        self.keys.retain(|key| !theirs.contains(key));
        Self { keys: theirs.into_iter().collect(), is_of_a_lane: false, release: self.release.clone() }
    }
}

impl Drop for KeyReservation {
    fn drop(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        let _ = self.release.send(Released { keys, is_of_a_lane: self.is_of_a_lane }); // Without an write_queue nothing waits.
    }
}

impl WriteQueue {
    pub(super) fn new(arriving: mpsc::UnboundedReceiver<Job>, most: usize) -> Self {
        let (release, released) = mpsc::unbounded_channel();
        let (at_work, busy, held, held_keys) = Default::default();
        Self { most, arriving, released, release, at_work, busy, held, held_keys }
    }

    /// Whatever waits and may go, as far as one transaction goes. `None` when the resolver is gone.
    ///
    /// At once, if no lane is at work; otherwise when it is done, or as soon as there is enough for another one.
    pub(super) async fn next(&mut self) -> Option<(Vec<Job>, KeyReservation)> {
        let mut batch = Vec::new();
        self.look_again(&mut batch);
        self.fill(&mut batch);
        while batch.is_empty() {
            self.wait(&mut batch).await?;
        }
        let gathered = async {
            while self.at_work > 0 && batch.len() < WORTH_A_LANE.min(self.most) {
                self.wait(&mut batch).await?;
            }
            Some(())
        };
        let _ = timeout(PATIENCE, gathered).await;
        Some(self.claim(batch))
    }

    /// Waits until something arrives or a claim ends, and takes what may go then. `None` when nothing can come.
    async fn wait(&mut self, batch: &mut Vec<Job>) -> Option<()> {
        let is_over = self.at_work == 0 && batch.is_empty() && self.held.is_empty();
        tokio::select! {
            biased; // Nothing is left to chance, so that a simulation can be repeated.
            Some(released) = self.released.recv() => {
                self.free(&released);
                self.look_again(batch);
            }
            job = self.arriving.recv(), if is_over || !self.arriving.is_closed() => self.sort(job?, batch),
        }
        self.fill(batch);
        Some(())
    }

    /// Takes all that has arrived, as long as there is room.
    fn fill(&mut self, batch: &mut Vec<Job>) {
        while batch.len() < self.most
            && let Ok(job) = self.arriving.try_recv()
        {
            self.sort(job, batch);
        }
    }

    /// Takes those that had to wait and may go now.
    fn look_again(&mut self, batch: &mut Vec<Job>) {
        while let Ok(released) = self.released.try_recv() {
            self.free(&released);
        }
        self.held_keys.clear();
        for job in std::mem::take(&mut self.held) {
            self.sort(job, batch);
        }
    }

    fn free(&mut self, released: &Released) {
        self.at_work -= usize::from(released.is_of_a_lane);
        for key in &released.keys {
            self.busy.remove(key);
        }
    }

    /// Puts a job into the batch or, if it may not go yet, among those that wait.
    fn sort(&mut self, job: Job, batch: &mut Vec<Job>) {
        let has_to_wait =
            batch.len() == self.most || keys(&job).any(|key| self.busy.contains(&key) || self.held_keys.contains(&key));
        if has_to_wait {
            self.held_keys.extend(keys(&job));
            self.held.push_back(job);
        } else {
            batch.push(job);
        }
    }

    fn claim(&mut self, batch: Vec<Job>) -> (Vec<Job>, KeyReservation) {
        let keys: Vec<Key> = batch.iter().flat_map(keys).collect();
        self.at_work += 1;
        self.busy.extend(keys.iter().cloned());
        (batch, KeyReservation { keys, is_of_a_lane: true, release: self.release.clone() })
    }
}

/// What it can share with others.
pub(super) fn keys(job: &Job) -> impl Iterator<Item = Key> {
    let identifiers = job.identifiers().iter().cloned().map(Key::Identifier);
    identifiers.chain(job.owners.iter().map(|owner| Key::Root(owner.root()))).chain(job.list.map(Key::List))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::domain::{Contact, IdentifierKind, Identity, Link, Observation, Timestamp};

    const MOST: usize = 256;

    /// A job about a phone number, and the identities that own it.
    fn job(phone: usize, roots: &[i64], list: Option<ListId>) -> Job {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let phone = Identifier::from_stored(IdentifierKind::Phone, phone.to_string());
        let observation = Observation::new([phone]).unwrap();
        let (job, _) = Job::new(observation, (Instant::now() + Duration::from_secs(1)).into_std(), permit);
        Job { owners: roots.iter().map(|id| Arc::new(customer(*id))).collect(), list, ..job }
    }

    fn customer(id: i64) -> Identity {
        let contact = Contact {
            id: ContactId(id),
            identifiers: [Identifier::from_stored(IdentifierKind::Email, format!("{id}@x"))].into(),
            created_at: Timestamp(id),
            updated_at: Timestamp(id),
            link: Link::Primary,
        };
        Identity::new(vec![contact]).unwrap()
    }

    fn phones(jobs: &[Job]) -> Vec<&str> {
        jobs.iter().map(|job| job.identifiers()[0].value()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn lanes_get_nothing_that_touches_what_another_is_at() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MOST);
        for (phone, roots) in [(1, &[][..]), (2, &[7])] {
            send.send(job(phone, roots, None)).unwrap();
        }
        let (first, claim) = write_queue.next().await.unwrap();
        assert_eq!(phones(&first), ["1", "2"]);
        for (phone, roots) in [(1, &[][..]), (3, &[7, 8]), (4, &[8]), (5, &[9])] {
            send.send(job(phone, roots, None)).unwrap();
        }
        let (second, _claim) = write_queue.next().await.unwrap();
        assert_eq!(phones(&second), ["5"], "4 shares with 3, which waits and came first");
        assert!(timeout(PATIENCE * 2, write_queue.next()).await.is_err());
        drop(claim);
        let (third, _claim) = write_queue.next().await.unwrap();
        assert_eq!(phones(&third), ["1", "3", "4"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_never_in_two_lanes_and_a_batch_has_its_limit() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MOST);
        let list = Some(ListId::next());
        for phone in 0..MOST + 2 {
            send.send(job(phone, &[], list)).unwrap();
        }
        send.send(job(9_999, &[], None)).unwrap();
        let (first, claim) = write_queue.next().await.unwrap();
        assert_eq!(first.len(), MOST);
        let (second, _claim) = write_queue.next().await.unwrap();
        assert_eq!(phones(&second), ["9999"]);
        drop(claim);
        let (third, _claim) = write_queue.next().await.unwrap();
        assert_eq!(phones(&third), ["256", "257"]);
    }

    #[tokio::test(start_paused = true)]
    async fn another_lane_begins_with_enough_or_after_a_while_or_when_the_first_is_done() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MOST);
        let begun = Instant::now();
        send.send(job(1, &[], None)).unwrap();
        let (_, first) = write_queue.next().await.unwrap();
        (2..2 + WORTH_A_LANE).for_each(|phone| send.send(job(phone, &[], None)).unwrap());
        let (enough, second) = write_queue.next().await.unwrap();
        assert_eq!((enough.len(), begun.elapsed()), (WORTH_A_LANE, Duration::ZERO));

        send.send(job(100, &[], None)).unwrap();
        let (patient, third) = write_queue.next().await.unwrap();
        assert_eq!(patient.len(), 1);
        assert!(begun.elapsed() >= PATIENCE, "the others hang");

        drop((first, second));
        let begun = Instant::now();
        send.send(job(101, &[], None)).unwrap();
        let (gathered, ()) = tokio::join!(write_queue.next(), async {
            sleep(PATIENCE / 4).await;
            send.send(job(102, &[], None)).unwrap();
            sleep(PATIENCE / 4).await;
            drop(third);
        });
        assert_eq!(phones(&gathered.unwrap().0), ["101", "102"]);
        assert!(begun.elapsed() < PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_to_another_claim_keeps_no_lane_busy_and_nobody_else() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MOST);
        [1, 2].into_iter().for_each(|phone| send.send(job(phone, &[phone as i64], None)).unwrap());
        let (jobs, mut lane) = write_queue.next().await.unwrap();
        let part = lane.part(&jobs[..1]);
        drop(lane);
        [1, 2].into_iter().for_each(|phone| send.send(job(phone, &[], None)).unwrap());
        let begun = Instant::now();
        let (free, _lane) = write_queue.next().await.unwrap();
        assert_eq!((phones(&free), begun.elapsed()), (vec!["2"], Duration::ZERO));
        assert!(timeout(PATIENCE * 2, write_queue.next()).await.is_err());
        drop(part);
        assert_eq!(phones(&write_queue.next().await.unwrap().0), ["1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_done_before_the_end() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut write_queue = WriteQueue::new(arriving, MOST);
        send.send(job(1, &[], None)).unwrap();
        let (_, claim) = write_queue.next().await.unwrap();
        send.send(job(1, &[], None)).unwrap();
        drop(send);
        assert!(timeout(PATIENCE * 2, write_queue.next()).await.is_err());
        drop(claim);
        let (jobs, claim) = write_queue.next().await.unwrap();
        assert_eq!(jobs.len(), 1);
        drop(claim);
        assert!(write_queue.next().await.is_none());
    }
}
