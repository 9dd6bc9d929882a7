//! A line of the log that is written without `tracing`: the last one, those of a panic, and fatal errors.

use std::fmt::Write;

use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::settings::LogFormat;

/// The target of these lines.
const TARGET: &str = "identity::telemetry";

/// How a line looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineStyle(LogFormat);

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    Number(u64),
    Text(&'a str),
}

impl LineStyle {
    pub(super) fn new(format: LogFormat) -> Self {
        Self(format)
    }

    /// Returns the line with its end, as the log would have it. It cannot panic.
    pub(super) fn line(self, level: Level, message: &str, fields: &[(&str, Field<'_>)]) -> String {
        let mut line = String::new();
        match self.0 {
            LogFormat::Text => {
                let _ = SystemTime.format_time(&mut Writer::new(&mut line));
                let _ = write!(line, " {level:>5} {TARGET}: {message}");
                for (name, value) in fields {
                    let _ = match value {
                        Field::Number(number) => write!(line, " {name}={number}"),
                        Field::Text(text) => write!(line, " {name}={text:?}"),
                    };
                }
            }
            LogFormat::Json => {
                line.push_str(r#"{"timestamp":""#);
                let _ = SystemTime.format_time(&mut Writer::new(&mut line));
                let _ = write!(line, r#"","level":"{level}","message":{}"#, quoted(message));
                for (name, value) in fields {
                    let _ = match value {
                        Field::Number(number) => write!(line, ",{}:{number}", quoted(name)),
                        Field::Text(text) => write!(line, ",{}:{}", quoted(name), quoted(text)),
                    };
                }
                let _ = write!(line, r#","target":"{TARGET}"}}"#);
            }
        }
        line.push('\n');
        line
    }

    /// Returns the line about an error that ends the process: for people without time and level.
    pub(super) fn fatal(self, reason: &str) -> String {
        match self.0 {
            LogFormat::Text => format!("identity: {reason}\n"),
            LogFormat::Json => self.line(Level::ERROR, reason, &[]),
        }
    }
}

/// Returns a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [(&str, Field<'static>); 2] = [("lines", Field::Number(7)), ("at", Field::Text("a \"b\""))];

    #[test]
    fn a_line_is_json_or_text() {
        let line = LineStyle::new(LogFormat::Json).line(Level::WARN, "a\nmessage", &FIELDS);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&parsed["message"], &parsed["lines"]), (&"a\nmessage".into(), &7.into()));
        assert_eq!((&parsed["level"], &parsed["at"]), (&"WARN".into(), &"a \"b\"".into()));
        assert!(parsed["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        assert_eq!(line.matches('\n').count(), 1);

        let line = LineStyle::new(LogFormat::Text).line(Level::WARN, "message", &FIELDS);
        assert!(line.ends_with("  WARN identity::telemetry: message lines=7 at=\"a \\\"b\\\"\"\n"), "{line}");
    }

    #[test]
    fn a_fatal_error_is_short_for_people() {
        assert_eq!(LineStyle::new(LogFormat::Text).fatal("no database"), "identity: no database\n");
        assert!(
            LineStyle::new(LogFormat::Json).fatal("no database").contains(r#""level":"ERROR","message":"no database""#)
        );
    }
}
