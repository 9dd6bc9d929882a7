//! How many connections there may be, and when they end.

use std::error::Error as _;
use std::time::Duration;

use identity::domain::Outcome;
use identity::proto::identity::v1 as pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::harness::{Script, Server, ServerSettings, rest, until_async};
use crate::raw::{H2Client, HELLO, IDENTIFY, end_of};

const OK: Script = Script::Answer(Outcome::Matched);
const BODY: &str = r#"{"email":"a@b.co"}"#;
const CALL: &str = "POST /identify HTTP/1.1\r\nhost: x\r\ncontent-length: 18\r\n\r\n{\"email\":\"a@b.co\"}";

fn request() -> pb::IdentifyRequest {
    pb::IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() }
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_error_details().error_info().unwrap().reason.clone())
}

fn quick_to_begin(options: &mut ServerSettings) {
    options.fixed.connection.head = Duration::from_millis(300);
}

#[tokio::test]
async fn a_client_that_does_not_introduce_itself_is_cut() {
    let server = Server::with(OK, quick_to_begin).await;
    let half = |size| &HELLO[..size];
    for (api, bytes) in [
        (server.grpc, &b""[..]),
        (server.grpc, half(1)),
        (server.grpc, half(20)),
        (server.grpc, half(24)),
        (server.grpc, half(30)),
        (server.http, half(1)),
        (server.http, half(20)),
        (server.http, half(24)),
        (server.http, b"PRI /identify HTTP/1.1\r\nhost: x\r\n"),
    ] {
        let mut stream = TcpStream::connect(api).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        rest(&mut stream).await;
    }
    // A load balancer may open a connection in advance.
    let mut idle = TcpStream::connect(server.http).await.unwrap();
    sleep(Duration::from_millis(900)).await;
    idle.write_all(CALL.as_bytes()).await.unwrap();
    assert!(idle.read(&mut [0; 4096]).await.unwrap() > 0);
}

#[tokio::test]
async fn the_preface_may_come_in_pieces() {
    let server = Server::with(OK, quick_to_begin).await;
    for api in [server.grpc, server.http] {
        let mut stream = TcpStream::connect(api).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in [&HELLO[..1], &HELLO[1..3], &HELLO[3..]] {
            stream.write_all(piece).await.unwrap();
            sleep(Duration::from_millis(30)).await;
        }
        sleep(Duration::from_millis(900)).await;
        stream.write_all(b"\0\0\x08\x06\0\0\0\0\0identity").await.unwrap();
        let mut seen = Vec::new();
        let pong = async {
            while !seen.ends_with(b"\0\0\x08\x06\x01\0\0\0\0identity") {
                assert!(stream.read_buf(&mut seen).await.unwrap() > 0, "closed");
            }
        };
        timeout(Duration::from_secs(5), pong).await.unwrap();
    }
}

/// What a client gets whose connection is beyond the limits.
async fn only_health_is_answered(server: &Server) {
    assert_eq!(reqwest::get(server.url("/healthz")).await.unwrap().status(), 200);
    assert_eq!(reqwest::get(server.url("/readyz")).await.unwrap().status(), 200);
    let refused = server.post(BODY).await;
    assert_eq!((refused.status().as_u16(), refused.headers()["connection"].to_str().unwrap()), (503, "close"));
    assert!(refused.text().await.unwrap().contains("CONNECTIONS_FULL"));
    HealthClient::new(server.channel().await).check(HealthCheckRequest::default()).await.unwrap();
    let status = server.client().await.identify(request()).await.unwrap_err();
    assert_eq!(reason(&status), (Code::ResourceExhausted, "CONNECTIONS_FULL".into()));
}

#[tokio::test]
async fn a_full_port_answers_about_health() {
    let server = Server::with(OK, |options| {
        options.settings.limits.max_connections = 1;
        options.fixed.reserve = 2;
    })
    .await;
    let mut held = Vec::new();
    for api in [server.grpc, server.http] {
        held.push(H2Client::connect(api, 1_000).await);
    }
    // Silent connections do not fill the reserve.
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(server.http).await.unwrap());
        silent.push(TcpStream::connect(server.grpc).await.unwrap());
    }
    timeout(Duration::from_secs(20), only_health_is_answered(&server)).await.unwrap();
    drop(held);
    until_async(async || server.post(BODY).await.status() == 200).await;
    until_async(async || server.client().await.identify(request()).await.is_ok()).await;
}

#[tokio::test]
async fn one_peer_has_a_limit_of_its_own() {
    let server = Server::with(OK, |options| options.settings.limits.max_connections_per_peer = Some(2)).await;
    let mut held = Vec::new();
    for api in [server.grpc, server.http] {
        held.push((H2Client::connect(api, 1_000).await, H2Client::connect(api, 1_000).await));
    }
    timeout(Duration::from_secs(20), only_health_is_answered(&server)).await.unwrap();
    drop(held);
    until_async(async || server.post(BODY).await.status() == 200).await;
}

#[tokio::test]
async fn without_a_setting_one_peer_gets_three_quarters() {
    let server = Server::with(OK, |options| options.settings.limits.max_connections = 4).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(H2Client::connect(server.http, 1_000).await);
    }
    assert_eq!(server.post(BODY).await.status(), 503);
    held.pop();
    until_async(async || server.post(BODY).await.status() == 200).await;
}

fn short_lived(options: &mut ServerSettings) {
    options.settings.limits.max_connection_age = Duration::from_millis(400);
    options.fixed.connection.age_grace = Duration::from_millis(600);
}

/// Whether tonic's client gave the call to a connection that it was about to close by itself. It does so if the call
/// begins in the moment in which the last answer on that connection ends. The server never sees such a call.
fn was_not_sent(status: &tonic::Status) -> bool {
    let mut causes = std::iter::successors(status.source(), |cause| (*cause).source());
    causes.any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled))
}

#[tokio::test]
async fn old_connections_end_without_a_failed_call() {
    let server = Server::with(Script::Slow(Duration::from_millis(100)), short_lived).await;
    let mut client = server.client().await;
    for _ in 0..20 {
        let mut answer = client.identify(request()).await;
        if answer.as_ref().is_err_and(was_not_sent) {
            answer = client.identify(request()).await;
        }
        answer.unwrap();
    }
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let mut answers = Vec::new();
    loop {
        stream.write_all(CALL.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let size = timeout(Duration::from_secs(5), stream.read(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8(answer[..size].to_vec()).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 200"), "{answer}");
        answers.push(answer.contains("connection: close"));
        assert!(answers.len() < 20, "it lives on");
        if answers.ends_with(&[true]) {
            break;
        }
    }
    assert!(answers.len() > 1);
    assert_eq!(rest(&mut stream).await, b"");
}

#[tokio::test]
async fn a_call_that_outlives_its_connection_is_answered() {
    let server = Server::with(Script::Slow(Duration::from_millis(900)), short_lived).await;
    server.client().await.identify(request()).await.unwrap();
}

#[tokio::test]
async fn streams_of_an_old_connection_say_why_they_end() {
    let server = Server::with(OK, short_lived).await;
    let (send, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = server.client().await.stream_identify(requests).await.unwrap().into_inner();
    let watch = HealthClient::new(server.channel().await).watch(HealthCheckRequest::default()).await;
    let mut watch = watch.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    // The call continues for a while after the service asked the client to close the connection.
    sleep(Duration::from_millis(500)).await;
    send.send(pb::StreamIdentifyRequest { correlation_id: "c".into(), request: Some(request()) }).await.unwrap();
    answers.message().await.unwrap().unwrap();

    let too_old = (Code::Unavailable, "CONNECTION_TOO_OLD".into());
    let end = timeout(Duration::from_secs(5), answers.message()).await.unwrap().unwrap_err();
    assert_eq!(reason(&end), too_old);
    let end = timeout(Duration::from_secs(5), watch.message()).await.unwrap().unwrap_err();
    assert_eq!(reason(&end), too_old);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_silent_or_deaf_clients() {
    let server = Server::start(OK).await;
    let mut clients = Vec::new();
    for (api, bytes) in [
        (server.grpc, &b""[..]),
        (server.grpc, &HELLO[..20]),
        (server.grpc, HELLO),
        (server.http, b""),
        (server.http, &HELLO[..20]),
        (server.http, HELLO),
        (server.http, b"POST /identify HTTP/1.1\r\nhost: x\r\ncontent-le"),
    ] {
        let mut stream = TcpStream::connect(api).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        clients.push(stream);
    }
    // One that has called before, and reads nothing any more.
    let mut client = H2Client::connect(server.grpc, 1_000).await;
    end_of(&mut client.unary(IDENTIFY, &request()).await).await.unwrap();
    client.go_deaf();
    sleep(Duration::from_millis(100)).await;
    server.shutdown.cancel();
    timeout(Duration::from_secs(10), server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn watches_and_reflection_have_limits() {
    let server = Server::with(OK, |options| {
        options.fixed.probe_streams = 3;
        options.fixed.connection.probe_streams = 2;
    })
    .await;
    let (one, other) = (server.channel().await, server.channel().await);
    let watch = async |channel| HealthClient::new(channel).watch(HealthCheckRequest::default()).await;
    let full = (Code::ResourceExhausted, "STREAMS_FULL".into());
    let first = watch(one.clone()).await.unwrap();
    let _second = watch(one.clone()).await.unwrap();
    assert_eq!(reason(&watch(one.clone()).await.unwrap_err()), full, "of one connection");
    let _third = watch(other.clone()).await.unwrap();
    assert_eq!(reason(&watch(other.clone()).await.unwrap_err()), full, "of all");
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let list = ServerReflectionClient::new(other.clone()).server_reflection_info(futures::stream::pending()).await;
    assert_eq!(reason(&list.unwrap_err()), full);
    HealthClient::new(other.clone()).check(HealthCheckRequest::default()).await.unwrap();
    drop(first);
    until_async(async || watch(other.clone()).await.is_ok()).await;
}
