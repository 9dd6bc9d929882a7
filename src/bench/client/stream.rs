use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use futures::future::join_all;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use super::api_client::{ApiClient, CallResult};
use super::authorized_channel::AuthorizedChannel;
use super::service_address::ServiceAddress;
use crate::proto::identity::v1::identity_service_client::IdentityServiceClient;
use crate::proto::identity::v1::stream_identify_response::Result as Found;
use crate::proto::identity::v1::{IdentifyRequest, StreamIdentifyRequest, StreamIdentifyResponse};

/// Sends requests on a stream of StreamIdentify, which all callers of a connection share.
///
/// The stream stays open. A caller sends at once, also while other callers wait for their answers.
#[derive(Debug)]
pub(in crate::bench) struct StreamClient(Arc<Mutex<SharedConnection>>);

/// A connection and its stream. A caller opens the stream with the first request.
#[derive(Debug)]
struct SharedConnection {
    client: IdentityServiceClient<AuthorizedChannel>,
    open: Option<OpenStream>,
}

/// A stream that takes requests.
#[derive(Debug)]
struct OpenStream {
    requests: mpsc::UnboundedSender<StreamIdentifyRequest>,
    waiting: Waiting,
    /// The correlation id of the next request.
    next: u64,
}

/// The callers that wait, by correlation id. `None` after the end of the stream.
type Waiting = Arc<Lock<Option<HashMap<u64, oneshot::Sender<CallResult>>>>>;

impl ApiClient for StreamClient {
    async fn open(address: &ServiceAddress, callers: u32) -> anyhow::Result<Vec<Self>> {
        let channels = address.connect_grpc(callers).await?;
        let line = |channel| {
            Arc::new(Mutex::new(SharedConnection { client: IdentityServiceClient::new(channel), open: None }))
        };
        let lines: Vec<_> = channels.into_iter().map(line).collect();
        Ok(lines.into_iter().cycle().take(usize::try_from(callers)?).map(Self).collect())
    }

    async fn send(&mut self, requests: Vec<IdentifyRequest>) -> Vec<CallResult> {
        let count = requests.len();
        let answers = match self.0.lock().await.send_all(requests).await {
            Ok(answers) => answers,
            Err(status) => return vec![Err(status.code()); count],
        };
        // The answer is lost if its stream ended.
        join_all(answers).await.into_iter().map(|answer| answer.unwrap_or(Err(Code::Unavailable))).collect()
    }
}

impl SharedConnection {
    /// Sends the requests, on a new stream if there is none.
    async fn send_all(&mut self, requests: Vec<IdentifyRequest>) -> Result<Vec<oneshot::Receiver<CallResult>>, Status> {
        let open = match self.open.take().filter(OpenStream::is_open) {
            Some(open) => open,
            None => OpenStream::open(&mut self.client).await?,
        };
        let open = self.open.insert(open);
        Ok(requests.into_iter().map(|request| open.send(request)).collect())
    }
}

impl OpenStream {
    async fn open(client: &mut IdentityServiceClient<AuthorizedChannel>) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let answers = client.stream_identify(UnboundedReceiverStream::new(receiver)).await?.into_inner();
        let waiting = Waiting::new(Lock::new(Some(HashMap::new())));
        tokio::spawn(deliver_answers(answers, Arc::clone(&waiting)));
        Ok(Self { requests, waiting, next: 0 })
    }

    fn is_open(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn send(&mut self, request: IdentifyRequest) -> oneshot::Receiver<CallResult> {
        let (give, answer) = oneshot::channel();
        if let Some(waiting) = &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) {
            waiting.insert(self.next, give);
            let correlation_id = self.next.to_string();
            // If the stream has just ended, so has the wait.
            let _ = self.requests.send(StreamIdentifyRequest { correlation_id, request: Some(request) });
        }
        self.next += 1;
        answer
    }
}

/// Delivers each answer to its caller. When the stream ends, its status goes to all callers that still wait.
async fn deliver_answers(mut answers: Streaming<StreamIdentifyResponse>, waiting: Waiting) {
    let end = loop {
        match answers.message().await {
            Ok(Some(answer)) => deliver_answer(answer, &waiting),
            Ok(None) => break Code::Unavailable,
            Err(status) => break status.code(),
        }
    };
    let left = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    for waits in left.into_iter().flat_map(HashMap::into_values) {
        let _ = waits.send(Err(end)); // The caller may be gone.
    }
}

fn deliver_answer(answer: StreamIdentifyResponse, waiting: &Waiting) {
    let waits = answer
        .correlation_id
        .parse()
        .ok()
        .and_then(|id: u64| waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.remove(&id));
    let found = match answer.result {
        Some(Found::Response(response)) => Ok(response.outcome()),
        Some(Found::Error(status)) => Err(status.code.into()),
        None => Err(Code::Unknown),
    };
    if let Some(waits) = waits {
        let _ = waits.send(found); // The caller may be gone.
    }
}
