//! Refuses a second message of a call that takes one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;

use crate::transport::errors::ApiError;
use crate::transport::parse::FieldNames;

/// The size of what stands before each message: a flag (whether it is compressed) and four bytes with its size.
pub(super) const PREFIX: usize = 5;

/// The body of a request that has one message. A byte after that message is an error.
///
/// tonic reads the messages that follow, and drops them. Their sender would believe that they were carried out.
pub(super) struct OneMessage {
    body: Body,
    place: Place,
}

/// Where in the body the next byte is.
#[derive(Clone, Copy)]
enum Place {
    /// In the prefix: its first bytes, and how many there are.
    Prefix([u8; PREFIX], usize),
    /// In the message, of which so many bytes are left.
    Message(usize),
}

impl OneMessage {
    pub(super) fn new(body: Body) -> Self {
        Self { body, place: Place::Prefix([0; PREFIX], 0) }
    }
}

impl Place {
    /// Returns the place after these bytes, or `None` if the message ends before them.
    fn after(mut self, mut bytes: &[u8]) -> Option<Self> {
        if let Self::Prefix(mut prefix, known) = self {
            let part = bytes.len().min(PREFIX - known);
            prefix[known..known + part].copy_from_slice(&bytes[..part]);
            bytes = &bytes[part..];
            let [_, size @ ..] = prefix;
            self = match known + part {
                PREFIX => Self::Message(u32::from_be_bytes(size) as usize),
                known => Self::Prefix(prefix, known),
            };
        }
        match self {
            Self::Message(left) => left.checked_sub(bytes.len()).map(Self::Message),
            Self::Prefix(..) => Some(self),
        }
    }
}

impl HttpBody for OneMessage {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref) {
            let Some(place) = self.place.after(data) else {
                let error = ApiError::Malformed("the call takes one message, and the request has more".to_owned());
                return Poll::Ready(Some(Err(error.status(FieldNames::Proto))));
            };
            self.place = place;
        }
        Poll::Ready(frame)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::{BodyExt, StreamBody};
    use tonic::Code;

    use super::*;

    async fn read(bytes: &[u8], frame: usize) -> Result<Bytes, Status> {
        let frames: Vec<_> = bytes.chunks(frame).map(|data| Frame::data(Bytes::copy_from_slice(data))).collect();
        let body = StreamBody::new(stream::iter(frames.into_iter().map(Ok::<_, Infallible>)));
        Ok(OneMessage::new(Body::new(body)).collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn one_message_passes_and_a_byte_after_it_does_not() {
        let large = [&[1, 0, 0, 2, 0][..], &[7; 512]].concat();
        for message in [&[0, 0, 0, 0, 0][..], &[0, 0, 0, 0, 3, b'd', b'o', b'c'], &large] {
            for frame in [1, 4, 6, 1_000] {
                assert_eq!(read(message, frame).await.unwrap(), message, "{frame}");
                // tonic says what is wrong with a message that is cut off.
                assert_eq!(read(&message[..message.len() - 1], frame).await.unwrap(), message[..message.len() - 1]);
                for more in [&[0][..], message] {
                    let status = read(&[message, more].concat(), frame).await.unwrap_err();
                    assert_eq!(status.code(), Code::InvalidArgument, "{frame}");
                }
            }
        }
        assert_eq!(read(&[], 1).await.unwrap(), b""[..]);
    }
}
