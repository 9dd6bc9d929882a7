//! TLS handshakes that take too long: their deadline, and what they cost others.

use std::time::{Duration, Instant};

use identity::metrics::ScrapeFormat;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::harness::{rest, until};
use crate::tls::{HTTP1, HTTP2, Secured, client_hello};

#[tokio::test]
async fn a_handshake_and_a_header_have_a_deadline_each() {
    let secured = Secured::start(|options, _| {
        options.fixed.connection.handshake = Duration::from_millis(300);
        options.fixed.connection.head = Duration::from_millis(300);
    })
    .await;
    for address in [secured.server.grpc, secured.server.http] {
        for bytes in [&b""[..], &client_hello([3, 3])[..20]] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            rest(&mut stream).await;
        }
    }
    let mut idle = secured.connect(secured.server.http, &HTTP1).await.unwrap();
    let mut half = secured.connect(secured.server.http, &HTTP1).await.unwrap();
    half.write_all(b"POST /identify HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let mut silent = secured.connect(secured.server.grpc, &HTTP2).await.unwrap();
    for late in [&mut half, &mut silent] {
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(5), late.read_to_end(&mut answer)).await.expect("it is cut");
    }
    // A connection that was opened in advance.
    sleep(Duration::from_millis(600)).await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    timeout(Duration::from_secs(5), idle.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// Connects so often to the gRPC port, and says nothing.
async fn silent(secured: &Secured, connections: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..connections {
        silent.push(TcpStream::connect(secured.server.grpc).await.unwrap());
    }
    silent
}

/// The number of connections that the service has open on the gRPC port.
fn open(secured: &Secured) -> f64 {
    open_on(secured, "grpc")
}

/// The same on the port of an API.
fn open_on(secured: &Secured, api: &str) -> f64 {
    let (page, name) =
        (secured.server.counted.scrape(ScrapeFormat::Text), format!("identity_connections{{api=\"{api}\"}} "));
    page.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_silent_handshakes_end_at_their_deadline_and_cost_others_nothing() {
    const SILENT: usize = 50;
    const DEADLINE: Duration = Duration::from_secs(4);
    let secured = Secured::start(|options, _| options.fixed.connection.handshake = DEADLINE).await;
    let mut closed = JoinSet::new();
    let first = Instant::now();
    for mut stream in silent(&secured, SILENT).await {
        closed.spawn(async move {
            // Nothing comes before the end: no alert, no byte.
            let read = timeout(DEADLINE * 4, stream.read(&mut [0])).await.expect("it is closed");
            assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
            first.elapsed()
        });
    }
    until(|| open(&secured) >= SILENT as f64).await;
    // On a connection of its own, with a handshake.
    timeout(Duration::from_secs(5), secured.identify(None)).await.expect("it waits for no other").unwrap();
    assert!(open(&secured) >= SILENT as f64, "it was answered before they ended");
    for took in closed.join_all().await {
        assert!(took >= DEADLINE, "{took:?}");
    }
    until(|| open(&secured) == 0.0).await;
    secured.identify(None).await.unwrap();
}

/// Their deadline is far off, so it is the shutdown that ends them.
#[tokio::test]
async fn a_shutdown_does_not_wait_for_silent_handshakes() {
    let secured = Secured::start(|options, _| {
        options.fixed.connection.handshake = Duration::from_secs(3_600);
        options.settings.limits.drain_timeout = Duration::from_secs(3_600);
    })
    .await;
    let _silent = silent(&secured, 50).await;
    let _of_json = TcpStream::connect(secured.server.http).await.unwrap();
    until(|| open(&secured) >= 50.0 && open_on(&secured, "http") >= 1.0).await;
    secured.server.shutdown.cancel();
    timeout(Duration::from_secs(5), secured.server.task).await.expect("it ends").unwrap();
}
