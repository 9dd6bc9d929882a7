//! Flags over environment over file over defaults, all judged by one parser.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

use super::file::File;
use super::sources::Sources;
use super::{InvalidSetting, value};

/// Why no settings came of a command line.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// Help or the version was asked for: print it and be done.
    #[error("{0}")]
    Help(Error),
    /// One line for the operator.
    #[error("{0}")]
    Invalid(#[from] InvalidSetting),
    /// The command line makes no sense; one line for the operator.
    #[error("{0}")]
    Usage(String),
}

/// Parses twice: flags and environment first, which tell whether there is a file, then with the file's
/// values below them. So what the first pass finds wrong is a flag or a variable, what the second finds
/// wrong is in the file; and help, which the first one prints, shows nobody's file.
pub(super) fn parse(command: Command, args: impl IntoIterator<Item = OsString>) -> Result<Sources, Stop> {
    let args: Vec<_> = args.into_iter().collect();
    let command = prepared(command);
    let matches = command.clone().try_get_matches_from(&args).map_err(|error| explained(error, None))?;
    let Some(path) = matches.get_one::<PathBuf>("config").cloned() else {
        return Ok(Sources { command, matches, file: None });
    };
    let mut sources = Sources { command, matches, file: None };
    let file = File::read(&path, sources.spelled("config"))?;
    let below = file.below(sources.command.clone())?;
    sources.matches = below.try_get_matches_from(&args).map_err(|error| explained(error, Some(&file)))?;
    sources.file = Some(file);
    Ok(sources)
}

fn prepared(command: Command) -> Command {
    command.mut_args(|arg| {
        // Deployments pass variables on with `${X:-}`: an empty one says nothing.
        let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        // Settings may stand behind the sub-command too. Values of the environment, passwords among them,
        // would show in the help.
        let arg = arg.global(true).hide_env_values(true);
        if is_empty { arg.env(None::<&str>) } else { arg }
    })
}

/// One line of clap's error, without the values that clap echoes: a misplaced one may be a password.
fn explained(error: Error, file: Option<&File>) -> Stop {
    let kind = error.kind();
    if [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&kind) {
        return Stop::Help(error);
    }
    if let Some((setting, reason)) = value::complaint(&error) {
        let named = file.map_or_else(|| setting.to_owned(), |file| file.spelled(setting));
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
        (ErrorKind::TooManyValues, Some(flag)) => format!("{flag}: takes no value"),
        (ErrorKind::ArgumentConflict, Some(flag)) => format!("{flag}: cannot be given twice, or with what it excludes"),
        (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand, _) => {
            "the command is incomplete".to_owned()
        }
        (_, Some(flag)) => format!("{flag}: {}", kind.as_str().unwrap_or("is wrong")),
        (_, None) => kind.as_str().unwrap_or("the command line is wrong").to_owned(),
    };
    Stop::Usage(format!("{line} (see `identity --help`)"))
}
