//! Parses the command line, the environment and the settings file with one parser.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

use super::error::{InvalidSetting, Stop};
use super::file::File;
use super::sources::{PREFIX, Sources};
use super::value;

/// Parses a command line and returns all values with their sources.
///
/// It parses twice. The first pass reads flags and environment, which name the settings file. The second pass has the
/// values of the file as defaults. So an error of the first pass is about a flag or a variable, and an error of the
/// second is about the file. The first pass prints the help text, so it shows the defaults and never a file's values.
pub(super) fn parse(command: Command, args: impl IntoIterator<Item = OsString>) -> Result<Sources, Stop> {
    let args: Vec<_> = args.into_iter().collect();
    let command = prepare(command);
    let matches = command.clone().try_get_matches_from(&args).map_err(|error| explain(error, None))?;
    let Some(path) = matches.get_one::<PathBuf>("config").cloned() else {
        return Ok(Sources { command, matches, file: None });
    };
    let mut sources = Sources { command, matches, file: None };
    let file = File::read(&path, sources.name_in_source("config"))?;
    let with_defaults = file.set_defaults(sources.command.clone())?;
    sources.matches = with_defaults.try_get_matches_from(&args).map_err(|error| explain(error, Some(&file)))?;
    sources.file = Some(file);
    Ok(sources)
}

fn prepare(command: Command) -> Command {
    command.mut_args(|arg| {
        // `global`: a setting may stand before or after the subcommand. `hide_env_values`: the help text must not show
        // a password from the environment.
        let arg = arg.global(true).hide_env_values(true);
        let Some(variable) = arg.get_env().map(|variable| variable.to_string_lossy().into_owned()) else { return arg };
        let prefixed = format!("{PREFIX}{variable}");
        if !variable.starts_with(PREFIX) && is_set(&prefixed) {
            arg.env(prefixed)
        } else if is_set(&variable) || std::env::var_os(&variable).is_none() {
            arg
        } else {
            arg.env(None::<&str>)
        }
    })
}

/// Returns whether a variable has a value for a setting.
///
/// Deployments pass variables on with `${X:-}`, so an empty variable counts as not set. For each service, here `db` or
/// `identity`, Kubernetes sets `DB_PORT=tcp://10.0.0.5:3306` or `IDENTITY_PORT=tcp://…` in every container.
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| {
        let is_service_link = variable.ends_with("PORT") && value.to_string_lossy().contains("://");
        !value.is_empty() && !is_service_link
    })
}

/// Returns one line for clap's error, without the values that clap echoes: a value may be a password.
fn explain(error: Error, file: Option<&File>) -> Stop {
    let kind = error.kind();
    if [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&kind) {
        return Stop::Help(error);
    }
    if let Some((setting, reason)) = value::invalid_value(&error) {
        let named = file.map_or_else(|| setting.to_owned(), |file| file.name_of(setting));
        return InvalidSetting::new(named, reason).into();
    }
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(arg)) if arg.starts_with('-') => arg.split(['=', ' ']).next(),
        _ => None,
    };
    let line = match (kind, named) {
        (ErrorKind::UnknownArgument, Some(flag)) => format!("{flag}: there is no such flag"),
        (ErrorKind::UnknownArgument, None) => "too many arguments".to_owned(),
        (ErrorKind::InvalidSubcommand, _) => "there is no such command".to_owned(),
        (ErrorKind::InvalidValue, Some(flag)) => format!("{flag}: needs a value"),
        (ErrorKind::InvalidValue, None) => one_of(&error),
        (ErrorKind::TooManyValues, Some(flag)) => format!("{flag}: takes no value"),
        (ErrorKind::ArgumentConflict, Some(flag)) => {
            format!("{flag}: cannot be given twice, or together with a flag that it excludes")
        }
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand, _) => {
            "the command is incomplete".to_owned()
        }
        (_, Some(flag)) => format!("{flag}: {}", kind.as_str().unwrap_or("is wrong")),
        (_, None) => kind.as_str().unwrap_or("the command line is wrong").to_owned(),
    };
    Stop::Usage(format!("{line} (see `identity --help`)"))
}

/// Returns which values an argument takes.
fn one_of(error: &Error) -> String {
    match (error.get(ContextKind::InvalidArg), error.get(ContextKind::ValidValue)) {
        (Some(ContextValue::String(arg)), Some(ContextValue::Strings(values))) => {
            format!("{arg}: must be one of {}", values.join(", "))
        }
        _ => "a value is wrong".to_owned(),
    }
}
