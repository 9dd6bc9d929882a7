//! A caller that has nothing to do with an attack.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::figures::{Times, timed};
use crate::harness::{Api, Caller, Process};

/// Calls both APIs every 20 ms: a known customer, a new contact, and health.
///
/// It has a thread and connections of its own, as a caller elsewhere has: it does not wait while the attackers read
/// their answers.
pub struct Innocent {
    stop: Arc<AtomicBool>,
    calls: JoinHandle<Times>,
}

impl Innocent {
    pub fn start(process: &Process) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (grpc, http) = (process.grpc, process.http);
        let calls = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(async { call(Caller::new(grpc, http), stop).await })
            }
        });
        Self { stop, calls }
    }

    /// The times of its calls. All of them were answered.
    pub async fn finish(self) -> Times {
        self.stop.store(true, Ordering::Relaxed);
        let calls = tokio::task::spawn_blocking(move || self.calls.join()).await.expect("it ends");
        calls.expect("every call is answered")
    }
}

async fn call(caller: Caller, stop: Arc<AtomicBool>) -> Times {
    let mut times = Times::default();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let email = format!("innocent{number}@x.de");
        for api in Api::BOTH {
            let (answer, time) = timed(caller.identify(api, Some(&email), Some("4930555001"))).await;
            answer.expect("an answer");
            times.push(time);
        }
        let (status, time) = timed(caller.get("/healthz")).await;
        assert_eq!(status, 200);
        times.push(time);
        number = (number + 1) % 50;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times
}
