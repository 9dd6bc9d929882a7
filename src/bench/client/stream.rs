use std::collections::HashMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use futures::future::join_all;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::{Answer, Client, Target};
use crate::proto::identity::v1::identity_service_client::IdentityServiceClient;
use crate::proto::identity::v1::stream_identify_response::Result as Found;
use crate::proto::identity::v1::{IdentifyRequest, StreamIdentifyRequest, StreamIdentifyResponse};

/// A place in a stream, which the callers of a connection share. It stays open: what one of them asks goes
/// out at once, whether the others have their answers or not.
#[derive(Debug)]
pub(in crate::bench) struct Stream(Arc<Mutex<Line>>);

/// A connection, and its stream once somebody asked.
#[derive(Debug)]
struct Line {
    client: IdentityServiceClient<Channel>,
    open: Option<Open>,
}

/// A stream that takes requests.
#[derive(Debug)]
struct Open {
    requests: mpsc::UnboundedSender<StreamIdentifyRequest>,
    waiting: Waiting,
    /// The correlation id of the next request.
    next: u64,
}

/// Who waits for which answer, by correlation id; `None` once the stream has ended.
type Waiting = Arc<Lock<Option<HashMap<u64, oneshot::Sender<Answer>>>>>;

impl Client for Stream {
    async fn open(target: &Target, callers: u32) -> anyhow::Result<Vec<Self>> {
        let channels = target.connect(callers).await?;
        let line = |channel| Arc::new(Mutex::new(Line { client: IdentityServiceClient::new(channel), open: None }));
        let lines: Vec<_> = channels.into_iter().map(line).collect();
        Ok(lines.into_iter().cycle().take(usize::try_from(callers)?).map(Self).collect())
    }

    async fn ask(&mut self, requests: Vec<IdentifyRequest>) -> Vec<Answer> {
        let count = requests.len();
        let answers = match self.0.lock().await.ask(requests).await {
            Ok(answers) => answers,
            Err(status) => return vec![Err(status.code()); count],
        };
        // An answer that nobody sends any more went with its stream.
        join_all(answers).await.into_iter().map(|answer| answer.unwrap_or(Err(Code::Unavailable))).collect()
    }
}

impl Line {
    /// Sends the requests, on a new stream if there is none.
    async fn ask(&mut self, requests: Vec<IdentifyRequest>) -> Result<Vec<oneshot::Receiver<Answer>>, Status> {
        let open = match self.open.take().filter(Open::is_open) {
            Some(open) => open,
            None => Open::open(&mut self.client).await?,
        };
        let open = self.open.insert(open);
        Ok(requests.into_iter().map(|request| open.send(request)).collect())
    }
}

impl Open {
    async fn open(client: &mut IdentityServiceClient<Channel>) -> Result<Self, Status> {
        let (requests, asked) = mpsc::unbounded_channel();
        let answers = client.stream_identify(UnboundedReceiverStream::new(asked)).await?.into_inner();
        let waiting = Waiting::new(Lock::new(Some(HashMap::new())));
        tokio::spawn(hand_out(answers, Arc::clone(&waiting)));
        Ok(Self { requests, waiting, next: 0 })
    }

    fn is_open(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn send(&mut self, request: IdentifyRequest) -> oneshot::Receiver<Answer> {
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

/// Gives everybody his answer; when the stream ends, its status to all who still wait.
async fn hand_out(mut answers: Streaming<StreamIdentifyResponse>, waiting: Waiting) {
    let end = loop {
        match answers.message().await {
            Ok(Some(answer)) => hand_over(answer, &waiting),
            Ok(None) => break Code::Unavailable,
            Err(status) => break status.code(),
        }
    };
    let left = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    for waits in left.into_iter().flat_map(HashMap::into_values) {
        let _ = waits.send(Err(end)); // Or nobody waits any more.
    }
}

fn hand_over(answer: StreamIdentifyResponse, waiting: &Waiting) {
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
        let _ = waits.send(found); // Or nobody waits any more.
    }
}
