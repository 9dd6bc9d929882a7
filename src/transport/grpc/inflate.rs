//! Compressed requests.

use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{HeaderName, Request, Response};
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::one_message::{OneMessage, PREFIX};
use crate::transport::errors::ApiError;
use crate::transport::gunzip::{CallerRoom, Gunzip, PIECE, ReservedRoom, TextRoom};
use crate::transport::methods;
use crate::transport::parse::FieldNames;
use crate::transport::peer::caller;

/// How the messages of a request are compressed.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// Decompresses the messages of a request, in pieces. The service gets plain messages. Refuses a second message of a
/// call that takes one.
#[derive(Clone, Debug)]
pub(super) struct Inflate<S> {
    inner: S,
    /// The largest message of a single request, in bytes.
    body_limit: usize,
    room: TextRoom,
}

impl<S> Inflate<S> {
    pub(super) fn new(inner: S, body_limit: usize, room: TextRoom) -> Self {
        Self { inner, body_limit, room }
    }
}

/// The room that the message of a call has, as an extension of the request. A call of one message gives it back when
/// the last clone is dropped: the method keeps one until it has parsed the message. A stream gives it back when it has
/// parsed the message or reads the next one.
#[derive(Clone, Debug, Default)]
pub(super) struct MessageRoom(Arc<Mutex<RoomState>>);

#[derive(Debug, Default)]
enum RoomState {
    #[default]
    Unused,
    /// The message waits in the queue for room. It can get the room without being polled.
    Awaited,
    Held(#[expect(dead_code, reason = "dropped to give the room back")] ReservedRoom),
}

impl MessageRoom {
    /// Whether a message has room or waits for it. Others wait for the room, so the stream has to be read.
    pub(super) fn is_in_use(&self) -> bool {
        !matches!(*self.lock(), RoomState::Unused)
    }

    /// Gives the room of the message back.
    pub(super) fn give_back(&self) {
        self.replace(RoomState::Unused);
    }

    /// Takes room for a message. Gives that of the message before back.
    fn replace(&self, state: RoomState) {
        *self.lock() = state;
    }

    fn lock(&self) -> MutexGuard<'_, RoomState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: NamedService> NamedService for Inflate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<Request<Body>, Response = Response<Body>>> Service<Request<Body>> for Inflate<S> {
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let takes_a_stream = methods::takes_a_stream(request.uri().path());
        if !takes_a_stream {
            request = request.map(|body| Body::new(OneMessage::new(body)));
        }
        // tonic refuses any other encoding.
        if request.headers().get(ENCODING).is_some_and(|encoding| encoding == "gzip") {
            request.headers_mut().remove(ENCODING);
            let limit = methods::message_limit(request.uri().path(), self.body_limit);
            let (room, held) = (self.room.for_caller(caller(request.extensions())), MessageRoom::default());
            request.extensions_mut().insert(held.clone());
            request = request.map(|body| Body::new(Inflated::new(body, limit, takes_a_stream, room, held)));
        }
        self.inner.call(request)
    }
}

/// The body of a request whose messages may be compressed. It comes out with plain messages.
///
/// A message can be a thousand times as large as its compressed form. So it is decompressed only when it is complete.
/// A call of one message also waits for the end of the body, because tonic keeps the message until then. The body of
/// such a call is a [`OneMessage`], so nothing follows it.
struct Inflated {
    body: Body,
    /// Whether the call takes a stream of messages.
    takes_a_stream: bool,
    /// Whether the body has ended.
    has_ended: bool,
    trailers: Option<Frame<Bytes>>,
    /// What was read from the body and is not handled yet.
    unread: BytesMut,
    place: Place,
    limit: usize,
    room: CallerRoom,
    held: MessageRoom,
    /// While there is no room for the next message.
    waiting: Option<BoxFuture<'static, Result<ReservedRoom, ApiError>>>,
    /// Whether other tasks had their turn since the last piece.
    has_rested: bool,
}

/// Where in the body the next bytes are.
enum Place {
    /// Before a message.
    Prefix,
    /// In a plain message, of which so many bytes are left.
    Plain(usize),
    /// Before a compressed message of so many bytes, without the room to decompress it.
    Announced(usize),
    /// In a compressed message, of which so many bytes are left.
    Compressed(Box<Gunzip>, usize),
}

impl Inflated {
    fn new(body: Body, limit: usize, takes_a_stream: bool, room: CallerRoom, held: MessageRoom) -> Self {
        Self {
            body,
            takes_a_stream,
            has_ended: false,
            trailers: None,
            unread: BytesMut::new(),
            place: Place::Prefix,
            limit,
            room,
            held,
            waiting: None,
            has_rested: true,
        }
    }

    /// Handles what was read. Returns bytes of plain messages, or nothing if it needs more of the body.
    fn next(&mut self) -> Result<Bytes, ApiError> {
        loop {
            match &mut self.place {
                Place::Prefix => {
                    let Some(mut prefix) = self.unread.get(..PREFIX) else { return Ok(Bytes::new()) };
                    let is_compressed = prefix.get_u8() == 1;
                    let size = prefix.get_u32() as usize;
                    if !is_compressed {
                        // tonic refuses unknown flags, and sizes above the limit.
                        self.place = Place::Plain(size);
                        return Ok(self.unread.split_to(PREFIX).freeze());
                    }
                    let is_whole = self.unread.len() >= PREFIX + size;
                    if size > self.limit {
                        return Err(ApiError::TooLarge { limit: self.limit });
                    }
                    if !is_whole || !(self.takes_a_stream || self.has_ended) {
                        return Ok(Bytes::new());
                    }
                    self.unread.advance(PREFIX);
                    let needed = Gunzip::room(&self.unread[..size], self.limit);
                    self.place = Place::Announced(size);
                    match self.room.try_reserve(needed) {
                        Some(room) => self.held.replace(RoomState::Held(room)),
                        None => {
                            self.held.replace(RoomState::Awaited);
                            self.waiting = Some(Box::pin(self.room.clone().reserve(needed)));
                            return Ok(Bytes::new());
                        }
                    }
                }
                Place::Announced(size) => {
                    let text = Gunzip::new(&self.unread[..*size], self.limit);
                    self.place = Place::Compressed(Box::new(text), *size);
                }
                Place::Plain(0) => self.place = Place::Prefix,
                Place::Plain(left) => {
                    let bytes = self.unread.split_to(self.unread.len().min(*left));
                    *left -= bytes.len();
                    return Ok(bytes.freeze());
                }
                Place::Compressed(text, left) if *left > 0 => {
                    let piece = self.unread.split_to(self.unread.len().min(*left).min(PIECE));
                    *left -= piece.len();
                    text.read(&piece)?;
                    self.has_rested = piece.is_empty();
                    return Ok(Bytes::new());
                }
                Place::Compressed(..) => {
                    if let Place::Compressed(text, _) = mem::replace(&mut self.place, Place::Prefix) {
                        return Ok(plain_message(&text.finish()?));
                    }
                }
            }
        }
    }

    /// Whether the body may end here.
    fn is_between_messages(&self) -> bool {
        self.unread.is_empty() && matches!(self.place, Place::Prefix | Place::Plain(0))
    }
}

/// A message with its prefix.
fn plain_message(text: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PREFIX + text.len());
    bytes.put_u8(0);
    // The limit of a message is far below 4 GiB.
    bytes.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    bytes.put_slice(text);
    bytes.freeze()
}

impl HttpBody for Inflated {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let refuse = |error: &ApiError| Poll::Ready(Some(Err(error.status(FieldNames::Proto))));
        if this.takes_a_stream && matches!(this.place, Place::Prefix | Place::Plain(_)) {
            this.held.give_back(); // tonic asks for more when it has decoded what it has.
        }
        loop {
            if let Some(waiting) = &mut this.waiting {
                match ready!(waiting.as_mut().poll(cx)) {
                    Ok(room) => this.held.replace(RoomState::Held(room)),
                    Err(error) => return refuse(&error),
                }
                this.waiting = None;
            }
            if !mem::replace(&mut this.has_rested, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match this.next() {
                Err(error) => return refuse(&error),
                Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Ok(_) if !this.has_rested || this.waiting.is_some() => continue,
                Ok(_) => {}
            }
            if this.has_ended {
                if this.is_between_messages() {
                    return Poll::Ready(this.trailers.take().map(Ok));
                }
                return refuse(&ApiError::Malformed("the request ends within a message".to_owned()));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)?).map(Frame::into_data) {
                Some(Ok(data)) => this.unread.extend_from_slice(&data),
                Some(Err(trailers)) => (this.has_ended, this.trailers) = (true, Some(trailers)),
                None => this.has_ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;
    use std::time::Duration;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::timeout;
    use tonic_types::StatusExt;

    use super::*;
    use crate::{metrics::WorkMetrics, resolver::Caller};

    const LIMIT: usize = 200_000;

    fn message(flag: u8, text: &[u8]) -> Vec<u8> {
        [&[flag][..], &(text.len() as u32).to_be_bytes(), text].concat()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(body: Body, takes_a_stream: bool) -> Inflated {
        let room = TextRoom::new(LIMIT, LIMIT, WorkMetrics::default()).for_caller(Caller::Unknown);
        let body = if takes_a_stream { body } else { Body::new(OneMessage::new(body)) };
        Inflated::new(body, LIMIT, takes_a_stream, room, MessageRoom::default())
    }

    async fn inflate(bytes: &[u8], frame: usize, takes_a_stream: bool) -> Result<Bytes, Status> {
        let frames: Vec<_> = bytes.chunks(frame).map(|data| Frame::data(Bytes::copy_from_slice(data))).collect();
        let body = Body::new(StreamBody::new(stream::iter(frames.into_iter().map(Ok::<_, Infallible>))));
        Ok(inflated(body, takes_a_stream).collect().await?.to_bytes())
    }

    #[tokio::test]
    async fn messages_come_out_plain_however_they_are_cut_into_frames() {
        let noise: Vec<u8> = (0..LIMIT).map(|_| fastrand::u8(..)).collect();
        let texts = [&b"doc"[..], b"", &noise[..100_000], &[7; LIMIT], b"1885"];
        let plain: Vec<u8> = texts.iter().flat_map(|text| message(0, text)).collect();
        let is_compressed = |index: usize, pattern: usize| pattern >> index & 1 == 1;
        for pattern in [0b00000, 0b11111, 0b01010, 0b10101] {
            let one = |(index, text): (usize, &&[u8])| {
                if is_compressed(index, pattern) { message(1, &gzip(text)) } else { message(0, text) }
            };
            let sent: Vec<u8> = texts.iter().enumerate().flat_map(one).collect();
            for frame in [1, 6, 4_096, 16_384, sent.len()] {
                assert!(inflate(&sent, frame, true).await.unwrap() == plain, "{pattern} {frame}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_too_large_or_broken_is_refused() {
        let whole = message(1, &gzip(b"doc"));
        for (sent, reason) in [
            (message(1, &gzip(&[7; LIMIT + 1])), "REQUEST_TOO_LARGE"),
            (message(1, &[0; LIMIT + 1]), "REQUEST_TOO_LARGE"),
            (message(1, b"doc"), "REQUEST_MALFORMED"),
            (message(1, b""), "REQUEST_MALFORMED"),
            (whole[..whole.len() - 1].to_vec(), "REQUEST_MALFORMED"),
            (whole[..3].to_vec(), "REQUEST_MALFORMED"),
            (message(0, b"doc")[..7].to_vec(), "REQUEST_MALFORMED"),
        ] {
            for frame in [1, sent.len()] {
                for takes_a_stream in [false, true] {
                    let status = inflate(&sent, frame, takes_a_stream).await.unwrap_err();
                    assert_eq!(status.get_error_details().error_info().unwrap().reason, reason, "{frame}");
                }
            }
        }
    }

    /// The room of the first message must neither be given back before it is parsed, nor be taken twice.
    #[tokio::test]
    async fn a_second_message_of_a_call_that_takes_one_is_refused_before_any_takes_room() {
        let [compressed, plain] = [message(1, &gzip(b"doc")), message(0, b"doc")];
        for (first, second) in [(&compressed, &compressed), (&compressed, &plain), (&plain, &compressed)] {
            let sent = [&first[..], &second[..]].concat();
            for frame in [1, sent.len()] {
                let frames: Vec<_> = sent.chunks(frame).map(|data| Frame::data(Bytes::copy_from_slice(data))).collect();
                let body = StreamBody::new(stream::iter(frames.into_iter().map(Ok::<_, Infallible>)));
                let mut body = inflated(Body::new(body), false);
                let refusal = loop {
                    match body.frame().await.expect("an error") {
                        Ok(_) => assert_eq!(first, &plain, "tonic keeps a plain message until the body ends"),
                        Err(status) => break status,
                    }
                };
                assert_eq!(refusal.get_error_details().error_info().unwrap().reason, "REQUEST_MALFORMED");
                assert!(!body.held.is_in_use(), "{frame}");
            }
        }
    }

    /// A body of which only a part has come.
    fn unfinished(sent: &[u8], takes_a_stream: bool) -> Inflated {
        let frames = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(sent)))]);
        let body = StreamBody::new(frames.chain(stream::pending()));
        inflated(Body::new(body), takes_a_stream)
    }

    #[tokio::test]
    async fn nothing_is_decompressed_that_has_to_wait() {
        let bomb = message(1, &gzip(&[7; LIMIT]));
        for (sent, takes_a_stream) in
            [(&bomb[..], false), (&bomb[..bomb.len() - 1], false), (&bomb[..bomb.len() - 1], true)]
        {
            let mut body = unfinished(sent, takes_a_stream);
            assert!(timeout(Duration::from_millis(50), body.frame()).await.is_err());
            assert!(matches!(body.place, Place::Prefix) && body.unread.capacity() < 4_096);
        }
        let mut body = unfinished(&bomb, true);
        let text = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(text.len(), PREFIX + LIMIT, "a stream goes on message by message");
    }
}
