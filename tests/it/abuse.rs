//! Garbage, floods and idlers on either port: no crash, bounded memory, and everybody else is served.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Api, Backend, Process, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Sqlite]):
        garbage,
        huge_bodies,
        ten_thousand_idle_connections,
        slow_senders,
    );
}

/// The service's resident memory stays under this whatever anybody sends. Most of it is 10,000 connections of a debug
/// build, whose futures are large: 356 to 416 MiB. A release build takes 250 MiB for them.
const MEMORY_MIB: u64 = 480;

async fn start(database: &TestDatabase) -> Process {
    Process::start(&[("DATABASE_URL", &database.url), ("RUST_LOG", "info")]).await
}

async fn serves_others(process: &mut Process) {
    for api in Api::BOTH {
        let call = process.caller();
        let answer = tokio::time::timeout(Duration::from_secs(10), call.identify(api, Some("a@x.de"), Some("1"))).await;
        answer.expect("soon").expect("an answer");
    }
    assert!(process.is_alive());
    let resident = process.resident_mib();
    assert!(resident < MEMORY_MIB, "{resident} MiB");
}

async fn garbage(database: TestDatabase) {
    let mut process = start(&database).await;
    let mut senders = JoinSet::new();
    for number in 0..400_u64 {
        let address = if number % 2 == 0 { process.grpc } else { process.http };
        senders.spawn(async move {
            let mut random = fastrand::Rng::with_seed(number);
            let mut noise: Vec<u8> = (0..random.usize(1..20_000)).map(|_| random.u8(..)).collect();
            // Some get past the api before they go wrong.
            let greeting: &[u8] =
                [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"POST /identify HTTP/1.1\r\n"][random.usize(0..3)];
            noise.splice(0..0, greeting.iter().copied());
            let mut connection = TcpStream::connect(address).await.expect("a connection");
            let _ = connection.write_all(&noise).await; // It may have been cut already.
            let _ = tokio::time::timeout(Duration::from_millis(200), connection.read_to_end(&mut Vec::new())).await;
        });
    }
    senders.join_all().await;
    serves_others(&mut process).await;
}

async fn huge_bodies(database: TestDatabase) {
    let mut process = start(&database).await;
    let mut senders = JoinSet::new();
    for number in 0..16 {
        let address = process.http;
        senders.spawn(async move {
            let mut connection = TcpStream::connect(address).await.expect("a connection");
            let head = if number % 2 == 0 {
                "POST /identify HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n"
            } else {
                "POST /identify HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n"
            };
            connection.write_all(head.as_bytes()).await.expect("sent");
            let piece = vec![b'x'; 1 << 16];
            for _ in 0..1_000 {
                if connection.write_all(&piece).await.is_err() {
                    break; // Cut, as it should be.
                }
            }
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(5), connection.read_to_end(&mut answer)).await;
        });
    }
    senders.join_all().await;
    let body = format!(r#"{{"email":"{}@x.de"}}"#, "a".repeat(100_000));
    let answer = reqwest::Client::new().post(format!("http://{}/identify", process.http)).body(body).send().await;
    assert_eq!(answer.expect("an answer").status(), 413);
    let huge = "a".repeat(8 << 20);
    let refusal = process.caller().identify(Api::Grpc, Some(&huge), None).await.expect_err("refused");
    assert!(!refusal.retry, "{:?}", refusal.code);
    serves_others(&mut process).await;
}

async fn ten_thousand_idle_connections(database: TestDatabase) {
    rlimit::increase_nofile_limit(u64::MAX).expect("more open files");
    let mut process = start(&database).await;
    let mut idle = Vec::new();
    for number in 0..10_000 {
        let address = if number % 2 == 0 { process.grpc } else { process.http };
        idle.push(TcpStream::connect(address).await.expect("a connection"));
    }
    serves_others(&mut process).await;
    drop(idle);
    serves_others(&mut process).await;
}

async fn slow_senders(database: TestDatabase) {
    let mut process = start(&database).await;
    let mut slow = JoinSet::new();
    for number in 0..200 {
        let address = if number % 2 == 0 { process.grpc } else { process.http };
        slow.spawn(async move {
            let mut connection = TcpStream::connect(address).await.expect("a connection");
            for byte in b"POST /identify HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{".iter().take(40) {
                if connection.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    serves_others(&mut process).await;
    slow.join_all().await;
    serves_others(&mut process).await;
}
