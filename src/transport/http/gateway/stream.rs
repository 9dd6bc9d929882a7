//! The answers of a server stream, as lines of JSON.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame};
use prost_reflect::{FieldDescriptor, MessageDescriptor};
use serde::Serialize;
use tonic::Status;
use tonic::body::Body;

use super::status::StatusBody;
use super::{frame, response};
use crate::transport::errors::ApiError;
use crate::transport::parse::FieldNames;

/// One line for each message: `{"result": …}`. An error is the last line, `{"error": …}`, as in grpc-gateway.
///
/// After an error come trailers with the status of the RPC, which the log and the metrics read. Over HTTP/1 nobody gets
/// them.
pub(super) struct Lines {
    answers: Body,
    /// When the stream must end, whatever answers there are, and why.
    ended: BoxFuture<'static, ApiError>,
    received: BytesMut,
    message: MessageDescriptor,
    response_body: Option<FieldDescriptor>,
    end: End,
}

/// How far the end is.
enum End {
    NotYet,
    /// The line of the error is written; its trailers are not.
    Trailers(Status),
    Reached,
}

/// The last line of a stream that fails.
#[derive(Serialize)]
struct ErrorLine<'a> {
    error: StatusBody<'a>,
}

impl Lines {
    pub(super) fn new(
        answers: Body,
        message: MessageDescriptor,
        response_body: Option<FieldDescriptor>,
        ended: BoxFuture<'static, ApiError>,
    ) -> Self {
        Self { answers, ended, received: BytesMut::new(), message, response_body, end: End::NotYet }
    }

    /// Returns the lines of all messages that have arrived.
    fn lines(&mut self) -> Result<Vec<u8>, (Vec<u8>, Status)> {
        let mut lines = Vec::new();
        loop {
            let message = match frame::decode(&mut self.received, &self.message) {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(lines),
                Err(status) => return Err((lines, status)),
            };
            let Ok(json) = response::message_to_json(&message, self.response_body.as_ref()) else {
                return Err((lines, Status::internal("the answer cannot be written as JSON")));
            };
            lines.extend_from_slice(br#"{"result":"#);
            lines.extend_from_slice(&json);
            lines.extend_from_slice(b"}\n");
        }
    }

    /// Ends with an error, whose line stands after these.
    fn fail(&mut self, mut lines: Vec<u8>, status: Status) -> Frame<Bytes> {
        // Values of JSON can always be serialised, and a vector grows.
        let error = StatusBody::new(&status, self.message.parent_pool());
        let _ = serde_json::to_writer(&mut lines, &ErrorLine { error });
        lines.push(b'\n');
        // Ends the RPC, although the client may be slow to take the line.
        self.answers = Body::empty();
        self.end = End::Trailers(status);
        Frame::data(lines.into())
    }
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match std::mem::replace(&mut self.end, End::Reached) {
            End::Reached => return Poll::Ready(None),
            End::Trailers(status) => {
                let mut trailers = HeaderMap::new();
                let added = status.add_header(&mut trailers);
                return Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))));
            }
            End::NotYet => self.end = End::NotYet,
        }
        if let Poll::Ready(error) = self.ended.poll_unpin(cx) {
            return Poll::Ready(Some(Ok(self.fail(Vec::new(), error.status(FieldNames::Json)))));
        }
        loop {
            let frame = match ready!(Pin::new(&mut self.answers).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => return Poll::Ready(Some(Ok(self.fail(Vec::new(), status)))),
                None => {
                    let status = Status::internal("the answer ended without a status");
                    return Poll::Ready(Some(Ok(self.fail(Vec::new(), status))));
                }
            };
            match frame.into_data() {
                Ok(data) => self.received.extend_from_slice(&data),
                Err(frame) => {
                    let status = frame.trailers_ref().and_then(Status::from_header_map);
                    let status = status.unwrap_or_else(|| Status::internal("the answer ended without a status"));
                    if status.code() == tonic::Code::Ok {
                        self.end = End::Reached;
                        return Poll::Ready(None);
                    }
                    return Poll::Ready(Some(Ok(self.fail(Vec::new(), status))));
                }
            }
            match self.lines() {
                Ok(lines) if lines.is_empty() => {}
                Ok(lines) => return Poll::Ready(Some(Ok(Frame::data(lines.into())))),
                Err((lines, status)) => return Poll::Ready(Some(Ok(self.fail(lines, status)))),
            }
        }
    }
}
