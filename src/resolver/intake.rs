//! What waits to be written, for the write lanes.
//!
//! Lanes write side by side, so no two of them may be about the same customer: they would wait for each
//! other's locks, and the order of lists would be lost. A lane takes whatever waits, as the read lanes do,
//! but what touches something that another lane is at, or something that waits already, waits on.

use std::collections::{HashSet, VecDeque};

use tokio::sync::mpsc;

use super::job::{Job, ListId};
use crate::domain::{ContactId, Identifier};

/// The most jobs in one transaction. Larger ones gain little and make their first wait.
const MAX_BATCH: usize = 256;

/// The queue of the write lanes.
pub(super) struct Intake {
    arriving: mpsc::UnboundedReceiver<Job>,
    /// Claims that ended.
    released: mpsc::UnboundedReceiver<Vec<Key>>,
    release: mpsc::UnboundedSender<Vec<Key>>,
    /// What the lanes are at.
    busy: HashSet<Key>,
    /// Jobs that have to wait, in order, and what they are about.
    held: VecDeque<Job>,
    held_keys: HashSet<Key>,
}

/// What two jobs can share.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Identifier(Identifier),
    Root(ContactId),
    /// Its order holds also between customers who are about to become one.
    List(ListId),
}

/// While it lives, no other lane gets anything that these jobs are about. (Also when a lane panics.)
pub(super) struct Claim {
    keys: Vec<Key>,
    release: mpsc::UnboundedSender<Vec<Key>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = self.release.send(std::mem::take(&mut self.keys)); // Without an intake nothing waits.
    }
}

impl Intake {
    pub(super) fn new(arriving: mpsc::UnboundedReceiver<Job>) -> Self {
        let (release, released) = mpsc::unbounded_channel();
        let (busy, held, held_keys) = Default::default();
        Self { arriving, released, release, busy, held, held_keys }
    }

    /// Whatever waits and may go, as far as one transaction goes. `None` when the resolver is gone.
    pub(super) async fn next(&mut self) -> Option<(Vec<Job>, Claim)> {
        loop {
            while let Ok(keys) = self.released.try_recv() {
                self.free(&keys);
            }
            let mut batch = Vec::new();
            self.held_keys.clear();
            for job in std::mem::take(&mut self.held) {
                self.sort(job, &mut batch);
            }
            loop {
                while batch.len() < MAX_BATCH
                    && let Ok(job) = self.arriving.try_recv()
                {
                    self.sort(job, &mut batch);
                }
                if !batch.is_empty() {
                    return Some(self.claim(batch));
                }
                tokio::select! {
                    biased; // Nothing is left to chance, so that a simulation can be repeated.
                    Some(keys) = self.released.recv() => {
                        self.free(&keys);
                        break; // What waits may go now.
                    }
                    job = self.arriving.recv(), if self.held.is_empty() || !self.arriving.is_closed() => match job {
                        Some(job) => self.sort(job, &mut batch),
                        None if self.held.is_empty() => return None,
                        None => {}
                    },
                }
            }
        }
    }

    fn free(&mut self, keys: &[Key]) {
        for key in keys {
            self.busy.remove(key);
        }
    }

    /// Puts a job into the batch or, if it may not go yet, among those that wait.
    fn sort(&mut self, job: Job, batch: &mut Vec<Job>) {
        let has_to_wait =
            batch.len() == MAX_BATCH || keys(&job).any(|key| self.busy.contains(&key) || self.held_keys.contains(&key));
        if has_to_wait {
            self.held_keys.extend(keys(&job));
            self.held.push_back(job);
        } else {
            batch.push(job);
        }
    }

    fn claim(&mut self, batch: Vec<Job>) -> (Vec<Job>, Claim) {
        let keys: Vec<Key> = batch.iter().flat_map(keys).collect();
        self.busy.extend(keys.iter().cloned());
        (batch, Claim { keys, release: self.release.clone() })
    }
}

fn keys(job: &Job) -> impl Iterator<Item = Key> {
    let identifiers = job.identifiers().iter().cloned().map(Key::Identifier);
    identifiers.chain(job.owners.iter().map(|owner| Key::Root(owner.root()))).chain(job.list.map(Key::List))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use futures::FutureExt;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::domain::{Contact, IdentifierKind, Identity, Link, Observation, Timestamp};

    /// A job about a phone number, and the identities that own it.
    fn job(phone: usize, roots: &[i64], list: Option<ListId>) -> Job {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let phone = Identifier::from_stored(IdentifierKind::Phone, phone.to_string());
        let observation = Observation::new([phone]).unwrap();
        let (job, _) = Job::new(observation, Instant::now() + Duration::from_secs(1), permit);
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

    #[test]
    fn lanes_get_nothing_that_touches_what_another_is_at() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut intake = Intake::new(arriving);
        for (phone, roots) in [(1, &[][..]), (2, &[7])] {
            send.send(job(phone, roots, None)).unwrap();
        }
        let (first, claim) = intake.next().now_or_never().flatten().unwrap();
        assert_eq!(phones(&first), ["1", "2"]);
        for (phone, roots) in [(1, &[][..]), (3, &[7, 8]), (4, &[8]), (5, &[9])] {
            send.send(job(phone, roots, None)).unwrap();
        }
        let (second, _claim) = intake.next().now_or_never().flatten().unwrap();
        assert_eq!(phones(&second), ["5"], "4 shares with 3, which waits and came first");
        assert!(intake.next().now_or_never().is_none());
        drop(claim);
        let (third, _claim) = intake.next().now_or_never().flatten().unwrap();
        assert_eq!(phones(&third), ["1", "3", "4"]);
    }

    #[test]
    fn a_list_is_never_in_two_lanes_and_a_batch_has_its_limit() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut intake = Intake::new(arriving);
        let list = Some(ListId::next());
        for phone in 0..MAX_BATCH + 2 {
            send.send(job(phone, &[], list)).unwrap();
        }
        send.send(job(9_999, &[], None)).unwrap();
        let (first, claim) = intake.next().now_or_never().flatten().unwrap();
        assert_eq!(first.len(), MAX_BATCH);
        let (second, _claim) = intake.next().now_or_never().flatten().unwrap();
        assert_eq!(phones(&second), ["9999"]);
        drop(claim);
        let (third, _claim) = intake.next().now_or_never().flatten().unwrap();
        assert_eq!(phones(&third), ["256", "257"]);
    }

    #[test]
    fn what_waits_is_done_before_the_end() {
        let (send, arriving) = mpsc::unbounded_channel();
        let mut intake = Intake::new(arriving);
        send.send(job(1, &[], None)).unwrap();
        let (_, claim) = intake.next().now_or_never().flatten().unwrap();
        send.send(job(1, &[], None)).unwrap();
        drop(send);
        assert!(intake.next().now_or_never().is_none());
        drop(claim);
        assert_eq!(intake.next().now_or_never().flatten().map(|(jobs, _)| jobs.len()), Some(1));
        assert!(matches!(intake.next().now_or_never(), Some(None)));
    }
}
