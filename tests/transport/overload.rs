//! Calls that are refused by their head, before their body is read.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use identity::domain::Outcome;
use identity::proto::identity::v1::{BatchIdentifyRequest, IdentifyRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tonic::Code;
use tonic_types::StatusExt;
use tracing::instrument::WithSubscriber;

use crate::harness::{Script, Server, until};
use crate::log::log_to;
use crate::raw::{BATCH, H2Client, IDENTIFY, framed, send_late};

const HEAD: &str = "POST /identify HTTP/1.1\r\nhost: x\r\ncontent-length: 18\r\n\r\n";
const BODY: &str = r#"{"email":"a@b.co"}"#;

fn request() -> IdentifyRequest {
    IdentifyRequest { email: Some("a@b.co".into()), phone_number: None }
}

/// Waits for an answer, but not for as long as the time after which a body is given up.
async fn soon<T>(answer: impl Future<Output = T>) -> T {
    timeout(Duration::from_millis(900), answer).await.unwrap()
}

#[tokio::test]
async fn a_call_without_room_is_refused_before_its_body_and_can_send_it_later() {
    let server = Server::start(Script::Full).await;
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

/// Only so many bodies are read, only small ones, and only for a while.
#[tokio::test]
async fn the_bodies_that_are_thrown_away_are_bounded() {
    let server = Server::with(Script::Full, |options| options.fixed.unread_bodies = 1).await;
    let mut client = H2Client::connect(server.grpc, 65_535).await;
    let is_reset = async |body: &mut h2::SendStream<bytes::Bytes>, time| {
        matches!(timeout(time, std::future::poll_fn(|cx| body.poll_reset(cx))).await, Ok(Ok(h2::Reason::NO_ERROR)))
    };
    let (long, short) = (Duration::from_secs(5), Duration::from_millis(100));
    let (answer, mut silent) = client.call(IDENTIFY).await;
    soon(answer).await.unwrap();
    assert!(!is_reset(&mut silent, short).await);
    let (answer, mut second) = client.call(IDENTIFY).await;
    soon(answer).await.unwrap();
    assert!(is_reset(&mut second, long).await, "there is room for one");
    let begun = Instant::now();
    assert!(is_reset(&mut silent, long).await, "its body did not come in time");
    assert!(begun.elapsed() < Duration::from_secs(3));

    let (answer, mut large) = client.call(IDENTIFY).await;
    soon(answer).await.unwrap();
    let mut sent = 0;
    while sent < 64 * 1024 {
        assert!(!is_reset(&mut large, Duration::from_millis(1)).await, "{sent}");
        large.send_data(bytes::Bytes::from_static(&[0; 8 * 1024]), false).unwrap();
        sent += 8 * 1024;
    }
    assert!(is_reset(&mut large, Duration::from_millis(900)).await, "it is too large");
    // A client that waits for `100 Continue` is not asked to send its body.
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = HEAD.replace("host: x", "host: x\r\nexpect: 100-continue");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 16];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer[..13], b"HTTP/1.1 429 ");
}

/// The body of a call that was let in is read by its handler alone.
#[tokio::test]
async fn a_call_with_room_is_answered_however_late_its_body_is() {
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
