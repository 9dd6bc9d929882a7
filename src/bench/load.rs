//! Runs the callers of the load generator.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::task::JoinSet;
use tonic::Code;

use super::args::{RunArgs, ScenarioKind};
use super::client::{ApiClient, ServiceAddress};
use super::measurement::Measurement;
use super::pace::{Pace, Turn, Window};
use super::scenario::{CustomerPool, RequestGenerator};

/// How long a caller waits after RESOURCE_EXHAUSTED or UNAVAILABLE. Without a pause, its failing requests would take
/// processor time from the other callers.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// How many requests to send at once, how often, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Load {
    callers: u32,
    pub(super) threads: u32,
    /// Requests that a caller sends at once.
    pub(super) per_call: u32,
    /// Requests a second. `None` means a closed loop.
    rate: Option<u32>,
    warmup: Duration,
    duration: Duration,
}

impl Load {
    pub(super) fn new(run: &RunArgs) -> Self {
        Self {
            callers: run.callers,
            threads: run.threads.min(run.callers),
            per_call: run.per_call,
            rate: run.rate,
            warmup: run.warmup,
            duration: run.duration,
        }
    }

    /// Returns the same load without a rate: each caller sends as fast as it gets answers.
    pub(super) fn in_a_closed_loop(&self) -> Self {
        Self { rate: None, ..self.clone() }
    }

    /// Sends the load to the service through the client `C`. Returns what it measured.
    ///
    /// Each thread has its own runtime, connections and callers. Sharing them would cost processor time, which the load
    /// generator takes from the service on the same machine.
    pub(super) fn run<C: ApiClient>(
        &self,
        address: &ServiceAddress,
        scenario: ScenarioKind,
        pool: &Arc<CustomerPool>,
    ) -> anyhow::Result<Measurement> {
        let window = Window::new(self.warmup, self.duration);
        let address = address.for_one_of(self.threads);
        thread::scope(|scope| {
            let start = |index| {
                let address = &address;
                scope.spawn(move || self.run_thread::<C>(address, scenario, pool, window, index))
            };
            let threads: Vec<_> = (0..self.threads).map(start).collect();
            let mut measurement = Measurement::new(window.from)?;
            for thread in threads {
                let part = thread.join().map_err(|_| anyhow!("a thread of the load generator panicked"))?;
                measurement.add(&part?)?;
            }
            Ok(measurement)
        })
    }

    fn run_thread<C: ApiClient>(
        &self,
        address: &ServiceAddress,
        scenario: ScenarioKind,
        pool: &Arc<CustomerPool>,
        window: Window,
        index: u32,
    ) -> anyhow::Result<Measurement> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start a runtime")?.block_on(async {
            let mine = (index..self.callers).step_by(usize::try_from(self.threads)?);
            let clients = C::open(address, u32::try_from(mine.len())?).await?;
            let pace = Arc::new(self.pace(window, index));
            let measurement = Arc::new(Mutex::new(Measurement::new(window.from)?));
            let mut callers = JoinSet::new();
            for (number, client) in mine.zip(clients) {
                let requests = RequestGenerator::new(scenario, pool, number);
                let (pace, measurement) = (Arc::clone(&pace), Arc::clone(&measurement));
                let caller = Caller { client, requests, per_call: self.per_call, window, pace, measurement };
                callers.spawn(caller.run());
            }
            while let Some(ended) = callers.join_next().await {
                ended.context("a caller panicked")?;
            }
            let measurement = measurement.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Ok(measurement)
        })
    }

    /// Returns the pace of one thread. Its calls fall evenly between those of the other threads.
    fn pace(&self, window: Window, index: u32) -> Pace {
        match self.rate {
            None => Pace::Closed,
            Some(rate) => {
                let between = Duration::from_secs(1) * self.per_call / rate;
                Pace::every(between * self.threads, window.begin + between * index, window)
            }
        }
    }
}

struct Caller<C> {
    client: C,
    requests: RequestGenerator,
    per_call: u32,
    window: Window,
    pace: Arc<Pace>,
    measurement: Arc<Mutex<Measurement>>,
}

impl<C: ApiClient> Caller<C> {
    async fn run(mut self) {
        loop {
            let due = match self.pace.turn(&self.window).await {
                Turn::Now => None,
                Turn::Due(moment) => Some(moment),
                Turn::Missed(moment) => {
                    if moment >= self.window.from {
                        self.with_measurement(|measurement, per_call| measurement.unsent += u64::from(per_call));
                    }
                    continue;
                }
                Turn::Over => return,
            };
            let requests: Vec<_> = (0..self.per_call).map_while(|_| self.requests.next()).collect();
            if requests.is_empty() {
                return;
            }
            let begun = due.unwrap_or_else(Instant::now);
            let answers = self.client.send(requests).await;
            let now = Instant::now();
            let is_retry =
                [Code::Unavailable, Code::ResourceExhausted].iter().any(|code| answers.contains(&Err(*code)));
            if begun >= self.window.from {
                self.with_measurement(|measurement, _| {
                    answers.into_iter().for_each(|answer| measurement.record(answer, begun, now));
                });
            }
            if is_retry {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    fn with_measurement(&self, count: impl FnOnce(&mut Measurement, u32)) {
        count(&mut self.measurement.lock().unwrap_or_else(PoisonError::into_inner), self.per_call);
    }
}
