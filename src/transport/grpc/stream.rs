//! `StreamIdentify`: one open stream.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, unfold};
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep_until;
use tonic::{Request, Status, Streaming};

use super::convert;
use super::errors::error_from_tonic;
use super::identity_api::{IdentityApi, observation};
use super::settings::GrpcSettings;
use crate::domain::Observation;
use crate::proto::identity::v1 as pb;
use crate::resolver::{Answers, Identify, IdentifyError};
use crate::transport::batch::{ItemResult, StreamItemCounts};
use crate::transport::deadline::Deadlines;
use crate::transport::errors::ApiError;
use crate::transport::ordering::{IdentifierOrder, OrderedGroup};
use crate::transport::parse::FieldNames;

/// Maximum items under way of one stream. It is enough to fill a few transactions, and bounds what a client that does
/// not read makes the service hold.
const WINDOW: usize = 1_024;

/// The answers of a stream.
pub(super) type AnswerStream = Pin<Box<dyn Stream<Item = Result<pb::StreamIdentifyResponse, Status>> + Send>>;

/// Returns the answers of a stream.
///
/// The work advances only when an answer is polled. So the requests of a client that does not take its answers are not
/// read, and when the client goes away, everything under way is dropped.
pub(super) fn answer_stream<R: Identify>(
    api: &IdentityApi<R>,
    request: Request<Streaming<pb::StreamIdentifyRequest>>,
    counts: StreamItemCounts,
) -> AnswerStream {
    let deadline = request.extensions().get().and_then(|deadlines: &Deadlines| deadlines.asked);
    let expired = async move {
        match deadline {
            Some(at) => sleep_until(at.into()).await,
            None => pending().await,
        }
    };
    let state = StreamState {
        resolver: api.resolver.clone(),
        settings: api.settings,
        places: Arc::clone(&api.stream_places),
        requests: request.into_inner(),
        end: None,
        shutdown: api.readiness.clone().shutdown().boxed(),
        expired: expired.boxed(),
        admission: None,
        order: IdentifierOrder::default(),
        groups: FuturesUnordered::new(),
        under_way: 0,
        answers: VecDeque::new(),
        counts,
    };
    unfold(Box::new(state), |mut state| async { state.next().await.map(|next| (next, state)) }).boxed()
}

/// An item under way.
struct Item {
    correlation_id: String,
    _place: OwnedSemaphorePermit,
}

/// A group that is done.
type Done = (OrderedGroup<Item>, Answers);

/// An open stream.
struct StreamState<R> {
    resolver: R,
    settings: GrpcSettings,
    places: Arc<Semaphore>,
    requests: Streaming<pb::StreamIdentifyRequest>,
    /// Set when no more requests are read: how the stream ends once everything under way is answered.
    end: Option<Result<(), Status>>,
    shutdown: BoxFuture<'static, ()>,
    expired: BoxFuture<'static, ()>,
    /// An item that waits for a place. Nothing is read meanwhile.
    admission: Option<BoxFuture<'static, (Observation, Item)>>,
    order: IdentifierOrder<Item>,
    groups: FuturesUnordered<BoxFuture<'static, Done>>,
    under_way: usize,
    /// Answers that are ready to send.
    answers: VecDeque<pb::StreamIdentifyResponse>,
    counts: StreamItemCounts,
}

impl<R: Identify> StreamState<R> {
    /// The next answer, or the end.
    async fn next(&mut self) -> Option<Result<pb::StreamIdentifyResponse, Status>> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Some(Ok(answer));
            }
            let is_open = self.end.is_none();
            let may_read = is_open && self.admission.is_none() && self.under_way < WINDOW;
            if !is_open && self.under_way == 0 {
                return self.end.replace(Ok(())).and_then(Result::err).map(Err);
            }
            tokio::select! {
                biased;
                () = &mut self.expired => {
                    self.under_way = 0;
                    self.end = Some(Err(status(&IdentifyError::DeadlineExceeded.into())));
                }
                () = &mut self.shutdown, if is_open => {
                    self.admission = None;
                    self.end = Some(Err(status(&ApiError::NotReady)));
                }
                Some(done) = self.groups.next(), if !self.groups.is_empty() => self.finish(done),
                (observation, item) = admitted(&mut self.admission), if self.admission.is_some() => {
                    self.admission = None;
                    self.take(observation, item);
                }
                request = self.requests.message(), if may_read => self.read(request),
            }
        }
    }

    /// Handles a message, or the end of the messages.
    fn read(&mut self, request: Result<Option<pb::StreamIdentifyRequest>, Status>) {
        match request {
            Ok(Some(request)) => self.admit(request),
            Ok(None) => self.end = Some(Ok(())),
            Err(tonic_error) => {
                let error = error_from_tonic(&tonic_error, self.settings.limits.http_body_limit);
                self.end = Some(Err(error.as_ref().map_or(tonic_error, status)));
            }
        }
    }

    /// Starts a request as soon as there is a place for it. An invalid one is answered at once.
    fn admit(&mut self, request: pb::StreamIdentifyRequest) {
        let pb::StreamIdentifyRequest { correlation_id, request } = request;
        match observation(&request.unwrap_or_default(), &self.settings) {
            Err(error) => self.answer(correlation_id, &Err(error)),
            Ok(observation) => match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => self.take(observation, Item { correlation_id, _place: place }),
                Err(_) => {
                    let places = Arc::clone(&self.places);
                    self.admission = Some(Box::pin(async move {
                        match places.acquire_owned().await {
                            Ok(place) => (observation, Item { correlation_id, _place: place }),
                            Err(_) => pending().await, // Never closed.
                        }
                    }));
                }
            },
        }
    }

    fn take(&mut self, observation: Observation, item: Item) {
        self.under_way += 1;
        let group = self.order.push(observation, item);
        self.start(group);
    }

    fn start(&mut self, group: Option<OrderedGroup<Item>>) {
        let Some(group) = group else { return };
        let (resolver, timeout) = (self.resolver.clone(), self.settings.limits.request_timeout);
        self.groups.push(Box::pin(async move {
            let observations = group.iter().map(|(observation, _)| observation.clone()).collect();
            let answers = resolver.identify_in_turn(observations, timeout).await;
            (group, answers)
        }));
    }

    fn finish(&mut self, (group, answers): Done) {
        let next = self.order.finish(group.iter().map(|(observation, _)| observation));
        self.start(next);
        self.under_way -= group.len();
        for ((_, item), answer) in group.into_iter().zip(answers) {
            self.answer(item.correlation_id, &answer.map_err(ApiError::from));
        }
    }

    fn answer(&mut self, correlation_id: String, result: &ItemResult) {
        self.counts.count(result.is_ok());
        let item = convert::stream_item(result, self.settings.limits.answer_limit, correlation_id.len());
        self.answers.push_back(pb::StreamIdentifyResponse { result: Some(item), correlation_id });
    }
}

/// Returns the waiting item once it has a place.
async fn admitted(admission: &mut Option<BoxFuture<'static, (Observation, Item)>>) -> (Observation, Item) {
    match admission {
        Some(admission) => admission.await,
        None => pending().await,
    }
}

fn status(error: &ApiError) -> Status {
    error.status(FieldNames::Proto)
}
