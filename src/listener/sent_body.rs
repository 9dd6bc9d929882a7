//! The body of a response, in parts.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::outgoing::{Outgoing, PART};

/// The body of a response, handed out in parts, each when HTTP has room for it.
pub(super) struct SentBody {
    body: Body,
    /// What is left of the last frame of the body.
    rest: Bytes,
    outgoing: Arc<Outgoing>,
}

impl SentBody {
    pub(super) fn new(body: Body, outgoing: Arc<Outgoing>) -> Self {
        Self { body, rest: Bytes::new(), outgoing }
    }
}

impl Drop for SentBody {
    fn drop(&mut self) {
        if !self.rest.is_empty() {
            self.outgoing.give_up(); // Before the body is dropped, which asks.
        }
        self.outgoing.remove_waiting(self.rest.len());
    }
}

impl HttpBody for SentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        ready!(self.outgoing.poll_room(cx));
        if self.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) if !data.is_empty() => {
                    self.outgoing.add_waiting(data.len());
                    self.rest = data;
                }
                Ok(nothing) => return Poll::Ready(Some(Ok(Frame::data(nothing)))),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let size = self.rest.len().min(PART);
        let part = self.rest.split_to(size);
        Poll::Ready(Some(Ok(Frame::data(self.outgoing.hand_out(part)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(body.lower().saturating_add(rest));
        hint
    }
}
