use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::value;

/// The filter and the format of the log.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct LogSettings {
    /// Filter for log lines: LEVEL or TARGET=LEVEL, with commas between. Levels are off, error, warn, info, debug
    /// and trace
    #[arg(id = "log", long = "log", env = "RUST_LOG", value_name = "FILTER", default_value = "info")]
    #[arg(value_parser = value::Parser::new(filter))]
    pub filter: String,

    /// Format of log lines: text or json. Without it: text on a terminal, json elsewhere
    #[arg(id = "log_format", long = "log-format", env = "LOG_FORMAT", value_name = "FORMAT")]
    #[arg(value_parser = value::from_str::<LogFormat>())]
    pub format: Option<LogFormat>,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people: time, level, target, message and fields.
    Text,
    /// One JSON object on a line, for machines.
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json"),
        }
    }
}

fn filter(text: &str) -> Result<String, String> {
    let mut directives = text.split(',').filter(|directive| !directive.is_empty());
    if directives.all(names_a_level) && EnvFilter::try_new(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err("must be a level (off, error, warn, info, debug, trace) or TARGET=LEVEL, with commas between".to_owned())
}

/// Returns whether a directive says a level. Without one it would be the name of a target: a typo in a level would turn
/// the log off.
fn names_a_level(directive: &str) -> bool {
    let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
    level.parse::<LevelFilter>().is_ok() && !level.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directive_names_a_level() {
        let span = "x[span{a=1}]=trace";
        for right in ["info", "WARN", "off", "info,sqlx::query=debug", "warn,h2=off,", span, "3"] {
            assert_eq!(filter(right).as_deref(), Ok(right), "{right}");
        }
        for wrong in ["verbose", "info,sqlx", "sqlx=", "sqlx=loud", "x[span{a=info}]", "x[span{a=info}]=", "=x"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }
}
