//! The read lanes answer requests that bring nothing new.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;

use super::backoff::{MAX_UNAVAILABLE_ATTEMPTS, jittered_pause};
use super::database_health::DatabaseHealth;
use super::error::IdentifyError;
use super::job::{Job, reply_error, sorted_identifiers};
use super::panic_guard::{Worker, catch_panic};
use super::read_queue::{ReadQueue, ReadyLookup};
use crate::domain::{Identity, Observation, Snapshot};
use crate::store::{LookupResult, Store, StoreError};

/// One of the lanes that share a read queue. It runs one look-up at a time.
pub(super) struct ReadLane<S> {
    pub(super) store: S,
    pub(super) queue: Arc<Mutex<ReadQueue>>,
    pub(super) to_write: mpsc::UnboundedSender<Job>,
    pub(super) database: DatabaseHealth,
}

/// The result of a look-up for a group of jobs.
struct ReadResult {
    snapshot: Snapshot,
    /// See [`LookupResult`].
    is_latest: bool,
}

impl ReadResult {
    /// Returns the identity that answers the observation, if the answer needs no write and no further read.
    ///
    /// It skips an identity that was read without its root: such a read was seen on a MySQL cluster
    /// (docs/reliability.md).
    fn matched(&self, observation: &Observation) -> Option<&Arc<Identity>> {
        self.snapshot.matched(observation).filter(|identity| self.is_latest && identity.missing_root().is_none())
    }
}

impl<S: Store> Worker for ReadLane<S> {
    async fn run(&mut self) {
        while let Some(lookup) = self.next().await {
            self.read(lookup.group.jobs, |_, _| true).await;
            drop(lookup.turn);
        }
    }
}

impl<S: Store> ReadLane<S> {
    async fn next(&self) -> Option<ReadyLookup> {
        self.queue.lock().await.next().await
    }

    /// Looks up all identifiers of these jobs in one statement, then answers each job or sends it to the write lanes.
    ///
    /// It answers a job if one identity owns all of its identifiers, the read has the latest state, and `may_answer`
    /// agrees. The other jobs go to the write lanes in order. When the database rejects the statement, the group is
    /// halved until the faulty job is alone, so that it does not fail its neighbours.
    pub(super) async fn read(&self, jobs: Vec<Job>, mut may_answer: impl FnMut(&Job, Option<&Identity>) -> bool) {
        let mut groups = vec![jobs];
        while let Some(mut jobs) = groups.pop() {
            match self.look_up(&mut jobs).await {
                Ok(result) => {
                    for job in jobs {
                        let matched = result.matched(&job.observation);
                        let may_answer = may_answer(&job, matched.map(Arc::as_ref));
                        match matched.filter(|_| may_answer) {
                            Some(identity) => job.reply_matched(identity),
                            None => self.send_to_write(job, &result.snapshot),
                        }
                    }
                }
                Err(error) if error.is_unavailable() => reply_error(jobs, &error),
                Err(_) if jobs.len() > 1 => {
                    let second = jobs.split_off(jobs.len() / 2);
                    groups.extend([second, jobs]);
                }
                Err(error) => {
                    tracing::error!(error.message = %error, "a read failed");
                    reply_error(jobs, &error);
                }
            }
        }
    }

    /// Drops the jobs without a waiting caller and looks the others up. Repeats the statement after a lost race.
    async fn look_up(&self, jobs: &mut Vec<Job>) -> Result<ReadResult, StoreError> {
        let (mut lost_races, mut unavailable) = (0, 0);
        loop {
            jobs.retain(Job::is_wanted);
            if jobs.is_empty() {
                return Ok(ReadResult { snapshot: Snapshot::new(Vec::new()), is_latest: true });
            }
            let identifiers = sorted_identifiers(jobs, |_, _| true);
            match catch_panic(self.store.find_identities(&identifiers)).await {
                Ok(LookupResult { identities, is_latest }) => {
                    self.database.record_reachable();
                    return Ok(ReadResult { snapshot: Snapshot::new(identities), is_latest });
                }
                Err(StoreError::LostRace(_)) => {
                    sleep(jittered_pause(lost_races)).await;
                    lost_races += 1;
                }
                Err(error) if error.is_unavailable() => {
                    unavailable += 1;
                    if unavailable == MAX_UNAVAILABLE_ATTEMPTS || !self.database.is_reachable() {
                        self.database.record_unreachable(&error);
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a job to the write lanes, with the owners that the read found.
    fn send_to_write(&self, mut job: Job, snapshot: &Snapshot) {
        let identifiers = job.identifiers().iter();
        job.owned = identifiers.filter(|identifier| snapshot.owns(identifier)).cloned().collect();
        job.owners = snapshot.owners_of(&job.observation);
        if let Err(mpsc::error::SendError(job)) = self.to_write.send(job) {
            job.reply(Err(IdentifyError::Internal));
        }
    }
}
