use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use super::value;

/// What is logged and how.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct Logging {
    /// Which log lines are written, as LEVEL or TARGET=LEVEL with commas between; levels are off, error,
    /// warn, info, debug and trace
    #[arg(id = "log", long = "log", env = "RUST_LOG", value_name = "FILTER", default_value = "info")]
    #[arg(value_parser = value::Parser::new(filter))]
    pub filter: String,

    /// text or json; without it, text on a terminal and json elsewhere
    #[arg(id = "log_format", long = "log-format", env = "LOG_FORMAT", value_name = "FORMAT")]
    #[arg(value_parser = value::from_str::<LogFormat>())]
    pub format: Option<LogFormat>,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, target, message and fields on a line.
    Text,
    /// For machines: a JSON object a line.
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
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            Err("must be a level (off, error, warn, info, debug, trace) or TARGET=LEVEL, with commas between"
                .to_owned())
        }
    }
}
