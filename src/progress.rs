//! Progress of long commands with the rate and the remaining time: a bar on a terminal, lines in a log elsewhere.
//! Both go to stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::MissedTickBehavior;

/// How often a line goes to the log.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often a bar is drawn while no row is done.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// A bar of a step whose rows are counted. Before the first row the database may sort for minutes: time goes on.
const COUNTED: &str = "{msg} {bar:40} {human_pos} of {human_len}, {per_sec}, {elapsed}, {eta} to go";

/// The same without a count.
const UNCOUNTED: &str = "{msg} {spinner} {elapsed}";

/// The progress of a step.
#[derive(Debug)]
pub struct Progress {
    step: &'static str,
    total: u64,
    done: u64,
    begun: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Begins a step of about so many rows.
    pub fn begin(step: &'static str, total: u64) -> Self {
        Self::begin_with(step, total, terminal())
    }

    /// The same without a bar: the terminal shows what the command prints.
    pub fn begin_without_bar(step: &'static str, total: u64) -> Self {
        Self::begin_with(step, total, None)
    }

    fn begin_with(step: &'static str, total: u64, terminal: Option<ProgressDrawTarget>) -> Self {
        // Before the bar is there: a line would go through it.
        tracing::info!(step, of = total, "a step begins");
        let bar = terminal.map(|terminal| bar(step, ProgressBar::with_draw_target(Some(total), terminal), COUNTED));
        let now = Instant::now();
        Self { step, total, done: 0, begun: now, last_line: now, bar }
    }

    /// Notes that more rows are done.
    pub fn add(&mut self, rows: u64) {
        self.add_at(rows, Instant::now());
    }

    fn add_at(&mut self, rows: u64, now: Instant) {
        self.done += rows;
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if now.duration_since(self.last_line) >= LINE_EVERY => {
                self.last_line = now;
                let (rate, remaining) = rate(self.done, self.total, now.duration_since(self.begun));
                tracing::info!(
                    step = self.step,
                    done = self.done,
                    of = self.total,
                    rate,
                    remaining_s = remaining,
                    "in progress"
                );
            }
            None => {}
        }
    }

    /// Ends the step.
    pub fn end(self) {
        self.end_at(Instant::now());
    }

    fn end_at(self, now: Instant) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let elapsed = now.duration_since(self.begun);
        let (rate, _) = rate(self.done, self.total, elapsed);
        tracing::info!(step = self.step, rows = self.done, rate, seconds = seconds(elapsed), "a step is done");
    }
}

/// Does a step whose rows nobody counts, and shows meanwhile that it goes on.
pub async fn during<T>(step: &'static str, work: impl Future<Output = T>) -> T {
    during_with(step, work, terminal()).await
}

async fn during_with<T>(step: &'static str, work: impl Future<Output = T>, terminal: Option<ProgressDrawTarget>) -> T {
    let begun = tokio::time::Instant::now();
    tracing::info!(step, "a step begins");
    let bar = terminal.map(|terminal| bar(step, ProgressBar::with_draw_target(None, terminal), UNCOUNTED));
    let mut lines = tokio::time::interval_at(begun + LINE_EVERY, LINE_EVERY);
    lines.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            _ = lines.tick() => {
                if bar.is_none() {
                    tracing::info!(step, seconds = seconds(begun.elapsed()), "in progress");
                }
            }
        }
    };
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    tracing::info!(step, seconds = seconds(begun.elapsed()), "a step is done");
    done
}

/// Where bars are drawn, if stderr is a terminal.
fn terminal() -> Option<ProgressDrawTarget> {
    std::io::stderr().is_terminal().then(ProgressDrawTarget::stderr)
}

fn bar(step: &'static str, bar: ProgressBar, template: &str) -> ProgressBar {
    // The template is fixed, so it is valid; another style would do too.
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(step);
    bar.enable_steady_tick(DRAW_EVERY);
    bar
}

/// Rows a second, and the seconds that remain.
fn rate(done: u64, total: u64, elapsed: Duration) -> (u64, u64) {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done.saturating_mul(1_000) / milliseconds;
    (rate, total.saturating_sub(done) / rate.max(1))
}

/// With one decimal.
fn seconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests;
