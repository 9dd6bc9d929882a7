//! `StreamIdentify`: the work of one stream.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Status, Streaming};

use super::answer_buffer::AnswerSender;
use super::errors::error_from_tonic;
use super::identity_api::{IdentityApi, parsed};
use super::inflate::MessageRoom;
use super::settings::GrpcSettings;
use crate::domain::{Identity, Observation};
use crate::proto::identity::v1 as pb;
use crate::resolver::{Answers, Identify, IdentifyRequest};
use crate::transport::answered::Answered;
use crate::transport::batch::{ItemResult, StreamItemCounts};
use crate::transport::errors::ApiError;
use crate::transport::ordering::{IdentifierOrder, OrderedGroup};
use crate::transport::parse::{FieldNames, Parsed, Violation};
use crate::transport::peer::resolver_for;
use crate::transport::stream_end::{shutdown_or_age, time_or_permission_ended};

/// Maximum items of one stream that are under way or whose answers wait: enough to fill a few transactions.
const WINDOW: usize = 1_024;

/// The same for a stream whose client has taken no answer yet. Each answer that the client takes adds one, so that a
/// client that reads has the whole window after a few round trips, and one that does not read holds little.
const FIRST_WINDOW: usize = 64;

/// If waiting answers hold so many contacts, nothing more is started: an identity can have thousands of them.
const WAITING_CONTACTS: usize = 4_096;

/// An item that is being resolved.
struct Item {
    correlation_id: String,
    validate_only: bool,
    /// What was left out of the item.
    malformed: Vec<Violation>,
}

/// A group that is done.
type Done = (OrderedGroup<Item>, Answers);

/// A group with its permits, which may be fewer than its items if there are not so many at all.
type Admitted = (OrderedGroup<Item>, OwnedSemaphorePermit);

/// The work of one stream: reads items, resolves them in order, and hands the answers over.
pub(super) struct StreamDriver<R> {
    resolver: R,
    settings: GrpcSettings,
    /// One permit for each item that is being resolved, of all streams together.
    places: Arc<Semaphore>,
    requests: Streaming<pb::StreamIdentifyRequest>,
    /// The room of a compressed message, given back once it is parsed, or dropped.
    room: Option<MessageRoom>,
    /// Set when no more requests are read: how the stream ends once everything under way is answered.
    end: Option<Result<(), Status>>,
    shutdown: BoxFuture<'static, ApiError>,
    /// Ends the stream at once, without what is under way and what the client has not taken.
    cut: BoxFuture<'static, ApiError>,
    order: IdentifierOrder<Item>,
    /// Groups that wait for the client to take answers, or for the group in `admission`.
    ready: VecDeque<OrderedGroup<Item>>,
    /// A group that waits for permits. Nothing is read meanwhile.
    admission: Option<BoxFuture<'static, Admitted>>,
    groups: FuturesUnordered<BoxFuture<'static, Done>>,
    under_way: usize,
    answers: AnswerSender,
    /// The list of contacts of the latest answer. Answers in a row often share one.
    latest: Weak<Identity>,
    counts: StreamItemCounts,
}

impl<R: Identify> StreamDriver<R> {
    pub(super) fn new(
        api: &IdentityApi<R>,
        request: Request<Streaming<pb::StreamIdentifyRequest>>,
        answers: AnswerSender,
        counts: StreamItemCounts,
    ) -> Self {
        let cut = time_or_permission_ended(request.extensions());
        let shutdown = shutdown_or_age(request.extensions(), Some(api.readiness.clone()));
        Self {
            resolver: resolver_for(&api.resolver, request.extensions()),
            settings: api.settings,
            places: Arc::clone(&api.stream_places),
            room: request.extensions().get().cloned(),
            requests: request.into_inner(),
            end: None,
            shutdown: shutdown.boxed(),
            cut: cut.boxed(),
            order: IdentifierOrder::default(),
            ready: VecDeque::new(),
            admission: None,
            groups: FuturesUnordered::new(),
            under_way: 0,
            answers,
            latest: Weak::new(),
            counts,
        }
    }

    /// Works until the stream ends.
    pub(super) async fn run(mut self) {
        let buffer = Arc::clone(&self.answers.buffer);
        loop {
            self.start_ready();
            let is_open = self.end.is_none();
            if !is_open && self.under_way == 0 {
                return self.answers.end(self.end.unwrap_or(Ok(())));
            }
            let window = WINDOW.min(FIRST_WINDOW.saturating_add(buffer.taken()));
            let is_held_back = self.under_way + buffer.answers() >= window || buffer.contacts() >= WAITING_CONTACTS;
            let may_begin = is_open && !is_held_back && self.admission.is_none() && self.ready.is_empty();
            // A message under way is read to its end, at most one more than may begin: others wait for its room.
            let may_read = may_begin || self.room.as_ref().is_some_and(MessageRoom::is_in_use);
            tokio::select! {
                biased;
                error = &mut self.cut => return self.answers.cut(status(&error)),
                error = &mut self.shutdown, if is_open => self.end = Some(Err(status(&error))),
                Some(done) = self.groups.next(), if !self.groups.is_empty() => self.finish(done),
                admitted = admitted(&mut self.admission), if self.admission.is_some() => {
                    self.admission = None;
                    self.resolve(admitted);
                }
                () = buffer.changed(), if is_held_back => {}
                request = self.requests.message(), if may_read => self.read(request),
            }
        }
    }

    /// Handles a message, or the end of the messages. Drops what comes after the end.
    fn read(&mut self, request: Result<Option<pb::StreamIdentifyRequest>, Status>) {
        match request {
            _ if self.end.is_some() => drop(request),
            Ok(Some(request)) => self.take(request),
            Ok(None) => self.end = Some(Ok(())),
            Err(tonic_error) => {
                let error = error_from_tonic(&tonic_error, self.settings.limits.http_body_limit);
                self.end = Some(Err(error.as_ref().map_or(tonic_error, status)));
            }
        }
        if let Some(room) = &self.room {
            room.give_back(); // The next message may not be asked for until the client takes answers.
        }
    }

    /// Takes an item. An invalid one is answered at once.
    fn take(&mut self, request: pb::StreamIdentifyRequest) {
        let pb::StreamIdentifyRequest { correlation_id, request } = request;
        match parsed(&request.unwrap_or_default(), &self.settings) {
            Err(error) => self.answer(correlation_id, Err(error)),
            Ok(Parsed { request: IdentifyRequest { observation, validate_only }, malformed }) => {
                self.under_way += 1;
                self.ready.extend(self.order.push(observation, Item { correlation_id, validate_only, malformed }));
            }
        }
    }

    /// Starts groups, if the client takes its answers and as long as there are permits.
    fn start_ready(&mut self) {
        while self.admission.is_none() && self.answers.buffer.contacts() < WAITING_CONTACTS {
            let Some(group) = self.ready.pop_front() else { return };
            let total = self.settings.stream_items.clamp(1, Semaphore::MAX_PERMITS);
            let permits = u32::try_from(group.len().min(total)).unwrap_or(u32::MAX);
            match Arc::clone(&self.places).try_acquire_many_owned(permits) {
                Ok(places) => self.resolve((group, places)),
                Err(_) => {
                    let places = Arc::clone(&self.places);
                    self.admission = Some(Box::pin(async move {
                        match places.acquire_many_owned(permits).await {
                            Ok(places) => (group, places),
                            Err(_) => pending().await, // Never closed.
                        }
                    }));
                }
            }
        }
    }

    fn resolve(&mut self, (group, places): Admitted) {
        let (resolver, timeout) = (self.resolver.clone(), self.settings.limits.request_timeout);
        self.groups.push(Box::pin(async move {
            let request = |(observation, item): &(Observation, Item)| IdentifyRequest {
                observation: observation.clone(),
                validate_only: item.validate_only,
            };
            let answers = resolver.identify_in_turn(group.iter().map(request).collect(), timeout).await;
            drop(places);
            (group, answers)
        }));
    }

    fn finish(&mut self, (group, answers): Done) {
        self.ready.extend(self.order.finish(group.iter().map(|(observation, _)| observation)));
        self.under_way -= group.len();
        for ((_, Item { correlation_id, malformed, .. }), answer) in group.into_iter().zip(answers) {
            let result = Answered::new(answer, malformed);
            self.answer(correlation_id, result);
        }
    }

    fn answer(&mut self, correlation_id: String, result: ItemResult) {
        self.counts.count(result.as_ref().err());
        let contacts = match &result {
            Ok(Answered { answer, .. }) if self.latest.as_ptr() != Arc::as_ptr(answer.identity.list()) => {
                self.latest = Arc::downgrade(answer.identity.list());
                answer.identity.list().contacts().len()
            }
            Ok(_) | Err(_) => 0,
        };
        self.answers.answer(correlation_id, result, contacts);
    }
}

/// Returns the waiting group once it has its permits.
async fn admitted(admission: &mut Option<BoxFuture<'static, Admitted>>) -> Admitted {
    match admission {
        Some(admission) => admission.await,
        None => pending().await,
    }
}

fn status(error: &ApiError) -> Status {
    error.status(FieldNames::Proto)
}
