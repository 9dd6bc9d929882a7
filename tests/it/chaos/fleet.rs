//! Replicas of the service, processes of their own, and whom callers ask.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use crate::harness::{Api, Caller, Process};

/// What does not serve after this time never will.
const LOST: Duration = Duration::from_secs(30);

/// Two replicas or more. Clones are the same fleet.
#[derive(Clone)]
pub struct Fleet(Arc<Vec<Replica>>);

struct Replica {
    variables: Vec<(String, String)>,
    process: tokio::sync::Mutex<Option<Process>>,
    caller: RwLock<Caller>,
}

impl Fleet {
    /// A replica for each list of settings.
    pub async fn start(settings: Vec<Vec<(&str, String)>>) -> Self {
        let mut replicas = Vec::new();
        for variables in settings {
            let variables: Vec<(String, String)> =
                variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let process = start(&variables).await;
            let caller = RwLock::new(process.caller());
            replicas.push(Replica { variables, process: tokio::sync::Mutex::new(Some(process)), caller });
        }
        Self(Arc::new(replicas))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn caller(&self, number: usize) -> Caller {
        self.0[number].caller.read().expect("a caller").clone()
    }

    /// Kills a replica as a crash would, and starts another in its place.
    pub async fn crash(&self, number: usize, down: Duration) {
        let mut process = self.0[number].process.lock().await;
        let killed = process.take().expect("it runs");
        killed.signal("-KILL");
        drop(killed); // Waits for its end.
        tokio::time::sleep(down).await;
        *process = Some(self.renew(number).await);
    }

    /// Ends a replica with SIGTERM, which must be clean, and starts another in its place. The moment of the
    /// signal by `now`.
    pub async fn terminate(&self, number: usize, now: impl Fn() -> u64) -> u64 {
        let mut process = self.0[number].process.lock().await;
        let mut ended = process.take().expect("it runs");
        let moment = now();
        ended.signal("-TERM");
        let status = ended.end().await;
        assert!(status.success(), "{status}: {}", ended.log());
        *process = Some(self.renew(number).await);
        moment
    }

    async fn renew(&self, number: usize) -> Process {
        let replica = &self.0[number];
        let process = start(&replica.variables).await;
        *replica.caller.write().expect("a caller") = process.caller();
        process
    }

    /// How long it takes from now until every replica answers a request that writes.
    pub async fn recover(&self, name: &str) -> Duration {
        let began = Instant::now();
        for number in 0..self.len() {
            let caller = self.caller(number);
            let email = format!("recovered.{name}.{number}@x.de");
            let request = || caller.identify_within(Duration::from_secs(1), Api::Grpc, Some(&email), None);
            while let Err(refusal) = request().await {
                let log = || self.0[number].process.try_lock().map(|process| process.as_ref().map(Process::log));
                assert!(began.elapsed() < LOST, "it does not serve again: {refusal:?}\n{:?}", log());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        began.elapsed()
    }

    /// Whether every process is the one that was started: none ended by itself.
    pub async fn assert_alive(&self) {
        for replica in self.0.iter() {
            let mut process = replica.process.lock().await;
            let process = process.as_mut().expect("it runs");
            assert!(process.is_alive(), "a replica ended by itself: {}", process.log());
        }
    }

    /// Drains them all.
    pub async fn stop(&self) {
        for replica in self.0.iter() {
            let mut process = replica.process.lock().await.take().expect("it runs");
            process.signal("-TERM");
            let status = process.end().await;
            assert!(status.success(), "{status}: {}", process.log());
        }
    }
}

async fn start(variables: &[(String, String)]) -> Process {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Process::start(&variables).await
}
