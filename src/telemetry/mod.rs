//! The log. It goes to stderr, because stdout is for the output of commands. Times are UTC, in RFC 3339 with
//! microseconds.
//!
//! The log never harms the service: threads that log put their lines into a queue with a limit (`queue`), and a thread
//! of its own writes them (`writer`). If the reader of the log is slow or gone, lines are lost and counted. Of a flood
//! of warnings or errors, the first lines of each second are written (`flood_limit`).

mod flood_limit;
mod line;
mod queue;
mod sampler;
mod writer;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

use self::flood_limit::FloodLimit;
use self::line::{Field, LineStyle};
use self::queue::LineQueue;
pub use self::sampler::{Sampled, Sampler};
use crate::settings::{LogFormat, LogSettings};

/// Room for lines that wait to be written, in bytes: some 10,000 lines.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// The log of this process, once it is started.
static LOG: OnceLock<Log> = OnceLock::new();

/// Panics since the log was started.
static PANICS: AtomicU64 = AtomicU64::new(0);

struct Log {
    queue: Arc<LineQueue>,
    style: LineStyle,
}

/// Targets under which sqlx logs SQL, at warn level when a statement is slow.
const SQL: [&str; 2] = ["sqlx::query", "sqlx::explain"];

/// The target under which sqlx logs notices of PostgreSQL ("relation already exists, skipping") at info level. They are
/// for debugging only.
const NOTICES: &str = "sqlx::postgres::notice";

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is invalid. The settings have checked theirs.
    #[error("invalid log filter")]
    Filter(#[from] ParseError),
    /// The process logs already.
    #[error("cannot start the log")]
    Init(#[from] TryInitError),
    /// The thread that writes cannot be started.
    #[error("cannot start the thread of the log")]
    Thread(#[from] io::Error),
}

/// Starts the log of the process, once. Panics go to the log too: their place, but not their message, which may quote
/// what a caller sent.
///
/// Without a format it is text on a terminal and JSON elsewhere. SQL is logged only if the filter names its target,
/// `sqlx::query`. PostgreSQL's notices are logged only if the filter shows debug lines or names
/// their target. Colours need a terminal, and `NO_COLOR` unset or empty.
///
/// [`flush`] must be called before the process ends.
///
/// # Errors
/// [`TelemetryError`] if the process logs already, or cannot start a thread.
pub fn init(logging: &LogSettings) -> Result<(), TelemetryError> {
    let terminal = io::stderr().is_terminal();
    let format = logging.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let style = LineStyle::new(format);
    let queue = Arc::new(LineQueue::new(QUEUE_BYTES));
    let filter = filter(&logging.filter)?;
    let shows_panics = filter.max_level_hint() != Some(LevelFilter::OFF);
    let limit = FloodLimit::new(Arc::clone(&queue), style);
    // Its own errors would go to stderr by a macro that panics when stderr is gone.
    let lines = fmt().with_writer(Arc::clone(&queue)).log_internal_errors(false).with_env_filter(filter);
    match format {
        LogFormat::Text => {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            lines.with_ansi(terminal && !plain).finish().with(limit).try_init()?;
        }
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).finish().with(limit).try_init()?,
    }
    writer::start(Arc::clone(&queue), style)?;
    let log = LOG.get_or_init(|| Log { queue, style });
    // Not by `tracing`: a panic within this hook, as in the destructor of a thread, would end the process.
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        if shows_panics {
            let at = panic.location().map(ToString::to_string);
            let at = at.as_deref().unwrap_or("unknown");
            let line = log.style.line(Level::ERROR, "a panic", &[("panic.location", Field::Text(at))]);
            log.queue.push(line.as_bytes());
        }
    }));
    Ok(())
}

/// Waits until the log is written, but not longer than `within`: its reader may be stalled. If lines were lost, the
/// last line says how many.
pub fn flush(within: Duration) {
    if let Some(log) = LOG.get() {
        log.queue.flush(within);
    }
}

/// Returns how many lines of the log were lost.
pub fn lost_lines() -> u64 {
    LOG.get().map_or(0, |log| log.queue.lost())
}

/// Returns how many panics there were since the log was started.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Prints the reason why the process ends, as one line: in the format of the log, or, before the log is started, as
/// JSON if `IDENTITY_LOG_FORMAT` says so, or, without that, `LOG_FORMAT`.
pub fn print_fatal(reason: &str) {
    let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match LOG.get() {
        Some(log) => log.queue.push(log.style.fatal(&reason).as_bytes()),
        None => {
            let format = ["IDENTITY_LOG_FORMAT", "LOG_FORMAT"].into_iter().find_map(std::env::var_os);
            let is_json = format.is_some_and(|format| format == "json");
            let style = LineStyle::new(if is_json { LogFormat::Json } else { LogFormat::Text });
            // A failure to write to stderr cannot be reported.
            let _ = io::stderr().write_all(style.fatal(&reason).as_bytes());
        }
    }
}

fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    // The longest matching target decides, in any order.
    let hidden = SQL.iter().filter(|target| !text.contains(*target));
    let mut quiet: Vec<_> = hidden.map(|target| format!("{target}=off")).collect();
    let shows_debug = EnvFilter::try_new(text)?.max_level_hint().is_none_or(|level| level >= LevelFilter::DEBUG);
    if !shows_debug && !text.contains(NOTICES) {
        quiet.push(format!("{NOTICES}=warn"));
    }
    EnvFilter::try_new(quiet.iter().map(String::as_str).chain([text]).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_is_logged_only_if_the_filter_names_it() {
        for (text, shows_sql) in [("trace", false), ("info,sqlx=debug", false), ("info,sqlx::query=debug", true)] {
            let hides_sql = filter(text).map(|filter| filter.to_string().contains("sqlx::query=off"));
            assert!(matches!(hides_sql, Ok(hides) if hides != shows_sql), "{text}");
        }
    }

    #[test]
    fn notices_of_postgresql_are_for_debugging() {
        for (text, shows) in
            [("info", false), ("debug", true), ("trace", true), ("info,sqlx::postgres::notice=info", true)]
        {
            let hides = filter(text).map(|filter| filter.to_string().contains("sqlx::postgres::notice=warn"));
            assert!(matches!(hides, Ok(hides) if hides != shows), "{text}");
        }
    }
}
