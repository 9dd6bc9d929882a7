//! Progress of long commands with the rate and the remaining time: a bar on a terminal, lines in a log elsewhere.
//! Both go to stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line goes to the log.
const LINE_EVERY: Duration = Duration::from_secs(10);

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
        Self::begin_with(step, total, std::io::stderr().is_terminal())
    }

    /// The same without a bar: the terminal shows what the command prints.
    pub fn begin_without_bar(step: &'static str, total: u64) -> Self {
        Self::begin_with(step, total, false)
    }

    fn begin_with(step: &'static str, total: u64, has_bar: bool) -> Self {
        let bar = has_bar.then(|| {
            let bar = ProgressBar::new(total).with_message(step);
            // The template is fixed, so it is valid; another style would do too.
            let template = "{msg} {bar:40} {human_pos} of {human_len}, {per_sec}, {eta} to go";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let now = Instant::now();
        Self { step, total, done: 0, begun: now, last_line: now, bar }
    }

    /// Notes that more rows are done.
    pub fn add(&mut self, rows: u64) {
        self.done += rows;
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                let (rate, remaining) = self.rate();
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

    /// Rows a second, and the seconds that remain.
    fn rate(&self) -> (u64, u64) {
        let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = self.done.saturating_mul(1_000) / milliseconds;
        (rate, self.total.saturating_sub(self.done) / rate.max(1))
    }

    /// Ends the step.
    pub fn end(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let (rate, _) = self.rate();
        let seconds = (self.begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        tracing::info!(step = self.step, rows = self.done, rate, seconds, "a step is done");
    }
}
