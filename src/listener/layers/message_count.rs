//! Counting the messages in the body of a gRPC call.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::metrics::GrpcMethod;

/// Bytes before each message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// Finds the ends of messages in the bytes of a body, however they are cut.
#[derive(Debug, Default)]
pub(super) struct MessageCount {
    head: [u8; HEAD],
    /// Bytes of `head` that are there.
    filled: usize,
    /// Bytes of the message that are still to come.
    rest: usize,
}

impl MessageCount {
    /// Returns how many messages end in these bytes.
    pub(super) fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.filled < HEAD {
                let part = bytes.len().min(HEAD - self.filled);
                self.head[self.filled..self.filled + part].copy_from_slice(&bytes[..part]);
                self.filled += part;
                bytes = &bytes[part..];
                if self.filled < HEAD {
                    break;
                }
                let [_, a, b, c, d] = self.head;
                self.rest = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            }
            let part = bytes.len().min(self.rest);
            self.rest -= part;
            bytes = &bytes[part..];
            if self.rest == 0 {
                self.filled = 0;
                ended += 1;
            }
        }
        ended
    }
}

pin_project! {
    /// The body of a request, whose messages are counted if it is a gRPC call.
    pub(crate) struct CountedRequest<B> {
        #[pin]
        body: B,
        counted: Option<(GrpcMethod, MessageCount)>,
    }
}

impl<B> CountedRequest<B> {
    pub(super) fn new(body: B, method: Option<GrpcMethod>) -> Self {
        Self { body, counted: method.map(|method| (method, MessageCount::default())) }
    }
}

impl<B: HttpBody<Data = Bytes>> HttpBody for CountedRequest<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if let (Some(Ok(frame)), Some((method, messages))) = (&frame, this.counted)
            && let Some(data) = frame.data_ref()
        {
            let ended = messages.count(data);
            if ended > 0 {
                method.received(ended);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_wherever_the_bytes_are_cut() {
        let body = [&[0, 0, 0, 0, 3, 7, 7, 7][..], &[0, 0, 0, 0, 0], &[1, 0, 0, 1, 0], &[9; 256]].concat();
        for size in [1, 2, 5, 7, 8, 100, body.len()] {
            let mut messages = MessageCount::default();
            assert_eq!(body.chunks(size).map(|part| messages.count(part)).sum::<u64>(), 3, "parts of {size}");
            assert_eq!(messages.count(&[0, 0, 0, 0, 1]), 0, "it is not there yet");
            assert_eq!(messages.count(&[1]), 1);
        }
    }
}
