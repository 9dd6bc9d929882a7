//! Many more callers than there is room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::figures::{self, Times, timed};
use super::{BACKENDS, is_long, start};
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

/// So many callers, each with one call at a time, over shared HTTP/2 connections. A refused caller waits a little.
async fn call(process: &Process, callers: usize, time: Duration) -> Served {
    let connections: Vec<Caller> = (0..callers.div_ceil(100)).map(|_| process.caller()).collect();
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
                let (answer, took) = timed(caller.identify(Api::Grpc, Some(&email), None)).await;
                event += 1;
                match answer {
                    Ok(_) => served.accepted.push(took),
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

async fn a_crowd(database: TestDatabase) {
    let process = start(&database).await;
    let (few, many, time) = if is_long() { (64, 20_000, 60) } else { (16, 1_000, 3) };
    let quiet = call(&process, few, Duration::from_secs(if is_long() { 5 } else { 1 })).await;

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
    let crowd = call(&process, many, Duration::from_secs(time)).await;
    over.store(true, Ordering::Relaxed);
    let looks = health.await.expect("health answers");
    assert!(crowd.accepted.len() > quiet.accepted.len() / 4, "the crowd is served");
    figures::print(
        &format!("{many} callers at once"),
        &database,
        &[
            ("few callers, p99 ms", quiet.accepted.percentile(99)),
            ("accepted", json!(crowd.accepted.len())),
            ("accepted, p50 ms", crowd.accepted.percentile(50)),
            ("accepted, p99 ms", crowd.accepted.percentile(99)),
            ("refused", json!(crowd.refused.len())),
            ("refused, p99 ms", crowd.refused.percentile(99)),
            ("health answers", json!(looks)),
            ("peak, MiB", json!(process.peak_mib())),
        ],
    );
}
