//! Many more callers than there is room for.
//!
//! The crowd shares the processors with the service, behind which it stands, and its callers wait for each other
//! before they notice an answer. So a refusal is timed in three ways: as the crowd sees it; by a witness, a caller with
//! a thread and a connection of its own, which does nothing but wait for the answer; and by the log of the service. The
//! log counts the time in which a caller sends its body. A neighbour is a witness with an address of its own: its share
//! of the queue is free.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::elsewhere::elsewhere;
use super::figures::{self, Times, timed};
use super::{BACKENDS, is_long, start_with_log};
use crate::harness::{Api, Caller, Process, Suite, TestDatabase, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&BACKENDS): a_crowd);
}

/// How callers were served.
#[derive(Default)]
struct Served {
    accepted: Times,
    refused: Times,
}

/// So many callers, each with one call at a time, over shared HTTP/2 connections. A refused caller waits a little. An
/// accepted one starts its next call at once, or `pace` after the start of the last one.
async fn call((grpc, http): (SocketAddr, SocketAddr), callers: usize, time: Duration, pace: Duration) -> Served {
    let connections: Vec<Caller> = (0..callers.div_ceil(100)).map(|_| Caller::new(grpc, http)).collect();
    let until = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for number in 0..callers {
        let caller = connections[number % connections.len()].clone();
        tasks.spawn(async move {
            let mut served = Served::default();
            let mut event = 0;
            while Instant::now() < until {
                // Three of four calls are about known customers.
                let email = format!("crowd{}@x.de", if event % 4 == 3 { number * 1_000 + event } else { number % 500 });
                let begun = Instant::now();
                let (answer, took) = timed(caller.identify(Api::Grpc, Some(&email), None)).await;
                event += 1;
                match answer {
                    Ok(_) => {
                        served.accepted.push(took);
                        tokio::time::sleep_until((begun + pace).into()).await;
                    }
                    Err(refusal) => {
                        assert!(refusal.retry, "{refusal:?}");
                        served.refused.push(took);
                        tokio::time::sleep(Duration::from_millis(fastrand::u64(200..1_000))).await;
                    }
                }
            }
            served
        });
    }
    let mut all = Served::default();
    for served in tasks.join_all().await {
        all.accepted.extend(served.accepted);
        all.refused.extend(served.refused);
    }
    all
}

/// A connection from this address.
async fn connect(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("an address");
    socket.set_nodelay(true).expect("an option");
    let connection = socket.connect(to).await.expect("a connection").into_std().expect("a connection");
    connection.set_nonblocking(false).expect("an option");
    connection
}

/// Asks for a customer of the crowd every few milliseconds, over the JSON API, until `over` is set.
fn witness(mut connection: TcpStream, over: &AtomicBool) -> Served {
    let mut answers = BufReader::new(connection.try_clone().expect("a handle"));
    let mut served = Served::default();
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let body = json!({ "email": format!("crowd{}@x.de", number % 500) }).to_string();
        let head = format!("POST /identify HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        let begun = Instant::now();
        connection.write_all((head + &body).as_bytes()).expect("sent");
        let status = read_answer(&mut answers);
        match status {
            200 => served.accepted.push(begun.elapsed()),
            429 => served.refused.push(begun.elapsed()),
            _ => panic!("{status}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    served
}

/// Starts a witness and a neighbour, until `over` is set.
async fn watch(service: SocketAddr, over: &Arc<AtomicBool>) -> [JoinHandle<Served>; 2] {
    let start = async |address| {
        let (connection, over) = (connect(address, service).await, Arc::clone(over));
        std::thread::spawn(move || witness(connection, &over))
    };
    [start(Ipv4Addr::LOCALHOST).await, start(Ipv4Addr::new(127, 0, 0, 2)).await]
}

/// How a witness and a neighbour were served.
fn seen(watching: [JoinHandle<Served>; 2]) -> [Served; 2] {
    watching.map(|thread| thread.join().expect("every call is answered"))
}

/// Reads an answer and returns its status.
fn read_answer(from: &mut impl BufRead) -> u16 {
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        assert_ne!(from.read_line(&mut line).expect("an answer"), 0, "the connection ended");
        if line == "\r\n" {
            break;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).expect("a body");
    head[0].split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

/// How long refused calls of the crowd took by the log, which has a sample of them.
fn refused_by_log(process: &Process) -> Times {
    let mut times = Times::default();
    for line in process.log().lines().filter(|line| line.contains("RESOURCE_EXHAUSTED")) {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        if let Some(milliseconds) = line["duration_ms"].as_f64() {
            times.push(Duration::from_secs_f64(milliseconds / 1e3));
        }
    }
    times
}

async fn a_crowd(database: TestDatabase) {
    let process = start_with_log(&database, "identity::listener=info").await;
    let (few, many, time) = if is_long() { (64, 20_000, 60) } else { (16, 1_000, 3) };
    let service = (process.grpc, process.http);
    let warm = Duration::from_secs(if is_long() { 10 } else { 1 });
    let full = elsewhere(call(service, few, warm, Duration::ZERO)).await;
    // The same callers at half of the rate that they reached.
    let pace = warm * 2 * u32::try_from(few).expect("few") / u32::try_from(full.accepted.len().max(1)).expect("few");
    let over = Arc::new(AtomicBool::new(false));
    let watching = watch(process.http, &over).await;
    let half = elsewhere(call(service, few, warm, pace)).await;
    over.store(true, Ordering::Relaxed);
    let [half_witness, _] = seen(watching);

    let (caller, over) = (process.caller(), Arc::new(AtomicBool::new(false)));
    let health = tokio::spawn({
        let over = Arc::clone(&over);
        async move {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(caller.get("/readyz").await, 200, "the service is ready, as before");
                looks += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            looks
        }
    });
    let watching = watch(process.http, &over).await;
    let crowd = elsewhere(call(service, many, Duration::from_secs(time), Duration::ZERO)).await;
    over.store(true, Ordering::Relaxed);
    let looks = health.await.expect("health answers");
    let [witness, neighbour] = seen(watching);
    let logged = refused_by_log(&process);
    assert!(crowd.accepted.len() > full.accepted.len() / 4, "the crowd is served");
    let mut table = Vec::new();
    let rows = [
        ("few callers", &full.accepted),
        ("half load", &half.accepted),
        ("half load, witness", &half_witness.accepted),
        ("accepted", &crowd.accepted),
        ("refused", &crowd.refused),
        ("witness, accepted", &witness.accepted),
        ("witness, refused", &witness.refused),
        ("neighbour, accepted", &neighbour.accepted),
        ("neighbour, refused", &neighbour.refused),
        ("refused by the log", &logged),
    ];
    for (name, times) in rows {
        table.push((name.to_owned(), json!(times.len())));
        for (figure, percent) in [("p50", 50), ("p99", 99), ("worst", 100)] {
            table.push((format!("{name}, {figure} ms"), times.percentile(percent)));
        }
    }
    table.push(("health answers".to_owned(), json!(looks)));
    table.push(("peak, MiB".to_owned(), json!(process.peak_mib())));
    let table: Vec<(&str, Value)> = table.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    figures::print(&format!("{many} callers at once"), &database, &table);
}
