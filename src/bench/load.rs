//! The callers, at work.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::task::JoinSet;
use tonic::Code;

use super::client::{Client, Target};
use super::pace::{Pace, Turn, Window};
use super::scenario::{Cast, Script};
use super::tally::Tally;
use super::{Run, ScenarioKind};

/// How long a caller waits who was told to come again, or could not reach the service at all: one that does
/// not would spend on refusals what the others need.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// How much is asked at once, how often, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Load {
    callers: u32,
    pub(super) threads: u32,
    /// Requests that a caller asks at once.
    pub(super) per_call: u32,
    /// Requests a second; a closed loop without it.
    rate: Option<u32>,
    warmup: Duration,
    duration: Duration,
}

impl Load {
    pub(super) fn new(run: &Run) -> Self {
        Self {
            callers: run.callers,
            threads: run.threads.min(run.callers),
            per_call: run.per_call,
            rate: run.rate,
            warmup: run.warmup,
            duration: run.duration,
        }
    }

    /// The same callers for the same time, as fast as they can.
    pub(super) fn in_a_closed_loop(&self) -> Self {
        Self { rate: None, ..self.clone() }
    }

    /// Puts the load on the target, through this api.
    ///
    /// Each thread has a runtime, connections and callers of its own: what threads share costs more than
    /// what they do here, and all of it is taken from the service on the same machine.
    pub(super) fn run<D: Client>(
        &self,
        target: &Target,
        scenario: ScenarioKind,
        cast: &Arc<Cast>,
    ) -> anyhow::Result<Tally> {
        let window = Window::new(self.warmup, self.duration);
        let target = target.share(self.threads);
        thread::scope(|scope| {
            let start = |index| {
                let target = &target;
                scope.spawn(move || self.run_thread::<D>(target, scenario, cast, window, index))
            };
            let threads: Vec<_> = (0..self.threads).map(start).collect();
            let mut tally = Tally::new(window.from)?;
            for thread in threads {
                let part = thread.join().map_err(|_| anyhow!("a thread of the load generator panicked"))?;
                tally.add(&part?)?;
            }
            Ok(tally)
        })
    }

    fn run_thread<D: Client>(
        &self,
        target: &Target,
        scenario: ScenarioKind,
        cast: &Arc<Cast>,
        window: Window,
        index: u32,
    ) -> anyhow::Result<Tally> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.context("cannot start a runtime")?.block_on(async {
            let mine = (index..self.callers).step_by(usize::try_from(self.threads)?);
            let clients = D::open(target, u32::try_from(mine.len())?).await?;
            let pace = Arc::new(self.pace(window, index));
            let tally = Arc::new(Mutex::new(Tally::new(window.from)?));
            let mut callers = JoinSet::new();
            for (number, api) in mine.zip(clients) {
                let script = Script::new(scenario, cast, number);
                let (pace, tally) = (Arc::clone(&pace), Arc::clone(&tally));
                callers.spawn(Caller { api, script, per_call: self.per_call, window, pace, tally }.run());
            }
            while let Some(ended) = callers.join_next().await {
                ended.context("a caller panicked")?;
            }
            let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Ok(tally)
        })
    }

    /// The pace of one thread: its calls fall evenly between those of the others.
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

struct Caller<D> {
    api: D,
    script: Script,
    per_call: u32,
    window: Window,
    pace: Arc<Pace>,
    tally: Arc<Mutex<Tally>>,
}

impl<D: Client> Caller<D> {
    async fn run(mut self) {
        loop {
            let due = match self.pace.turn(&self.window).await {
                Turn::Now => None,
                Turn::Due(moment) => Some(moment),
                Turn::Missed(moment) => {
                    if moment >= self.window.from {
                        self.with_tally(|tally, per_call| tally.unsent += u64::from(per_call));
                    }
                    continue;
                }
                Turn::Over => return,
            };
            let requests: Vec<_> = (0..self.per_call).map_while(|_| self.script.next()).collect();
            if requests.is_empty() {
                return;
            }
            let begun = due.unwrap_or_else(Instant::now);
            let answers = self.api.ask(requests).await;
            let now = Instant::now();
            let retry = [Code::Unavailable, Code::ResourceExhausted].iter().any(|code| answers.contains(&Err(*code)));
            if begun >= self.window.from {
                self.with_tally(|tally, _| {
                    answers.into_iter().for_each(|answer| tally.count(answer, begun, now));
                });
            }
            if retry {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    fn with_tally(&self, count: impl FnOnce(&mut Tally, u32)) {
        count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner), self.per_call);
    }
}
