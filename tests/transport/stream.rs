use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::harness::ServerSettings;
use futures::StreamExt;
use identity::domain::Outcome;
use identity::proto::identity::v1 as pb;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use identity::proto::identity::v1::stream_identify_response::Result as OfStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Streaming};
use tonic_types::StatusExt;

use crate::harness::{Script, Server};

const OK: Script = Script::Answer(Outcome::Linked);

fn item(number: usize, email: &str) -> pb::StreamIdentifyRequest {
    let request = pb::IdentifyRequest { email: Some(email.to_owned()), ..Default::default() };
    pb::StreamIdentifyRequest { correlation_id: format!("c{number}"), request: Some(request) }
}

fn stranger(number: usize) -> pb::StreamIdentifyRequest {
    item(number, &format!("e{number}@b.co"))
}

/// An open stream: its sending half, and its answers.
struct OpenStream {
    send: mpsc::Sender<pb::StreamIdentifyRequest>,
    answers: Streaming<pb::StreamIdentifyResponse>,
    /// Its connection ends with it.
    _client: IdentityServiceClient<Channel>,
}

impl OpenStream {
    async fn open(server: &Server) -> Self {
        Self::open_with(server, None).await
    }

    async fn open_with(server: &Server, timeout: Option<Duration>) -> Self {
        let (send, requests) = mpsc::channel(1);
        let mut call = Request::new(ReceiverStream::new(requests));
        if let Some(timeout) = timeout {
            call.set_timeout(timeout);
        }
        // HTTP/2's default window. With tonic's of 2 MiB, a client that does not read has so many small frames
        // waiting that its own h2 closes the connection.
        let endpoint = Channel::from_shared(format!("http://{}", server.grpc)).unwrap();
        let channel = endpoint.initial_stream_window_size(65_535).connect().await.unwrap();
        let mut client = IdentityServiceClient::new(channel);
        let answers = client.stream_identify(call).await.unwrap().into_inner();
        Self { send, answers, _client: client }
    }

    async fn next(&mut self) -> Option<Result<pb::StreamIdentifyResponse, tonic::Status>> {
        timeout(Duration::from_secs(5), self.answers.next()).await.unwrap()
    }

    async fn next_id(&mut self) -> String {
        self.next().await.unwrap().unwrap().correlation_id
    }

    /// Sends on until the server takes no more; the number that it took.
    async fn fill(&self) -> usize {
        let mut sent = 0;
        while let Ok(send) = timeout(Duration::from_millis(500), self.send.send(stranger(sent))).await {
            assert!(send.is_ok(), "the stream ended after {sent}");
            sent += 1;
        }
        sent
    }
}

#[tokio::test]
async fn every_item_has_its_answer_and_bad_ones_do_not_end_the_stream() {
    let server = Server::start(OK).await;
    let mut talk = OpenStream::open(&server).await;
    for bad in
        [item(0, "nobody"), item(1, " "), pb::StreamIdentifyRequest { correlation_id: "c2".into(), request: None }]
    {
        talk.send.send(bad.clone()).await.unwrap();
        let answer = talk.next().await.unwrap().unwrap();
        assert_eq!(answer.correlation_id, bad.correlation_id);
        let Some(OfStream::Error(error)) = answer.result else { panic!("{answer:?}") };
        assert_eq!(error.code, Code::InvalidArgument as i32);
        assert_eq!(error.details.len(), 2);
    }
    talk.send.send(item(3, "Doc@b.co")).await.unwrap();
    let answer = talk.next().await.unwrap().unwrap();
    let Some(OfStream::Response(response)) = answer.result else { panic!("{answer:?}") };
    assert_eq!((&*answer.correlation_id, response.outcome()), ("c3", pb::Outcome::Linked));
    assert_eq!(response.contact.unwrap().emails, ["doc@b.co", "mcfly@hillvalley.edu"]);
    drop(talk.send);
    assert!(talk.answers.next().await.is_none());
}

#[tokio::test]
async fn all_is_answered_after_the_caller_has_closed_his_side() {
    let server = Server::start(Script::Slow(Duration::from_millis(100))).await;
    let requests = futures::stream::iter((0..5_000).map(stranger));
    let answers = server.client().await.stream_identify(requests).await.unwrap().into_inner();
    let mut ids: Vec<String> = answers.map(|answer| answer.unwrap().correlation_id).collect().await;
    ids.sort_by_key(|id| id[1..].parse::<usize>().unwrap());
    assert_eq!(ids, (0..5_000).map(|number| format!("c{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_same_customer_is_handled_in_order_and_strangers_do_not_wait() {
    let server = Server::start(Script::Slow(Duration::from_millis(300))).await;
    let mut talk = OpenStream::open(&server).await;
    for (number, email) in ["a@b.co", "a@b.co", "a@b.co", "z@b.co"].into_iter().enumerate() {
        talk.send.send(item(number, email)).await.unwrap();
    }
    server.until_begun(2).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.resolver.begun.load(Ordering::SeqCst), 2);
    let first: std::collections::BTreeSet<String> = [talk.next_id().await, talk.next_id().await].into();
    assert_eq!(first, ["c0".to_owned(), "c3".to_owned()].into());
    assert_eq!([talk.next_id().await, talk.next_id().await], ["c1", "c2"]);
}

#[tokio::test]
async fn a_stream_is_held_back_and_never_refused() {
    let server = Server::start(Script::Slow(Duration::from_secs(60))).await;
    let talk = OpenStream::open(&server).await;
    let taken = talk.fill().await;
    // It has taken no answer yet.
    assert_eq!(server.resolver.begun.load(Ordering::SeqCst), 64);
    assert!(taken < 10_000, "{taken}");

    // All streams together, too: the second waits for the first.
    let few = |options: &mut ServerSettings| options.settings.queue.queue_limit = 20;
    let server = Server::with(Script::Slow(Duration::from_secs(1)), few).await;
    let (mut one, mut other) = (OpenStream::open(&server).await, OpenStream::open(&server).await);
    for number in 0..15 {
        one.send.send(stranger(number)).await.unwrap();
    }
    server.until_begun(10).await;
    other.send.send(stranger(99)).await.unwrap();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(server.resolver.begun.load(Ordering::SeqCst), 10);
    assert_eq!(other.next_id().await, "c99");
    for _ in 0..15 {
        one.next_id().await;
    }
}

#[tokio::test]
async fn who_does_not_read_his_answers_is_held_back() {
    let server = Server::start(OK).await;
    let mut talk = OpenStream::open(&server).await;
    let taken = talk.fill().await;
    let begun = server.resolver.begun.load(Ordering::SeqCst);
    // What the windows and buffers of both sides take, and what is under way.
    assert!(begun < 10_000 && taken < 10_000, "{begun} begun, {taken} taken");
    // And goes on when he does.
    drop(talk.send);
    let mut answers = 0;
    while let Some(answer) = timeout(Duration::from_secs(5), talk.answers.next()).await.unwrap() {
        answer.unwrap();
        answers += 1;
    }
    assert!(answers >= taken, "{answers} answers for {taken}");
}

#[tokio::test]
async fn a_drain_answers_what_was_taken_up_and_says_unavailable() {
    let server = Server::start(Script::Slow(Duration::from_millis(400))).await;
    let mut talk = OpenStream::open(&server).await;
    for number in 0..3 {
        talk.send.send(stranger(number)).await.unwrap();
    }
    server.until_begun(3).await;
    server.shutdown.cancel();
    sleep(Duration::from_millis(50)).await;
    let _ = talk.send.send(stranger(3)).await;
    for _ in 0..3 {
        assert_ne!(talk.next_id().await, "c3");
    }
    let status = talk.next().await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the service is shutting down"));
    assert!(status.get_error_details().retry_info().is_some());
    assert_eq!(server.resolver.begun.load(Ordering::SeqCst), 3);
    timeout(Duration::from_secs(2), server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_stream_does_not_hold_a_drain_up() {
    let server = Server::start(OK).await;
    let mut talk = OpenStream::open(&server).await;
    server.shutdown.cancel();
    assert_eq!(talk.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
    timeout(Duration::from_secs(2), server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_stream_outlives_every_other_deadline() {
    let server = Server::with(OK, |options| {
        options.fixed.connection.idle = Duration::from_millis(900);
        options.fixed.connection.ping_every = Duration::from_millis(250);
        options.fixed.connection.ping_timeout = Duration::from_millis(500);
        options.settings.limits.request_timeout = Duration::from_millis(300);
    })
    .await;
    let mut talk = OpenStream::open(&server).await;
    for number in 0..2 {
        sleep(Duration::from_millis(1_500)).await;
        talk.send.send(stranger(number)).await.unwrap();
        assert_eq!(talk.next_id().await, format!("c{number}"));
    }
}

#[tokio::test]
async fn the_callers_own_deadline_ends_the_stream() {
    let server = Server::with(Script::Slow(Duration::from_secs(60)), |options| {
        options.settings.limits.request_timeout = Duration::from_millis(100);
    })
    .await;
    let mut talk = OpenStream::open_with(&server, Some(Duration::from_millis(800))).await;
    talk.send.send(stranger(0)).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(server.resolver.dropped.load(Ordering::SeqCst), 0, "its deadline is longer than others get");
    let status = talk.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "DEADLINE_EXCEEDED");
    crate::harness::until(|| server.resolver.dropped.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_stream_after_the_answers_before_it() {
    let server = Server::with(Script::Slow(Duration::from_millis(200)), |options| {
        options.settings.limits.http_body_limit = 1_000
    })
    .await;
    let mut talk = OpenStream::open(&server).await;
    talk.send.send(stranger(0)).await.unwrap();
    talk.send.send(item(1, &"x".repeat(2_000))).await.unwrap();
    assert_eq!(talk.next_id().await, "c0");
    let status = talk.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_error_details().error_info().unwrap().metadata["limit_bytes"], "1000");
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_what_is_under_way() {
    let server = Server::start(Script::Slow(Duration::from_secs(60))).await;
    let talk = OpenStream::open(&server).await;
    talk.send.send(stranger(0)).await.unwrap();
    server.until_begun(1).await;
    drop(talk);
    crate::harness::until(|| server.resolver.dropped.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn an_open_stream_is_a_call_under_way() {
    let server = Server::with(OK, |options| options.fixed.max_calls = 1).await;
    let talk = OpenStream::open(&server).await;
    let request = pb::IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() };
    let status = server.client().await.identify(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(talk);
    sleep(Duration::from_millis(300)).await;
    server.client().await.identify(request).await.unwrap();
}
