//! Answers that a peer does not take.

use std::time::{Duration, Instant};

use identity::domain::Outcome;
use identity::proto::identity::v1 as pb;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;

use crate::harness::{Script, Server, ServerSettings, until_async};
use crate::raw::{BATCH, H2Client, IDENTIFY, STREAM, end_of, framed};

const OK: Script = Script::Answer(Outcome::Matched);

fn request() -> pb::IdentifyRequest {
    pb::IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() }
}

fn item(number: usize) -> pb::StreamIdentifyRequest {
    let request = pb::IdentifyRequest { email: Some(format!("e{number}@b.co")), ..Default::default() };
    pb::StreamIdentifyRequest { correlation_id: format!("c{number}"), request: Some(request) }
}

fn impatient(options: &mut ServerSettings) {
    options.settings.limits.send_timeout = Duration::from_millis(400);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_reset_and_keeps_its_place_until_then() {
    let server = Server::with(OK, |options| {
        options.settings.limits.send_timeout = Duration::from_secs(1);
        options.fixed.max_calls = 1;
    })
    .await;
    let mut deaf = H2Client::connect(server.grpc, 0).await;
    let mut body = deaf.unary(IDENTIFY, &request()).await;
    let mut other = server.client().await;
    assert_eq!(other.identify(request()).await.unwrap_err().code(), Code::ResourceExhausted);
    let error = end_of(&mut body).await.unwrap_err();
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    until_async(async || other.identify(request()).await.is_ok()).await;
    // Only the call is gone.
    assert!(!deaf.connection.is_finished());
}

#[tokio::test]
async fn a_connection_whose_answers_are_taken_byte_by_byte_is_cut() {
    let server = Server::with(OK, |options| {
        impatient(options);
        options.fixed.max_calls = 1;
    })
    .await;
    let mut deaf = H2Client::connect(server.grpc, 1).await;
    let mut body = deaf.unary(IDENTIFY, &request()).await;
    end_of(&mut body).await.unwrap_err();
    timeout(Duration::from_secs(5), deaf.connection).await.unwrap().unwrap();
    let mut other = server.client().await;
    until_async(async || other.identify(request()).await.is_ok()).await;
}

#[tokio::test]
async fn streams_of_every_kind_are_reset() {
    let server = Server::with(OK, impatient).await;
    let mut deaf = H2Client::connect(server.grpc, 1).await;
    let (answer, mut items) = deaf.call(STREAM).await;
    items.send_data(framed(&item(0)), false).unwrap();
    let mut stream = answer.await.unwrap().into_body();
    let mut watch = deaf.unary("/grpc.health.v1.Health/Watch", &HealthCheckRequest::default()).await;
    let mut batch = deaf.unary(BATCH, &pb::BatchIdentifyRequest { requests: vec![request(); 3] }).await;
    let mut reflections = Vec::new();
    // Both versions have the same messages.
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let (answer, mut requests) = deaf.call(&path).await;
        let list = tonic_reflection::pb::v1::server_reflection_request::MessageRequest::ListServices(String::new());
        let list =
            tonic_reflection::pb::v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
        requests.send_data(framed(&list), false).unwrap();
        reflections.push((requests, answer.await.unwrap().into_body()));
    }
    for body in [&mut stream, &mut watch, &mut batch].into_iter().chain(reflections.iter_mut().map(|(_, body)| body)) {
        end_of(body).await.unwrap_err();
    }
}

#[tokio::test]
async fn answers_that_take_too_much_memory_are_given_up_soon() {
    let server = Server::with(OK, |options| options.fixed.unsent_bytes = 1_000).await;
    let long = pb::IdentifyRequest { email: Some(format!("{}@b.co", "x".repeat(249))), ..Default::default() };
    for window in [0, 1] {
        let mut other = server.client().await;
        let mut deaf = Vec::new();
        // Connections that hold little get calls until twice the limit is reached.
        let refusal = loop {
            let mut client = H2Client::connect(server.grpc, window).await;
            let body = client.unary(IDENTIFY, &long).await;
            deaf.push((client, body));
            assert!(deaf.len() < 1_000, "nothing was refused");
            if let Err(status) = other.identify(request()).await {
                break status;
            }
        };
        assert_eq!(refusal.code(), Code::ResourceExhausted);
        until_async(async || other.identify(request()).await.is_ok()).await;
    }
}

#[tokio::test]
async fn a_json_client_that_reads_nothing_is_cut() {
    let server = Server::with(OK, impatient).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.http).await.unwrap();
    let call = "POST /identify HTTP/1.1\r\nhost: x\r\ncontent-length: 18\r\n\r\n{\"email\":\"a@b.co\"}".repeat(100);
    let flood = async { while stream.write_all(call.as_bytes()).await.is_ok() {} };
    timeout(Duration::from_secs(30), flood).await.expect("was cut");
}

#[tokio::test]
async fn an_http2_client_that_reads_nothing_is_cut() {
    let server = Server::with(OK, impatient).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(server.grpc).await.unwrap();
    stream.write_all(crate::raw::HELLO).await.unwrap();
    // Pings, which HTTP/2 has to answer.
    let pings = b"\0\0\x08\x06\0\0\0\0\0identity".repeat(1_000);
    let flood = async { while stream.write_all(&pings).await.is_ok() {} };
    timeout(Duration::from_secs(30), flood).await.expect("was cut");
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    reads_slowly(&Server::with(OK, |options| options.settings.limits.send_timeout = Duration::from_secs(2)).await)
        .await;
}

#[tokio::test]
async fn a_slow_reader_gets_everything_although_its_connection_is_old() {
    let server = Server::with(OK, |options| {
        options.settings.limits.send_timeout = Duration::from_secs(2);
        options.settings.limits.request_timeout = Duration::from_secs(1);
        options.settings.limits.max_connection_age = Duration::from_millis(200);
        options.fixed.connection.age_grace = Duration::from_millis(200);
    })
    .await;
    reads_slowly(&server).await;
}

/// Takes an answer in small parts, for a few seconds, and expects all of it.
async fn reads_slowly(server: &Server) {
    let long = pb::IdentifyRequest { email: Some(format!("{}@b.co", "x".repeat(249))), ..Default::default() };
    let mut slow = H2Client::connect(server.grpc, 16 * 1024).await;
    let mut body = slow.unary(BATCH, &pb::BatchIdentifyRequest { requests: vec![long; 300] }).await;
    let (start, mut size, mut waiting) = (Instant::now(), 0, 0);
    loop {
        match timeout(Duration::from_millis(700), body.data()).await {
            Ok(Some(data)) => waiting += data.unwrap().len(),
            Ok(None) => break,
            Err(_) => {
                body.flow_control().release_capacity(waiting).unwrap();
                size += std::mem::take(&mut waiting);
            }
        }
    }
    assert!(size + waiting > 75_000, "{size}");
    assert!(start.elapsed() > Duration::from_millis(2_500), "the test is not slow");
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_stream_that_stalls_does_not_keep_others_waiting() {
    let few_places = |options: &mut ServerSettings| options.settings.queue.queue_limit = 64;
    let server = Server::with(Script::Slow(Duration::from_millis(10)), few_places).await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut client = H2Client::connect(server.grpc, 0).await;
        let (answer, mut items) = client.call(STREAM).await;
        for number in 0..1_000 {
            items.send_data(framed(&item(number)), false).unwrap();
        }
        stalled.push((client, answer.await.unwrap(), items));
    }
    server.until_begun(64).await;
    let requests = futures::stream::iter((0..200).map(item));
    let answers = server.client().await.stream_identify(requests).await.unwrap().into_inner();
    let answers = timeout(Duration::from_secs(20), futures::StreamExt::collect::<Vec<_>>(answers)).await.unwrap();
    assert!(answers.len() == 200 && answers.iter().all(Result::is_ok));
}

#[tokio::test]
async fn an_idle_stream_is_not_reset() {
    let server = Server::with(OK, impatient).await;
    let (send, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = server.client().await.stream_identify(requests).await.unwrap().into_inner();
    for number in 0..3 {
        send.send(item(number)).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().correlation_id, format!("c{number}"));
        sleep(Duration::from_millis(1_000)).await;
    }
}
