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

use super::errors::fault_of;
use super::service::{IdentityApi, observation};
use super::{GrpcSettings, convert};
use crate::domain::Observation;
use crate::proto::identity::v1 as pb;
use crate::resolver::{Answers, Identify, IdentifyError};
use crate::transport::{ApiError, Deadlines, IdentifierOrder, ItemResult, Naming, OpenTally, OrderedGroup};

/// The most items of one stream that are under way: enough to fill a few transactions, and what a client
/// that does not read can make the service hold.
const WINDOW: usize = 1_024;

/// The answers of a stream.
pub(super) type AnswerStream = Pin<Box<dyn Stream<Item = Result<pb::StreamIdentifyResponse, Status>> + Send>>;

/// Answers a stream for as long as it lasts.
///
/// Nothing runs but when an answer is asked for, so a client that does not take its answers stops the
/// reading of its requests; and when it goes away, all that is under way goes with it.
pub(super) fn answer<R: Identify>(
    api: &IdentityApi<R>,
    request: Request<Streaming<pb::StreamIdentifyRequest>>,
    tally: OpenTally,
) -> AnswerStream {
    let deadline = request.extensions().get().and_then(|deadlines: &Deadlines| deadlines.asked);
    let expired = async move {
        match deadline {
            Some(at) => sleep_until(at.into()).await,
            None => pending().await,
        }
    };
    let talk = StreamState {
        resolver: api.resolver.clone(),
        settings: api.settings,
        places: Arc::clone(&api.stream_places),
        requests: request.into_inner(),
        end: None,
        drained: api.readiness.clone().drained().boxed(),
        expired: expired.boxed(),
        admission: None,
        order: IdentifierOrder::default(),
        runs: FuturesUnordered::new(),
        under_way: 0,
        answers: VecDeque::new(),
        tally,
    };
    unfold(Box::new(talk), |mut talk| async { talk.next().await.map(|next| (next, talk)) }).boxed()
}

/// An item under way.
struct Item {
    correlation_id: String,
    _place: OwnedSemaphorePermit,
}

/// What became of a run.
type Done = (OrderedGroup<Item>, Answers);

/// A stream that is open.
struct StreamState<R> {
    resolver: R,
    settings: GrpcSettings,
    places: Arc<Semaphore>,
    requests: Streaming<pb::StreamIdentifyRequest>,
    /// Once no more requests are read: what the stream ends with when all that is under way is answered.
    end: Option<Result<(), Status>>,
    drained: BoxFuture<'static, ()>,
    expired: BoxFuture<'static, ()>,
    /// An item that waits for its place. Nothing is read meanwhile.
    admission: Option<BoxFuture<'static, (Observation, Item)>>,
    order: IdentifierOrder<Item>,
    runs: FuturesUnordered<BoxFuture<'static, Done>>,
    under_way: usize,
    /// Ready to be sent.
    answers: VecDeque<pb::StreamIdentifyResponse>,
    tally: OpenTally,
}

impl<R: Identify> StreamState<R> {
    /// The next answer, or the end.
    async fn next(&mut self) -> Option<Result<pb::StreamIdentifyResponse, Status>> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                return Some(Ok(answer));
            }
            let is_open = self.end.is_none();
            if !is_open && self.under_way == 0 {
                return self.end.replace(Ok(())).and_then(Result::err).map(Err);
            }
            tokio::select! {
                biased;
                () = &mut self.expired => {
                    self.under_way = 0;
                    self.end = Some(Err(status(&IdentifyError::DeadlineExceeded.into())));
                }
                () = &mut self.drained, if is_open => {
                    self.admission = None;
                    self.end = Some(Err(status(&ApiError::NotReady)));
                }
                Some(done) = self.runs.next(), if !self.runs.is_empty() => self.finish(done),
                (observation, item) = admitted(&mut self.admission), if self.admission.is_some() => {
                    self.admission = None;
                    self.take(observation, item);
                }
                request = self.requests.message(), if is_open && self.admission.is_none() && self.under_way < WINDOW => {
                    self.read(request);
                }
            }
        }
    }

    /// A message came, or the end of them.
    fn read(&mut self, request: Result<Option<pb::StreamIdentifyRequest>, Status>) {
        match request {
            Ok(Some(request)) => self.admit(request),
            Ok(None) => self.end = Some(Ok(())),
            Err(error) => {
                let fault = fault_of(&error, self.settings.limits.http_body_limit);
                self.end = Some(Err(fault.as_ref().map_or(error, status)));
            }
        }
    }

    /// Takes up a request as soon as there is a place for it; a bad one is answered at once.
    fn admit(&mut self, request: pb::StreamIdentifyRequest) {
        let pb::StreamIdentifyRequest { correlation_id, request } = request;
        match observation(&request.unwrap_or_default(), self.settings.identify.phone_region) {
            Err(fault) => self.answer(correlation_id, &Err(fault)),
            Ok(observation) => match Arc::clone(&self.places).try_acquire_owned() {
                Ok(place) => self.take(observation, Item { correlation_id, _place: place }),
                Err(_) => {
                    let places = Arc::clone(&self.places);
                    self.admission = Some(Box::pin(async move {
                        match places.acquire_owned().await {
                            Ok(place) => (observation, Item { correlation_id, _place: place }),
                            Err(_) => pending().await, // Closed never.
                        }
                    }));
                }
            },
        }
    }

    fn take(&mut self, observation: Observation, item: Item) {
        self.under_way += 1;
        let run = self.order.push(observation, item);
        self.start(run);
    }

    fn start(&mut self, run: Option<OrderedGroup<Item>>) {
        let Some(run) = run else { return };
        let (resolver, timeout) = (self.resolver.clone(), self.settings.limits.request_timeout);
        self.runs.push(Box::pin(async move {
            let observations = run.iter().map(|(observation, _)| observation.clone()).collect();
            let answers = resolver.identify_in_turn(observations, timeout).await;
            (run, answers)
        }));
    }

    fn finish(&mut self, (run, answers): Done) {
        let next = self.order.done(run.iter().map(|(observation, _)| observation));
        self.start(next);
        self.under_way -= run.len();
        for ((_, item), answer) in run.into_iter().zip(answers) {
            self.answer(item.correlation_id, &answer.map_err(ApiError::from));
        }
    }

    fn answer(&mut self, correlation_id: String, result: &ItemResult) {
        self.tally.count(result.is_ok());
        self.answers.push_back(pb::StreamIdentifyResponse { correlation_id, result: Some(convert::of_stream(result)) });
    }
}

/// The item that waits, once it has its place.
async fn admitted(admission: &mut Option<BoxFuture<'static, (Observation, Item)>>) -> (Observation, Item) {
    match admission {
        Some(admission) => admission.await,
        None => pending().await,
    }
}

fn status(fault: &ApiError) -> Status {
    fault.status(Naming::Proto)
}
