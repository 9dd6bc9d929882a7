use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::past_owners::{PastLookUp, PastQuery};
use super::read_graph::IdentityPage;
use crate::domain::graph::{SetName, SetNotes};
use crate::domain::{ContactId, Identifier, Identity, Snapshot};
use crate::resolver::admission::Permit;
use crate::resolver::deadline::has_passed;
use crate::resolver::error::IdentifyError;
use crate::resolver::job::ReplyReceiver;
use crate::store::{HistoryRead, StoreError};
use crate::traces::RequestTrace;

/// A read that waits for a lane.
#[derive(Debug)]
pub(in crate::resolver) enum GraphRead {
    /// The identity of a contact.
    Identity(GraphJob<ContactId, Option<Arc<Identity>>>),
    /// The owner of each identifier, under locks.
    Owners(GraphJob<Vec<Identifier>, Vec<Option<Arc<Identity>>>>),
    /// The identities that own any of these identifiers (at most [`MAX_LOOKUP`](crate::store::MAX_LOOKUP), sorted), at
    /// one moment and under locks.
    Known(GraphJob<Vec<Identifier>, Snapshot>),
    /// A page of all identities.
    Page(GraphJob<PageQuery, IdentityPage>),
    /// The history of an identity, and work with it.
    History(GraphJob<HistoryQuery, ()>),
    /// The notes of sets.
    Notes(GraphJob<Vec<SetName>, SetNotes>),
    /// Who owned identifiers at an earlier moment.
    PastOwners(GraphJob<PastQuery, PastLookUp>),
}

/// The way to the lanes.
pub(in crate::resolver) type GraphQueue = mpsc::UnboundedSender<GraphRead>;

/// Which page of all identities.
#[derive(Clone, Copy, Debug)]
pub(in crate::resolver) struct PageQuery {
    /// The root before the first of the page.
    pub(in crate::resolver) after: Option<ContactId>,
    /// The most identities.
    pub(in crate::resolver) limit: usize,
}

/// Whose history, and what is done with it.
pub(in crate::resolver) struct HistoryQuery {
    pub(in crate::resolver) contact: ContactId,
    /// Taken when it begins.
    pub(in crate::resolver) work: Option<HistoryWork>,
}

/// The work with a history. It keeps its result.
pub(in crate::resolver) type HistoryWork = Box<dyn FnOnce(HistoryRead) + Send + Sync>;

impl fmt::Debug for HistoryQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryQuery").field("contact", &self.contact).finish_non_exhaustive()
    }
}

/// A read on its way through the lanes.
#[derive(Debug)]
pub(in crate::resolver) struct GraphJob<Q, T> {
    pub(super) query: Q,
    deadline: Instant,
    reply: oneshot::Sender<Result<T, IdentifyError>>,
    /// Since when it waits.
    pub(super) queued: tokio::time::Instant,
    /// Its place in a trace.
    pub(super) trace: RequestTrace,
    /// `None` if the request has its permit elsewhere.
    permit: Option<Permit>,
}

impl<Q, T> GraphJob<Q, T> {
    /// Returns a new job, and the receiver of its reply.
    pub(in crate::resolver) fn new(
        query: Q,
        deadline: Instant,
        permit: impl Into<Option<Permit>>,
        trace: RequestTrace,
    ) -> (Self, ReplyReceiver<T>) {
        let (reply, receiver) = oneshot::channel();
        let queued = tokio::time::Instant::now();
        (Self { query, deadline, reply, queued, trace, permit: permit.into() }, receiver)
    }

    /// Returns whether the caller still waits.
    pub(super) fn is_wanted(&self) -> bool {
        !self.reply.is_closed() && !has_passed(self.deadline)
    }

    /// Sends the reply.
    pub(super) fn reply(mut self, result: Result<T, &StoreError>) {
        let result = result.map_err(IdentifyError::from);
        // An outage is no work done.
        if let Some(permit) = self.permit.as_mut().filter(|_| !matches!(result, Err(IdentifyError::Unavailable))) {
            permit.set_answered(None);
        }
        drop(self.reply.send(result)); // The caller may be gone.
    }
}
