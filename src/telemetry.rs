//! The log. It goes to stderr, since stdout belongs to the output of commands; times are UTC, RFC 3339,
//! with microseconds.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

use crate::settings::{LogFormat, LogSettings};

/// Targets under which sqlx logs SQL, at warn level when a statement is slow.
const SQL: [&str; 2] = ["sqlx::query", "sqlx::explain"];

/// The target under which sqlx logs, at info level, what PostgreSQL remarks ("relation already exists,
/// skipping"): nobody needs to know but who looks for a fault.
const REMARKS: &str = "sqlx::postgres::notice";

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter makes no sense. [`LogSettings`] from [`crate::settings`] has a valid one.
    #[error("invalid log filter")]
    Filter(#[from] ParseError),
    /// The process logs already.
    #[error("cannot start the log")]
    Init(#[from] TryInitError),
}

/// Starts the log of the process, once. Panics go there too: where, but not with what message, since that may quote
/// what a caller sent.
///
/// Without a format it is text on a terminal and JSON elsewhere. SQL is logged only if the filter names its target,
/// `sqlx::query`, and PostgreSQL's remarks only if it shows debug lines. Colours need a terminal and `NO_COLOR` unset
/// or empty.
///
/// # Errors
/// [`TelemetryError`], when the process logs already.
pub fn init(logging: &LogSettings) -> Result<(), TelemetryError> {
    let terminal = io::stderr().is_terminal();
    let filter = filter(&logging.filter)?;
    let lines = fmt().with_writer(io::stderr).with_env_filter(filter);
    match logging.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Text => {
            let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            lines.with_ansi(terminal && !plain).finish().try_init()?;
        }
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).finish().try_init()?,
    }
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        tracing::error!(panic.location = at.as_deref().unwrap_or("unknown"), "a panic");
    }));
    Ok(())
}

fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    // The longest target that matches decides, whatever the order.
    let hidden = SQL.iter().filter(|target| !text.contains(*target));
    let mut quiet: Vec<_> = hidden.map(|target| format!("{target}=off")).collect();
    let shows_debug = EnvFilter::try_new(text)?.max_level_hint().is_none_or(|level| level >= LevelFilter::DEBUG);
    if !shows_debug && !text.contains(REMARKS) {
        quiet.push(format!("{REMARKS}=warn"));
    }
    EnvFilter::try_new(quiet.iter().map(String::as_str).chain([text]).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_is_logged_only_when_asked_for_by_name() {
        for (text, shows_sql) in [("trace", false), ("info,sqlx=debug", false), ("info,sqlx::query=debug", true)] {
            let hides_sql = filter(text).map(|filter| filter.to_string().contains("sqlx::query=off"));
            assert!(matches!(hides_sql, Ok(hides) if hides != shows_sql), "{text}");
        }
    }

    #[test]
    fn remarks_of_postgresql_are_for_debugging() {
        for (text, shows) in
            [("info", false), ("debug", true), ("trace", true), ("info,sqlx::postgres::notice=info", true)]
        {
            let hides = filter(text).map(|filter| filter.to_string().contains("sqlx::postgres::notice=warn"));
            assert!(matches!(hides, Ok(hides) if hides != shows), "{text}");
        }
    }
}
