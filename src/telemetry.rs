//! The log. It goes to stderr, because stdout is for the output of commands. Times are UTC, in RFC 3339 with
//! microseconds.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt};

use crate::settings::{LogFormat, LogSettings};

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
}

/// Starts the log of the process, once. Panics go to the log too: their place, but not their message, which may quote
/// what a caller sent.
///
/// Without a format it is text on a terminal and JSON elsewhere. SQL is logged only if the filter names its target,
/// `sqlx::query`. PostgreSQL's notices are logged only if the filter shows debug lines or names
/// their target. Colours need a terminal, and `NO_COLOR` unset or empty.
///
/// # Errors
/// [`TelemetryError`] if the process logs already.
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
