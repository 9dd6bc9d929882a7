//! Answers of a stream that wait until its client takes them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, mpsc};
use tonic::Status;

use super::convert;
use crate::proto::identity::v1 as pb;
use crate::resolver::IdentifyError;
use crate::transport::batch::ItemResult;
use crate::transport::errors::ApiError;
use crate::transport::parse::FieldNames;

/// Returns the two halves of the buffer of a stream, whose answers have at most so many bytes.
pub(super) fn answer_buffer(answer_limit: usize) -> (AnswerSender, AnswerReceiver) {
    let (send, waiting) = mpsc::unbounded_channel();
    let buffer = Arc::new(AnswerBuffer::default());
    (
        AnswerSender { send, buffer: Arc::clone(&buffer) },
        AnswerReceiver { waiting, buffer, answer_limit, has_ended: false },
    )
}

/// An answer that waits, or the end of the stream.
enum Waiting {
    Answer(WaitingAnswer),
    End(Result<(), Status>),
}

struct WaitingAnswer {
    correlation_id: String,
    result: ItemResult,
    contacts: usize,
}

/// How many answers of a stream wait to be taken.
#[derive(Debug, Default)]
pub(super) struct AnswerBuffer {
    answers: AtomicUsize,
    /// The contacts that the waiting answers hold in memory.
    contacts: AtomicUsize,
    /// Answers that were taken since the stream began.
    taken: AtomicUsize,
    /// Why the stream ends before the waiting answers.
    cut: OnceLock<Status>,
    changed: Notify,
}

impl AnswerBuffer {
    pub(super) fn answers(&self) -> usize {
        self.answers.load(Ordering::Acquire)
    }

    pub(super) fn contacts(&self) -> usize {
        self.contacts.load(Ordering::Acquire)
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Resolves after answers were taken.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// The half of the buffer that takes answers in.
pub(super) struct AnswerSender {
    send: mpsc::UnboundedSender<Waiting>,
    pub(super) buffer: Arc<AnswerBuffer>,
}

impl AnswerSender {
    /// Adds an answer, which holds so many contacts in memory that no other waiting answer holds.
    pub(super) fn answer(&self, correlation_id: String, result: ItemResult, contacts: usize) {
        self.buffer.answers.fetch_add(1, Ordering::AcqRel);
        self.buffer.contacts.fetch_add(contacts, Ordering::AcqRel);
        // The client may be gone; then the task ends soon.
        let _ = self.send.send(Waiting::Answer(WaitingAnswer { correlation_id, result, contacts }));
    }

    /// Ends the stream after the answers before.
    pub(super) fn end(&self, end: Result<(), Status>) {
        let _ = self.send.send(Waiting::End(end));
    }

    /// Ends the stream at once: answers that wait are dropped.
    pub(super) fn cut(&self, status: Status) {
        let _ = self.buffer.cut.set(status.clone());
        self.end(Err(status)); // Wakes a client that waits for an answer.
    }
}

/// The half of the buffer that the client takes answers from.
pub(super) struct AnswerReceiver {
    waiting: mpsc::UnboundedReceiver<Waiting>,
    buffer: Arc<AnswerBuffer>,
    /// Maximum size of an answer, in bytes.
    answer_limit: usize,
    has_ended: bool,
}

impl AnswerReceiver {
    /// The next answer, or the end.
    pub(super) async fn next(&mut self) -> Option<Result<pb::StreamIdentifyResponse, Status>> {
        if self.has_ended {
            return None;
        }
        if let Some(status) = self.buffer.cut.get() {
            self.has_ended = true;
            while self.waiting.try_recv().is_ok() {}
            return Some(Err(status.clone()));
        }
        match self.waiting.recv().await {
            Some(Waiting::Answer(WaitingAnswer { correlation_id, result, contacts })) => {
                self.buffer.answers.fetch_sub(1, Ordering::AcqRel);
                self.buffer.contacts.fetch_sub(contacts, Ordering::AcqRel);
                self.buffer.taken.fetch_add(1, Ordering::AcqRel);
                self.buffer.changed.notify_one();
                let result = Some(convert::stream_item(&result, self.answer_limit, correlation_id.len()));
                Some(Ok(pb::StreamIdentifyResponse { correlation_id, result }))
            }
            Some(Waiting::End(end)) => {
                self.has_ended = true;
                end.err().map(Err)
            }
            // The task panicked, which the log says.
            None => {
                self.has_ended = true;
                Some(Err(ApiError::from(IdentifyError::Internal).status(FieldNames::Proto)))
            }
        }
    }
}
