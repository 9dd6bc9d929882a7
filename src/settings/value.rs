//! Parsers for the text of a setting: the rules that a value must follow, with one error message each.

use std::ffi::OsStr;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, Command, Error};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A clap parser for one setting.
///
/// clap's own parsers print the value, which may be a password. They also do not say whether the value came from a flag
/// or from the environment.
#[derive(Clone, Copy)]
pub(crate) struct Parser<T>(fn(&str) -> Result<T, String>);

impl<T> Parser<T> {
    pub(crate) const fn new(parse: fn(&str) -> Result<T, String>) -> Self {
        Self(parse)
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Parser<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        self.parse_ref_(command, arg, value, ValueSource::CommandLine)
    }

    fn parse_ref_(&self, _: &Command, arg: Option<&Arg>, value: &OsStr, source: ValueSource) -> Result<T, Error> {
        let text = value.to_str().ok_or_else(|| "must be UTF-8".to_owned());
        text.and_then(|text| (self.0)(text)).map_err(|reason| {
            let setting = arg.map(|arg| name_in_source(arg, Some(source))).unwrap_or_default();
            let mut error = Error::new(ErrorKind::ValueValidation);
            error.insert(ContextKind::InvalidArg, ContextValue::String(setting));
            error.insert(ContextKind::Custom, ContextValue::String(reason));
            error
        })
    }
}

/// Returns the setting and the reason if the error comes from a [`Parser`].
pub(super) fn invalid_value(error: &Error) -> Option<(&str, &str)> {
    match (error.get(ContextKind::InvalidArg), error.get(ContextKind::Custom)) {
        (Some(ContextValue::String(setting)), Some(ContextValue::String(reason))) => Some((setting, reason)),
        _ => None,
    }
}

/// Returns the name of a setting the way its source spells it.
///
/// A default gets the name of its key: a default can only be wrong if a file set it.
pub(super) fn name_in_source(arg: &Arg, source: Option<ValueSource>) -> String {
    match (source, arg.get_env(), arg.get_long()) {
        (Some(ValueSource::EnvVariable), Some(env), _) => format!("{} (environment)", env.to_string_lossy()),
        (Some(ValueSource::CommandLine), _, Some(long)) => format!("--{long}"),
        (Some(ValueSource::CommandLine), _, None) => format!("{arg}"),
        _ => arg.get_id().to_string(),
    }
}

/// Parses a whole number from `MIN` to `MAX`, both included.
pub(crate) fn integer<T: TryFrom<u32>, const MIN: u32, const MAX: u32>() -> Parser<T> {
    Parser::new(|text| {
        let number = text.parse::<u32>().ok().filter(|number| (MIN..=MAX).contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| format!("must be a whole number from {MIN} to {MAX}"))
    })
}

/// Parses a number from 0 to 1.
pub(crate) fn ratio() -> Parser<f64> {
    Parser::new(|text| {
        let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
        number.ok_or_else(|| "must be a number from 0 to 1, such as 0.01".to_owned())
    })
}

/// Parses `true` or `false`.
pub(crate) fn boolean() -> Parser<bool> {
    Parser::new(|text| text.parse().map_err(|_| "must be true or false".to_owned()))
}

/// Parses a time from zero to a day: `500ms`, `10s`, `1m 30s`.
pub(crate) fn duration() -> Parser<Duration> {
    Parser::new(|text| bounded(text, Duration::ZERO, "must be a time such as 500ms or 10s, at most a day"))
}

/// Parses a time from a millisecond to a day. The upper limit keeps a deadline within the range of the clock.
pub(crate) fn timeout() -> Parser<Duration> {
    Parser::new(|text| {
        bounded(text, Duration::from_millis(1), "must be a time such as 500ms or 10s, from 1ms to a day")
    })
}

fn bounded(text: &str, least: Duration, rule: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim()).map_err(|_| rule.to_owned())?;
    if (least..=DAY).contains(&duration) { Ok(duration) } else { Err(rule.to_owned()) }
}

/// Parses with `FromStr`, for a type whose error says "must be …".
pub(crate) fn from_str<T>() -> Parser<T>
where
    T: FromStr<Err: Display>,
{
    Parser::new(|text| text.parse().map_err(|error: T::Err| error.to_string()))
}
