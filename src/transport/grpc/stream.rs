//! `StreamIdentify`: one open stream.

use std::pin::Pin;

use futures::stream::unfold;
use futures::{Stream, StreamExt};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Status, Streaming};

use super::answer_buffer::answer_buffer;
use super::identity_api::IdentityApi;
use super::stream_driver::StreamDriver;
use crate::proto::identity::v1 as pb;
use crate::resolver::Identify;
use crate::transport::batch::StreamItemCounts;

/// The answers of a stream.
pub(super) type AnswerStream = Pin<Box<dyn Stream<Item = Result<pb::StreamIdentifyResponse, Status>> + Send>>;

/// Returns the answers of a stream.
///
/// A task of its own does the work, so that a client that takes no answers does not keep permits that others wait for.
/// The task stops reading when too many answers wait. An answer becomes a message only when it is polled. When the
/// client goes away, everything under way is dropped.
pub(super) fn answer_stream<R: Identify>(
    api: &IdentityApi<R>,
    request: Request<Streaming<pb::StreamIdentifyRequest>>,
    counts: StreamItemCounts,
) -> AnswerStream {
    let (sender, receiver) = answer_buffer(api.settings.limits.answer_limit);
    let driver = StreamDriver::new(api, request, sender, counts);
    let task = AbortOnDropHandle::new(tokio::spawn(driver.run()));
    unfold((receiver, task), |(mut receiver, task)| async {
        receiver.next().await.map(|next| (next, (receiver, task)))
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::io::Write;
    use std::sync::Arc;
    use std::task::Poll;
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures::channel::mpsc;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Frame;
    use prost::Message;
    use tokio::sync::{Semaphore, watch};
    use tokio::time::sleep;
    use tokio_util::sync::CancellationToken;
    use tonic::body::Body;
    use tower::ServiceExt;

    use super::*;
    use crate::domain::{Answer, Contact, ContactId, Identifier, IdentifierKind, Identity, Link, Outcome, Timestamp};
    use crate::metrics::WorkMetrics;
    use crate::proto::identity::v1::identity_service_server::IdentityServiceServer;
    use crate::resolver::{Caller, DatabaseState, IdentifyError, IdentifyRequest};
    use crate::settings::Settings;
    use crate::transport::grpc::inflate::Inflate;
    use crate::transport::grpc::settings::GrpcSettings;
    use crate::transport::gunzip::TextRoom;
    use crate::transport::readiness::Readiness;

    /// The largest message, in bytes.
    const LIMIT: usize = 1 << 16;

    /// More contacts than may wait for a client that takes no answers.
    const CONTACTS: usize = 5_000;

    /// Answers with an identity of so many contacts, once the gate is open.
    #[derive(Clone)]
    struct Gated(Arc<Semaphore>);

    impl Identify for Gated {
        async fn identify(&self, _: IdentifyRequest, _: Instant) -> Result<Answer, IdentifyError> {
            let _open = self.0.acquire().await;
            let contact = |id: usize| {
                let link = if id == 1 { Link::Primary } else { Link::SecondaryOf(ContactId(1)) };
                let phone = Identifier::from_stored(IdentifierKind::Phone, "1");
                Contact::new(ContactId(id as i64), [phone], Timestamp(id as i64), link)
            };
            let identity = Identity::new((1..=CONTACTS).map(contact).collect()).unwrap().into();
            Ok(Answer { outcome: Outcome::Matched, identity, ignored: Vec::new() })
        }
    }

    /// A stream over a service with room for one text.
    struct OpenStream {
        room: TextRoom,
        gate: Arc<Semaphore>,
        closing: CancellationToken,
        send: mpsc::UnboundedSender<Result<Frame<Bytes>, Infallible>>,
    }

    impl OpenStream {
        async fn open() -> (Self, Body) {
            let settings = Settings::from_flags(Vec::<String>::new()).unwrap();
            let (gate, closing) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
            let (_, database) = watch::channel(DatabaseState::Usable);
            let api = IdentityApi {
                resolver: Gated(Arc::clone(&gate)),
                settings: GrpcSettings {
                    identify: settings.identify,
                    limits: settings.limits,
                    reflection: false,
                    stream_items: 10,
                    probe_streams: 1,
                },
                readiness: Readiness::new(database, CancellationToken::new(), closing.clone()),
                stream_places: Arc::new(Semaphore::new(10)),
            };
            let room = TextRoom::new(0, LIMIT, WorkMetrics::default());
            let service = Inflate::new(IdentityServiceServer::new(api), LIMIT, room.clone());
            let (send, frames) = mpsc::unbounded();
            let request = http::Request::post("/identity.v1.IdentityService/StreamIdentify")
                .header("content-type", "application/grpc")
                .header("grpc-encoding", "gzip")
                .body(Body::new(StreamBody::new(frames)))
                .unwrap();
            let answers = service.oneshot(request).await.unwrap().into_body();
            (Self { room, gate, closing, send }, answers)
        }

        fn send(&self, flag: u8, text: &[u8]) {
            let message = [&[flag][..], &(text.len() as u32).to_be_bytes(), text].concat();
            self.send.unbounded_send(Ok(Frame::data(message.into()))).unwrap();
        }

        fn is_room_free(&self) -> bool {
            self.room.for_caller(Caller::Unknown).try_reserve(LIMIT).is_some()
        }

        /// Opens the gate and counts the answers.
        async fn count(self, answers: Body) -> usize {
            self.gate.add_permits(1);
            drop(self.send);
            let bytes = answers.collect().await.unwrap().to_bytes();
            let (mut rest, mut count) = (&bytes[..], 0);
            while let [_, a, b, c, d, more @ ..] = rest {
                rest = &more[u32::from_be_bytes([*a, *b, *c, *d]) as usize..];
                count += 1;
            }
            count
        }
    }

    fn item(correlation_id: String) -> Vec<u8> {
        let request = Some(pb::IdentifyRequest { email: Some("a@b.co".to_owned()), ..Default::default() });
        pb::StreamIdentifyRequest { correlation_id, request }.encode_to_vec()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Lets each task that can run run once, if a task calls it.
    async fn let_others_run() {
        let mut has_run = false;
        poll_fn(|cx| {
            cx.waker().wake_by_ref(); // `yield_now` would let a task run until it waits.
            if std::mem::replace(&mut has_run, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    async fn until(mut holds: impl FnMut() -> bool) {
        for _ in 0..1_000 {
            if holds() {
                return;
            }
            let_others_run().await;
        }
        panic!("waited in vain");
    }

    /// Stops a stream from reading while its second message waits for room or is decompressed. Returns how many answers
    /// it gives.
    async fn answers_of_a_stream_that_stops(stop: fn(&OpenStream), waits_for_room: bool) -> usize {
        let large: String = std::iter::repeat_with(fastrand::alphanumeric).take(48_000).collect();
        let (stream, answers) = OpenStream::open().await;
        let other = stream.room.for_caller(Caller::Unknown).try_reserve(LIMIT).expect("room");
        stream.send(0, &item("1".to_owned()));
        stream.send(1, &gzip(&item(large)));
        if waits_for_room {
            sleep(Duration::from_millis(1)).await;
            stop(&stream);
            sleep(Duration::from_millis(1)).await;
            drop(other);
            assert!(!stream.is_room_free(), "the waiting message has it");
        } else {
            drop(other);
            until(|| !stream.is_room_free()).await;
            stop(&stream);
        }
        let free = stream.room.for_caller(Caller::Unknown).reserve(LIMIT).await;
        assert!(free.is_ok(), "waited for room: {waits_for_room}");
        stream.count(answers).await
    }

    /// A message must not keep its room until the client takes answers, or until the items before are resolved.
    #[tokio::test(start_paused = true)]
    async fn a_message_under_way_gives_its_room_back_though_no_other_may_begin() {
        let held_back: fn(&OpenStream) = |stream| stream.gate.add_permits(1);
        let shut_down: fn(&OpenStream) = |stream| stream.closing.cancel();
        for (stop, expected) in [(held_back, 2), (shut_down, 1)] {
            for waits_for_room in [false, true] {
                let stream = tokio::spawn(answers_of_a_stream_that_stops(stop, waits_for_room));
                assert_eq!(stream.await.unwrap(), expected);
            }
        }
    }

    /// A broken message ends the stream, which waits for the items before it.
    #[tokio::test(start_paused = true)]
    async fn a_broken_message_gives_its_room_back() {
        let mut broken = gzip(&item("2".to_owned()));
        broken[0] ^= 1;
        let (stream, answers) = OpenStream::open().await;
        stream.send(0, &item("1".to_owned()));
        stream.send(1, &broken);
        sleep(Duration::from_millis(1)).await;
        assert!(stream.is_room_free());
        assert_eq!(stream.count(answers).await, 1);
    }
}
