//! What an attack measured.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::TestDatabase;

/// Prints the figures of an attack, in one line that `scripts/attacks` finds.
pub fn print(attack: &str, database: &TestDatabase, figures: &[(&str, Value)]) {
    let figures: serde_json::Map<String, Value> =
        figures.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let line = json!({ "attack": attack, "database": database.backend.name(), "figures": figures });
    println!("\nattack {line}"); // Behind the name of the test.
}

/// Times of calls.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The time that so many of a hundred calls did not exceed, in milliseconds; `null` without a call.
    pub fn percentile(&self, percent: usize) -> Value {
        let mut times = self.0.clone();
        times.sort();
        let rank = (times.len() * percent).div_ceil(100);
        rank.checked_sub(1).map_or(Value::Null, |index| milliseconds(times[index]))
    }
}

/// Milliseconds with one digit after the point.
pub fn milliseconds(time: Duration) -> Value {
    json!((time.as_secs_f64() * 10_000.0).round() / 10.0)
}

/// Runs it, and says how long it took.
pub async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let result = work.await;
    (result, begun.elapsed())
}
