use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::by_id::IdReader;
use super::job::{GraphJob, GraphQueue, GraphRead, HistoryQuery, PageQuery};
use super::large_contacts::LargeContacts;
use super::past_owners::{PastLookUp, PastQuery};
use super::read_graph::IdentityPage;
use super::{history, list, locked, past_owners};
use crate::domain::graph::{SetName, SetNotes};
use crate::domain::{ContactId, Identifier, Identity, Snapshot};
use crate::metrics::{LaneKind, RetryCause, WorkMetrics};
use crate::resolver::aside::{Aside, run_aside};
use crate::resolver::attempts::Attempts;
use crate::resolver::database_health::DatabaseHealth;
use crate::resolver::large_identities::is_large;
use crate::resolver::panic_guard::{Worker, catch_panic};
use crate::resolver::refused_alone::RefusedAlone;
use crate::store::{Cause, ExpectedSize, MAX_LOOKUP, Store, StoreError};
use crate::traces::BatchSpan;

/// One of the lanes that share a queue of reads. It carries one read out at a time. The reads of single identities that
/// wait at the same time share a statement.
pub(in crate::resolver) struct GraphLane<S> {
    pub(in crate::resolver) reader: IdReader<S>,
    pub(in crate::resolver) queue: Arc<Mutex<mpsc::UnboundedReceiver<GraphRead>>>,
    /// The lane for reads of large identities. `None` in that lane.
    pub(in crate::resolver) to_large: Option<GraphQueue>,
    pub(in crate::resolver) large: LargeContacts,
    pub(in crate::resolver) database: DatabaseHealth,
    pub(in crate::resolver) work: WorkMetrics,
}

/// The read of an identity by the id of a contact.
type IdentityJob = GraphJob<ContactId, Option<Arc<Identity>>>;

impl<S: Store> Worker for GraphLane<S> {
    async fn run(&mut self) {
        while let Some((identities, other)) = self.next().await {
            if !identities.is_empty() {
                self.read_identities(identities).await;
            }
            match other {
                Some(GraphRead::Owners(job)) => self.read_owners(job).await,
                Some(GraphRead::Known(job)) => self.read_known(job).await,
                Some(GraphRead::Page(job)) => self.read_page(job).await,
                Some(GraphRead::History(job)) => self.read_history(job).await,
                Some(GraphRead::Notes(job)) => self.read_notes(job).await,
                Some(GraphRead::PastOwners(job)) => self.read_past_owners(job).await,
                Some(GraphRead::Identity(job)) => self.read_identities(vec![job]).await,
                None => {}
            }
        }
    }
}

impl<S: Store> GraphLane<S> {
    /// Returns the reads of single identities that wait, and the read behind them. `None` when the resolver is gone.
    async fn next(&self) -> Option<(Vec<IdentityJob>, Option<GraphRead>)> {
        let mut queue = self.queue.lock().await;
        let mut identities = Vec::new();
        let mut read = queue.recv().await?;
        loop {
            match read {
                GraphRead::Identity(job) => identities.push(job),
                other @ (GraphRead::Owners(_)
                | GraphRead::Known(_)
                | GraphRead::Page(_)
                | GraphRead::History(_)
                | GraphRead::Notes(_)
                | GraphRead::PastOwners(_)) => return Some((identities, Some(other))),
            }
            match queue.try_recv() {
                Ok(next) if identities.len() < MAX_LOOKUP => read = next,
                Ok(next) => return Some((identities, Some(next))),
                Err(_) => return Some((identities, None)),
            }
        }
    }

    /// Reads these identities together. If the database refuses the statement, or one of them is large, the group is
    /// halved, so that it neither fails nor delays the others. If the statement is too slow, each is read alone.
    ///
    /// A large one goes to the lane for large ones. That lane reads each alone, for all who wait for it.
    async fn read_identities(&self, jobs: Vec<IdentityJob>) {
        let mut parts = if self.to_large.is_some() { vec![jobs] } else { by_contact(jobs) };
        let mut refused = RefusedAlone::default();
        while let Some(mut jobs) = parts.pop() {
            jobs.retain(IdentityJob::is_wanted);
            if jobs.is_empty() {
                continue;
            }
            if let Some(error) = refused.fault() {
                self.fail(jobs, error);
                continue;
            }
            let mut ids: Vec<ContactId> = jobs.iter().map(|job| job.query).collect();
            ids.sort_unstable();
            ids.dedup();
            let size = if self.to_large.is_some() { ExpectedSize::NotLarge } else { ExpectedSize::Large };
            let is_wanted = || jobs.iter().any(IdentityJob::is_wanted);
            let read = || self.reader.identities_of(&ids, size);
            match self.attempt(&jobs, is_wanted, read).await {
                Ok(found) => {
                    refused.note_success();
                    for job in jobs {
                        let position = ids.binary_search(&job.query).ok();
                        let identity = position.and_then(|position| found[position].clone());
                        self.large.note(job.query, identity.as_deref().is_some_and(is_large));
                        job.reply(Ok(identity));
                    }
                }
                Err(StoreError::OneIsLarge(_)) if ids.len() == 1 => {
                    self.large.note(ids[0], true);
                    jobs.into_iter().for_each(|job| self.send_to_large(job));
                }
                Err(StoreError::TooSlow(_) | StoreError::CutShort(_)) if ids.len() > 1 => {
                    self.work.count_retry(RetryCause::Split);
                    parts.extend(jobs.into_iter().map(|job| vec![job]));
                }
                Err(error) if ids.len() > 1 && !error.is_unavailable() => {
                    self.work.count_retry(RetryCause::Split);
                    let middle = ids[ids.len() / 2];
                    let (first, second): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.query < middle);
                    parts.extend([second, first]);
                }
                Err(error) => {
                    self.fail(jobs, &error);
                    refused.note(error);
                }
            }
        }
    }

    fn send_to_large(&self, job: IdentityJob) {
        let rest = match &self.to_large {
            Some(to_large) => to_large.send(GraphRead::Identity(job)).map_err(|mpsc::error::SendError(read)| read),
            None => Err(GraphRead::Identity(job)), // It reads large ones.
        };
        if let Err(GraphRead::Identity(job)) = rest {
            job.reply(Err(&StoreError::Rejected(Cause::new("no lane for a large identity"))));
        }
    }

    async fn read_owners(&self, job: GraphJob<Vec<Identifier>, Vec<Option<Arc<Identity>>>>) {
        let jobs = [job];
        let read = || locked::owners(&self.reader.store, &jobs[0].query);
        let read = self.attempt(&jobs, || jobs[0].is_wanted(), read).await;
        let [job] = jobs;
        match read {
            Ok(owners) => job.reply(Ok(owners)),
            Err(error) => self.fail(vec![job], &error),
        }
    }

    async fn read_known(&self, job: GraphJob<Vec<Identifier>, Snapshot>) {
        let jobs = [job];
        let read = || locked::known(&self.reader.store, &jobs[0].query);
        let read = self.attempt(&jobs, || jobs[0].is_wanted(), read).await;
        let [job] = jobs;
        match read {
            Ok(known) => job.reply(Ok(known)),
            Err(error) => self.fail(vec![job], &error),
        }
    }

    async fn read_notes(&self, job: GraphJob<Vec<SetName>, SetNotes>) {
        let jobs = [job];
        let read = || self.reader.store.notes_of(&jobs[0].query);
        let read = self.attempt(&jobs, || jobs[0].is_wanted(), read).await;
        let [job] = jobs;
        match read {
            Ok(notes) => job.reply(Ok(notes)),
            Err(error) => self.fail(vec![job], &error),
        }
    }

    async fn read_page(&self, job: GraphJob<PageQuery, IdentityPage>) {
        let jobs = [job];
        let read = || list::page(&self.reader.store, jobs[0].query, || jobs[0].is_wanted());
        let read = self.attempt(&jobs, || jobs[0].is_wanted(), read).await;
        let [job] = jobs;
        match read {
            Ok(page) => job.reply(Ok(page)),
            Err(error) => self.fail(vec![job], &error),
        }
    }

    async fn read_history(&self, job: GraphJob<HistoryQuery, ()>) {
        let jobs = [job];
        let read = || history::read(&self.reader.store, jobs[0].query.contact);
        let read = self.attempt(&jobs, || jobs[0].is_wanted(), read).await;
        let [mut job] = jobs;
        let done = match (read, job.query.work.take()) {
            (Ok(read), Some(work)) if job.is_wanted() => {
                run_aside(Aside::History, read.len(), move || work(read)).await
            }
            (Ok(_), _) => return, // Nobody waits for it.
            (Err(error), _) => Err(error),
        };
        match done {
            Ok(()) => job.reply(Ok(())),
            Err(error) => self.fail(vec![job], &error),
        }
    }

    async fn read_past_owners(&self, job: GraphJob<PastQuery, PastLookUp>) {
        let jobs = [job];
        let read = || past_owners::look_up(&self.reader.store, &jobs[0].query);
        let read = self.attempt(&jobs, || jobs[0].is_wanted(), read).await;
        let [job] = jobs;
        match read {
            Ok(Some(owners)) => job.reply(Ok(owners)),
            Ok(None) => {} // Nobody waits for it.
            Err(error) => self.fail(vec![job], &error),
        }
    }

    /// Carries a read out for these jobs, and again after a lost race while somebody waits for it.
    async fn attempt<Q, T, R, F>(
        &self,
        jobs: &[GraphJob<Q, T>],
        is_wanted: impl Fn() -> bool,
        read: impl Fn() -> F,
    ) -> Result<R, StoreError>
    where
        F: Future<Output = Result<R, StoreError>>,
    {
        self.work.record_waits(LaneKind::Graph, jobs.iter().map(|job| job.queued.elapsed()));
        let mut attempts = Attempts::default();
        let mut is_wait_recorded = false;
        loop {
            self.work.record_batch(LaneKind::Graph, jobs.len());
            let since = |job: &GraphJob<Q, T>| (!is_wait_recorded).then_some(job.queued.into_std());
            let traced = jobs.iter().map(|job| (&job.trace, since(job)));
            let span = BatchSpan::begin(LaneKind::Graph, jobs.len(), traced);
            is_wait_recorded = true;
            let result = span.scope(catch_panic(read())).await;
            span.end(result.as_ref().err().map(StoreError::kind));
            match result {
                Ok(read) => {
                    self.database.record_reachable();
                    return Ok(read);
                }
                Err(error) if is_wanted() => attempts.next(error, &self.database, &self.work).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends the same error to all jobs.
    fn fail<Q, T>(&self, jobs: Vec<GraphJob<Q, T>>, error: &StoreError) {
        if matches!(error, StoreError::TooSlow(_) | StoreError::CutShort(_)) {
            tracing::warn!(error.message = %error, "a read took too long");
        } else if matches!(error, StoreError::Faulty(_)) {
            self.database.record_fault(error);
        } else if !error.is_unavailable() && !matches!(error, StoreError::HistoryTooLarge) {
            tracing::error!(error.message = %error, "a read failed");
        }
        jobs.into_iter().for_each(|job| job.reply(Err(error)));
    }
}

/// Returns the jobs of each contact together, in the order of their first.
fn by_contact(jobs: Vec<IdentityJob>) -> Vec<Vec<IdentityJob>> {
    let mut parts: Vec<Vec<IdentityJob>> = Vec::new();
    for job in jobs {
        match parts.iter_mut().find(|part| part[0].query == job.query) {
            Some(part) => part.push(job),
            None => parts.push(vec![job]),
        }
    }
    parts.reverse(); // The last is the next.
    parts
}
