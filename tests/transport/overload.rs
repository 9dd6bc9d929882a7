//! Calls that are refused by their head, before their body is read.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use identity::domain::Outcome;
use identity::listener::UnreadLimits;
use identity::proto::identity::v1::{BatchIdentifyRequest, IdentifyRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic_types::StatusExt;
use tracing::instrument::WithSubscriber;

use crate::callers::{MAY_IDENTIFY, entry, token};
use crate::certificates::Files;
use crate::harness::{Script, Server, ServerSettings, until};
use crate::log::log_to;
use crate::raw::{BATCH, H2Client, HELLO, IDENTIFY, framed, send_late};

const HEAD: &str = "POST /identify HTTP/1.1\r\nhost: x\r\ncontent-length: 18\r\n\r\n";
const BODY: &str = r#"{"email":"a@b.co"}"#;

fn request() -> IdentifyRequest {
    IdentifyRequest { email: Some("a@b.co".into()), ..Default::default() }
}

/// For bodies that are not given up while a test runs.
const LONG: Duration = Duration::from_secs(60);

/// Waits for an answer, but not for as long as for a body.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), answer).await.unwrap()
}

/// Whether the service resets a call within this time. It must not say that anything is wrong.
async fn is_reset(body: &mut SendStream<Bytes>, time: Duration) -> bool {
    match timeout(time, poll_fn(|cx| body.poll_reset(cx))).await {
        Ok(reset) => reset.unwrap() == Reason::NO_ERROR,
        Err(_) => false,
    }
}

/// How long a test looks whether something does not happen.
const MOMENT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_call_without_room_is_refused_before_its_body_and_can_send_it_later() {
    // Each body is soon there.
    let server = Server::with(Script::Full, |options| options.fixed.unread.time = LONG).await;
    let mut grpc = H2Client::connect(server.grpc, 65_535).await;
    for path in [IDENTIFY, BATCH] {
        let (answer, body) = grpc.call(path).await;
        let answer = soon(answer).await.unwrap();
        let headers = answer.headers();
        assert_eq!(headers["grpc-status"], "8", "{path}");
        assert!(headers.contains_key("x-request-id") && answer.body().is_end_stream());
        send_late(body, &[b"\0\0\0", b"\0\0", b""]).await;
    }
    let mut json = H2Client::connect(server.http, 65_535).await;
    for path in ["/identify", "/identify:batch"] {
        let (answer, body) = json.begin_post(path).await;
        let answer = soon(answer).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (429, &"1".parse().unwrap()),
            "{path}"
        );
        assert!(answer.headers().contains_key("x-request-id"));
        send_late(body, &[b"{\"email\":", b"\"a@b.co\"}"]).await;
    }
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    for _ in 0..3 {
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = soon(stream.read(&mut answer)).await.unwrap();
        let answer = std::str::from_utf8(&answer[..read]).unwrap();
        assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("OVERLOADED"), "{answer}");
        // The connection stays open for the next call.
        for part in BODY.as_bytes().chunks(9) {
            sleep(Duration::from_millis(20)).await;
            stream.write_all(part).await.unwrap();
        }
    }
    // The same status as ever, with its reason and a delay.
    let status = server.client().await.identify(request()).await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!((status.code(), details.error_info().unwrap().reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(details.retry_info().is_some());
    assert!(server.resolver.callers.lock().unwrap().is_empty(), "no handler has run");
    assert_eq!(reqwest::get(server.url("/readyz")).await.unwrap().status(), 200, "health needs no place");
    assert_eq!(reqwest::get(server.url("/identify")).await.unwrap().status(), 405, "nor does what is no call");
}

/// Begins a call that is refused, and returns its body.
async fn refused(client: &mut H2Client, path: &str) -> SendStream<Bytes> {
    let (answer, body) = client.call(path).await;
    assert_eq!(soon(answer).await.unwrap().headers()["grpc-status"], "8");
    body
}

#[tokio::test]
async fn bodies_are_thrown_away_for_a_while_only() {
    let change = |options: &mut ServerSettings| options.fixed.unread.time = Duration::from_millis(200);
    let server = Server::with(Script::Full, change).await;
    let mut client = H2Client::connect(server.grpc, 65_535).await;
    let mut silent = refused(&mut client, IDENTIFY).await;
    assert!(is_reset(&mut silent, LONG).await);
}

#[tokio::test]
async fn a_caller_has_so_many_bodies_to_come_and_those_without_credentials_together() {
    let (files, known) = (Files::new(), token());
    let tokens = files.write("callers.toml", &entry("shop", &known, MAY_IDENTIFY));
    let change = |options: &mut ServerSettings| {
        options.fixed.unread = UnreadLimits { bodies: 1, time: LONG, ..UnreadLimits::default() };
        options.settings.access.tokens_file = Some(tokens);
    };
    let server = Server::with(Script::Full, change).await;
    let mut client = H2Client::connect(server.grpc, 65_535).await;
    let mut begin = async |token: Option<&str>, status: &str| {
        let (answer, body) = client.call_as(IDENTIFY, token).await;
        assert_eq!(soon(answer).await.unwrap().headers()["grpc-status"], *status);
        body
    };
    let mut first = begin(None, "16").await;
    let mut second = begin(Some("nobody"), "16").await;
    assert!(is_reset(&mut second, LONG).await, "there is room for one");
    let mut first_known = begin(Some(known.expose()), "8").await;
    let mut again = begin(Some(known.expose()), "8").await;
    assert!(is_reset(&mut again, LONG).await);
    assert!(!is_reset(&mut first_known, MOMENT).await && !is_reset(&mut first, MOMENT).await);
}

#[tokio::test]
async fn bodies_are_thrown_away_up_to_the_size_that_the_call_may_have() {
    let server = Server::with(Script::Full, |options| options.fixed.unread.time = LONG).await;
    let mut client = H2Client::connect(server.grpc, 65_535).await;
    const PART: usize = 16 * 1024;
    for (path, limit) in [(IDENTIFY, 64 * 1024), (BATCH, 1024 * 1024)] {
        // A message with its prefix of five bytes, and then one with another byte.
        for more in [5, 6] {
            let mut body = refused(&mut client, path).await;
            for _ in 0..limit / PART {
                body.reserve_capacity(PART);
                while body.capacity() < PART {
                    soon(poll_fn(|cx| body.poll_capacity(cx))).await.unwrap().unwrap();
                }
                body.send_data(Bytes::from_static(&[0; PART]), false).unwrap();
            }
            body.send_data(Bytes::from_static(&[0; 8][..more]), more == 5).unwrap();
            let time = if more == 5 { MOMENT } else { LONG };
            assert_eq!(is_reset(&mut body, time).await, more == 6, "{path}");
        }
    }
}

/// A client of HTTP/1 that sends everything before it reads.
#[tokio::test]
async fn a_large_batch_of_http1_is_refused_with_an_answer_and_not_with_a_reset() {
    let server = Server::with(Script::Full, |options| options.fixed.unread.time = LONG).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    for _ in 0..2 {
        let head = "POST /identify:batch HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..30 {
            stream.write_all(&[b' '; 10_000]).await.unwrap();
            sleep(Duration::from_millis(1)).await;
        }
        let mut answer = vec![0; 4096];
        let read = soon(stream.read(&mut answer)).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 429 "), "{}", String::from_utf8_lossy(&answer[..read]));
    }
    // A client that waits for `100 Continue` is not asked to send its body.
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = HEAD.replace("host: x", "host: x\r\nexpect: 100-continue");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 13];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 429 ");
}

#[tokio::test]
async fn the_late_body_of_a_refused_call_is_not_taken_for_a_head() {
    let change = |options: &mut ServerSettings| {
        options.fixed.unread.time = LONG;
        options.fixed.connection.head = MOMENT;
    };
    let server = Server::with(Script::Full, change).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    for _ in 0..2 {
        stream.write_all(HEAD.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = soon(stream.read(&mut answer)).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 429 "), "{}", String::from_utf8_lossy(&answer[..read]));
        for part in BODY.as_bytes().chunks(6) {
            stream.write_all(part).await.unwrap();
            sleep(2 * MOMENT).await;
        }
    }
}

/// Each frame that comes after a reset is an error of the client, and too many of them close a connection.
#[tokio::test]
async fn late_bodies_of_many_refused_calls_end_no_other_call() {
    const CALLS: u32 = 400;
    let change = |options: &mut ServerSettings| options.fixed.unread.time = Duration::ZERO;
    let server = Server::with(Script::Full, change).await;
    let mut stream = TcpStream::connect(server.grpc).await.unwrap();
    let frame = |kind: u8, flags: u8, id: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
    };
    // POST, http, the path and the host `x`, as RFC 7541 encodes them.
    let head = |path: &str| {
        let length = u8::try_from(path.len()).unwrap();
        [&[0x83, 0x86, 0x04, length], path.as_bytes(), &[0x01, 1, b'x']].concat()
    };
    stream.write_all(HELLO).await.unwrap();
    let ids = || (0..CALLS).map(|call| 2 * call + 1);
    let heads: Vec<u8> = ids().flat_map(|id| frame(1, 4, id, &head(IDENTIFY))).collect();
    stream.write_all(&heads).await.unwrap();
    let mut resets = 0;
    while resets < CALLS {
        resets += u32::from(read_frame(&mut stream).await.0 == 3);
    }
    let parts: Vec<u8> = ids().flat_map(|id| frame(0, 0, id, &[0; 64])).collect();
    stream.write_all(&parts).await.unwrap();
    let healthy = 2 * CALLS + 1;
    stream.write_all(&frame(1, 5, healthy, &head("/unknown"))).await.unwrap();
    loop {
        let (kind, id) = read_frame(&mut stream).await;
        assert_ne!(kind, 7, "GOAWAY");
        if (kind, id) == (1, healthy) {
            break;
        }
    }
}

/// Reads a frame of HTTP/2. Returns its kind and its stream.
async fn read_frame(stream: &mut TcpStream) -> (u8, u32) {
    let mut head = [0; 9];
    soon(stream.read_exact(&mut head)).await.unwrap();
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    soon(stream.read_exact(&mut vec![0; length])).await.unwrap();
    (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]))
}

/// An answer of gRPC has the status 200, which would open a tunnel.
#[tokio::test]
async fn nobody_gets_a_tunnel() {
    let server = Server::start(Script::Full).await;
    for address in [server.grpc, server.http] {
        let mut client = H2Client::connect(address, 65_535).await;
        let answer = soon(client.connect_to("other:443").await).await.unwrap();
        assert!(answer.status().is_client_error(), "{}", answer.status());
    }
}

/// Within the time that a place is kept for a body.
#[tokio::test]
async fn a_call_that_got_a_place_is_answered_although_the_service_is_full_when_its_body_comes() {
    let server = Server::start(Script::Answer(Outcome::Matched)).await;
    let mut client = H2Client::connect(server.grpc, 65_535).await;
    let (answer, mut body) = client.call(IDENTIFY).await;
    sleep(Duration::from_millis(100)).await;
    server.resolver.is_full.store(true, Ordering::SeqCst);
    body.send_data(framed(&request()), true).unwrap();
    let answer = soon(answer).await.unwrap();
    assert!(!answer.headers().contains_key("grpc-status"), "{answer:?}");
    let status = server.client().await.batch_identify(BatchIdentifyRequest { requests: vec![request()] }).await;
    assert_eq!(status.unwrap_err().code(), Code::ResourceExhausted);
}

/// Notes how many turns calls had had when the line of a refused call was written.
#[derive(Clone, Default)]
struct LoggedAt {
    turns: Arc<OnceLock<Arc<AtomicUsize>>>,
    logged_at: Arc<Mutex<Vec<usize>>>,
}

impl io::Write for LoggedAt {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if String::from_utf8_lossy(line).contains("RESOURCE_EXHAUSTED") {
            let turns = self.turns.get().unwrap().load(Ordering::SeqCst);
            self.logged_at.lock().unwrap().push(turns);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// 200 calls are never idle, on one thread. A task that is spawned runs after all of them. The line of a call is
/// written when HTTP has its answer.
#[test]
fn a_refusal_waits_for_no_call_that_was_let_in() {
    const CALLS: usize = 200;
    let noted = LoggedAt::default();
    let writer = noted.clone();
    let _guard = log_to(move || writer.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(
        async {
            let server = Server::start(Script::Busy).await;
            noted.turns.set(Arc::clone(&server.resolver.turns)).unwrap();
            let client = server.client().await;
            for _ in 0..CALLS {
                let mut client = client.clone();
                tokio::spawn(async move { client.identify(request()).await });
            }
            server.until_begun(CALLS).await;
            server.resolver.is_full.store(true, Ordering::SeqCst);
            for (address, path) in [(server.grpc, IDENTIFY), (server.grpc, BATCH), (server.http, "/identify")] {
                let mut refused = H2Client::connect(address, 65_535).await;
                let mut calls = Vec::new();
                for _ in 0..10 {
                    let (answer, mut body) = refused.begin_post(path).await;
                    body.send_data(framed(&request()), true).unwrap();
                    calls.push(answer);
                }
                for answer in calls {
                    let answer = timeout(Duration::from_secs(10), answer).await.unwrap().unwrap();
                    assert!(answer.status() == 429 || answer.headers()["grpc-status"] == "8", "{answer:?}");
                }
            }
            until(|| noted.logged_at.lock().unwrap().len() == 30).await;
            assert_eq!(server.resolver.begun.load(Ordering::SeqCst), CALLS, "no refused call has run");
            // Calls had turns meanwhile, but none between a refusal and its answer.
            let refused_at = server.resolver.refused_at.lock().unwrap();
            assert_eq!(*noted.logged_at.lock().unwrap(), *refused_at);
            assert!(refused_at.last() > refused_at.first(), "{refused_at:?}");
        }
        .with_current_subscriber(),
    );
}
