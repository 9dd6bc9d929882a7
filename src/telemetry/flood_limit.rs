//! Floods of warnings and errors: one fault can make a line for each request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::line::{Field, LineStyle};
use super::queue::LineQueue;
use super::sampler::Sampler;

/// Lines of each place in the code that are written in a [`PERIOD`].
const LINES: u32 = 20;

/// The time for which lines are counted.
const PERIOD: Duration = Duration::from_secs(1);

/// The lines of calls have limits of their own, for each status code.
const LINES_OF_CALLS: &str = "identity::listener::layers";

/// Lets each place in the code write so many warnings and errors in a second. The next line of such a place, at least a
/// second later, comes with one that says how many were left out.
#[derive(Debug)]
pub(super) struct FloodLimit {
    queue: Arc<LineQueue>,
    style: LineStyle,
    period: Duration,
    places: Mutex<HashMap<Identifier, Sampler>>,
}

impl FloodLimit {
    pub(super) fn new(queue: Arc<LineQueue>, style: LineStyle) -> Self {
        Self { queue, style, period: PERIOD, places: Mutex::default() }
    }

    /// Returns whether a line of this place is written now.
    fn allows(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(metadata.callsite()).or_insert_with(|| Sampler::new(LINES, self.period));
        let Some(lines) = place.count() else { return false };
        if lines > 1 {
            let fields = [("lines", Field::Number(lines - 1)), ("of", Field::Text(metadata.target()))];
            self.queue.push(self.style.line(Level::WARN, "lines like the next one left out", &fields).as_bytes());
        }
        true
    }
}

impl<S: Subscriber> Layer<S> for FloodLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let is_limited = *metadata.level() <= Level::WARN && !metadata.target().starts_with(LINES_OF_CALLS);
        !is_limited || self.allows(event)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use tracing_subscriber::fmt;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::settings::LogFormat;

    const SHORT: Duration = Duration::from_millis(200);

    fn lines(queue: &LineQueue) -> Vec<String> {
        let mut chunk = Vec::new();
        queue.flush(Duration::ZERO); // Otherwise `take` waits for lines.
        queue.take(&mut chunk);
        String::from_utf8(chunk).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_place_has_a_limit_and_what_is_left_out_is_counted() {
        let (queue, style) = (Arc::new(LineQueue::new(1_000_000)), LineStyle::new(LogFormat::Json));
        let limit = FloodLimit { period: SHORT, ..FloodLimit::new(Arc::clone(&queue), style) };
        let log = fmt().with_writer(Arc::clone(&queue)).json().flatten_event(true).finish().with(limit);
        tracing::subscriber::with_default(log, || {
            let fault = || tracing::event!(Level::ERROR, "a fault");
            for _ in 0..1_000 {
                fault();
                tracing::info!("all is well");
                tracing::event!(target: "identity::listener::layers::access_log", Level::WARN, "call");
            }
            tracing::event!(Level::WARN, "another place");
            let written = lines(&queue);
            let count = |text: &str| written.iter().filter(|line| line.contains(text)).count();
            assert_eq!(["a fault", "all is well", "\"call\"", "another place"].map(count), [20, 1_000, 1_000, 1]);
            sleep(SHORT);
            fault();
        });
        let [left_out, again] = &lines(&queue)[..] else { panic!("two lines") };
        assert!(left_out.contains(r#""lines":980"#) && again.contains("a fault"), "{left_out} {again}");
    }
}
