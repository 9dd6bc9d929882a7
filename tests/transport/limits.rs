use std::time::{Duration, Instant};

use crate::harness::ServerSettings;
use identity::domain::Outcome;
use identity::proto::identity::v1::identity_service_client::IdentityServiceClient;
use identity::proto::identity::v1::{BatchIdentifyRequest, IdentifyRequest, StreamIdentifyRequest};
use identity::resolver::Caller;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic::transport::Channel;

use crate::harness::{Script, Server, rest, talk, until_async};
use crate::raw::{H2Client, STREAM};

const OK: Script = Script::Answer(Outcome::Matched);
const HEAD: &str = "POST /identify HTTP/1.1\r\nhost: x\r\ncontent-length: 18\r\n\r\n";
const BODY: &str = r#"{"email":"a@b.co"}"#;

fn impatient(options: &mut ServerSettings) {
    options.fixed.connection.head = Duration::from_millis(300);
    options.fixed.connection.idle = Duration::from_millis(900);
    options.settings.limits.request_timeout = Duration::from_millis(400);
    options.fixed.connection.ping_every = Duration::from_millis(250);
    options.fixed.connection.ping_timeout = Duration::from_millis(500);
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn garbage_closes_the_connection_and_nothing_else() {
    let server = Server::with(OK, impatient).await;
    let noise: Vec<u8> = (0..100_000).map(|_| fastrand::u8(..)).collect();
    for api in [server.grpc, server.http] {
        for garbage in [
            &noise[..],
            b"\0\0\0\0",
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff",
        ] {
            let mut stream = TcpStream::connect(api).await.unwrap();
            let _ = stream.write_all(garbage).await;
            rest(&mut stream).await;
        }
    }
    assert_eq!(server.post(BODY).await.status(), 200);
    server
        .client()
        .await
        .identify(IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() })
        .await
        .unwrap();
}

#[tokio::test]
async fn silence_closes_the_connection() {
    let server = Server::with(OK, impatient).await;
    // On the gRPC port a client has to speak first.
    for (api, time) in [(server.grpc, 300), (server.http, 900)] {
        let start = Instant::now();
        talk(api, b"").await;
        assert!(start.elapsed() >= Duration::from_millis(time));
    }
}

#[tokio::test]
async fn a_head_that_trickles_is_given_up() {
    let server = Server::with(OK, impatient).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let start = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let trickle = async {
        for byte in HEAD.bytes().cycle() {
            if writer.write_all(&[byte]).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! { () = trickle => {}, _ = reader.read_to_end(&mut answer) => {} }
    assert!((300..900).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_idle_keep_alive_connection_outlives_the_time_for_a_head() {
    let server = Server::with(OK, impatient).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let mut answer = vec![0; 4096];
    for _ in 0..2 {
        stream.write_all(format!("{HEAD}{BODY}").as_bytes()).await.unwrap();
        let read = stream.read(&mut answer).await.unwrap();
        assert!(text(&answer[..read]).starts_with("HTTP/1.1 200"));
        sleep(Duration::from_millis(600)).await;
    }
    let start = Instant::now();
    assert_eq!(rest(&mut stream).await, b"");
    assert!(start.elapsed() < Duration::from_millis(600), "{:?}", start.elapsed());
}

#[tokio::test]
async fn pings_keep_a_quiet_grpc_client_connected_and_a_dead_one_not() {
    let server = Server::with(OK, impatient).await;
    // A connection that answers pings, as every client does, for three times the idle time.
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<bytes::Bytes>>(executor, io).await.unwrap();
    let mut connection = tokio::spawn(connection);
    assert!(timeout(Duration::from_millis(2700), &mut connection).await.is_err(), "was closed");
    assert!(sender.is_ready());

    // One that began well and then answers nothing.
    let start = Instant::now();
    let mut stream = TcpStream::connect(server.grpc).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    rest(&mut stream).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_body_that_trickles_is_408() {
    let server = Server::with(OK, |options| options.fixed.body_timeout = Duration::from_millis(200)).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(format!("{HEAD}{{").as_bytes()).await.unwrap();
    let start = Instant::now();
    let answer = rest(&mut stream).await;
    let answer = text(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains(r#""reason":"REQUEST_TOO_SLOW""#), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_call_whose_body_never_comes_ends_at_its_deadline() {
    let server = Server::with(OK, |options| options.settings.limits.request_timeout = Duration::from_millis(200)).await;
    let body = http_body_util::StreamBody::new(futures::stream::pending::<
        Result<hyper::body::Frame<bytes::Bytes>, std::io::Error>,
    >());
    let io = hyper_util::rt::TokioIo::new(TcpStream::connect(server.grpc).await.unwrap());
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let call = http::Request::post("http://x/identity.v1.IdentityService/Identify")
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap();
    let answer = timeout(Duration::from_secs(2), sender.send_request(call)).await.unwrap().unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4");
}

/// Each caller gets a fair share of a busy service.
#[tokio::test]
async fn every_request_names_the_address_of_its_caller() {
    let server = Server::start(OK).await;
    let mut client = server.client().await;
    let request = IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() };
    client.identify(request.clone()).await.unwrap();
    client.batch_identify(BatchIdentifyRequest { requests: vec![request.clone(); 2] }).await.unwrap();
    let item = StreamIdentifyRequest { request: Some(request), ..Default::default() };
    let mut answers = client.stream_identify(futures::stream::iter([item])).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    assert_eq!(server.post(BODY).await.status(), 200);
    let batch = format!(r#"{{"requests":[{BODY}]}}"#);
    let batch = reqwest::Client::new().post(server.url("/identify:batch")).body(batch).send().await.unwrap();
    assert_eq!(batch.status(), 200);
    let callers = server.resolver.callers.lock().unwrap();
    assert_eq!(*callers, [Caller::Address(std::net::Ipv4Addr::LOCALHOST.into()); 5]);
}

#[tokio::test]
async fn one_peer_cannot_take_the_places_of_all_calls() {
    let server = Server::with(OK, |options| options.fixed.max_calls = 4).await;
    let from = async |address: [u8; 4]| {
        let endpoint = Channel::from_shared(format!("http://{}", server.grpc)).unwrap();
        IdentityServiceClient::new(endpoint.local_address(Some(address.into())).connect().await.unwrap())
    };
    let (mut one, mut other) = (from([127, 0, 0, 1]).await, from([127, 0, 0, 2]).await);
    let mut client = H2Client::connect(server.grpc, 1_000).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        let (answer, items) = client.call(STREAM).await;
        silent.push((answer.await.unwrap(), items));
    }
    let request = IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() };
    assert_eq!(one.identify(request.clone()).await.unwrap_err().code(), Code::ResourceExhausted);
    other.identify(request.clone()).await.unwrap();
    silent.pop();
    until_async(async || one.identify(request.clone()).await.is_ok()).await;
}

#[tokio::test]
async fn a_caller_that_leaves_cancels_his_call() {
    let server = Server::start(Script::Slow(Duration::from_secs(60))).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(format!("{HEAD}{BODY}").as_bytes()).await.unwrap();
    server.until_begun(1).await;
    drop(stream);
    crate::harness::until(|| server.resolver.dropped.load(std::sync::atomic::Ordering::SeqCst) == 1).await;
}
