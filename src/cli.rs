//! The command line of the binary.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, FromArgMatches, Subcommand};

use crate::bench::BenchCommand;
use crate::settings::{self, Settings, SettingsArgs, Stop, value};
use crate::verify::VerifyArgs;

const ABOUT: &str = "Tells which customer a checkout event belongs to, over gRPC and JSON";

const SETTINGS: &str = "\
Every setting may be given as a flag, before or behind the command, as an environment variable ([env: …]) \
or as a key of the settings file: a flag comes before the environment, the environment before the file. \
An empty variable counts as not set. A TIME has a unit: 500ms, 10s, 1m 30s.

Exit status: 0 success, 1 failure, 2 a wrong setting or command line.";

/// What the command line asks for.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// The settings to do it under.
    pub settings: Settings,
    /// The settings as a TOML file, without secrets, with where each came from.
    pub report: String,
}

/// What the process does.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve gRPC and JSON; what `identity` alone does
    Serve,
    /// Change or show the version of the database's schema
    #[command(subcommand, arg_required_else_help = false)]
    Migrate(MigrateCommand),
    /// Exit 0 if the service at the gRPC address says SERVING
    Healthcheck(Healthcheck),
    /// Go through the database and report every broken invariant: exit 0 if there is none, 1 if there is
    Verify(VerifyArgs),
    /// Measure what a running service can do
    #[command(subcommand, arg_required_else_help = false)]
    Bench(BenchCommand),
    /// Print the settings in force as TOML, with where each came from and without secrets
    Config,
}

/// What to do with the schema.
#[derive(Clone, Debug, Subcommand)]
pub enum MigrateCommand {
    /// Apply every migration that is missing
    Up,
    /// Undo the latest migrations: loses what they held
    Down(Down),
    /// List the migrations and which are applied
    Status,
}

/// How far to go back.
#[derive(Clone, Debug, Args)]
pub struct Down {
    /// How many migrations to undo
    #[arg(value_name = "STEPS", default_value = "1", value_parser = value::whole::<u32, 1, 10_000>())]
    steps: u32,
    /// Undo them all
    #[arg(long, conflicts_with = "steps")]
    all: bool,
}

impl Down {
    /// How many migrations to undo; `None` is all.
    pub fn limit(&self) -> Option<u32> {
        (!self.all).then_some(self.steps)
    }
}

/// How to ask for health.
#[derive(Clone, Debug, Args)]
pub struct Healthcheck {
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = value::timeout())]
    pub timeout: Duration,
}

/// Reads a command line, whose first item is the program's name, with the environment and the settings
/// file below it.
///
/// # Errors
/// [`Stop`] has the line to print, or the help that was asked for.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, Stop> {
    let loaded = settings::load(clap_command(), args)?;
    let command = match loaded.matches.subcommand() {
        Some(_) => Command::from_arg_matches(&loaded.matches).map_err(settings::unread)?,
        None => Command::Serve,
    };
    Ok(Invocation { command, settings: loaded.settings, report: loaded.report })
}

/// The command line as `clap` has it, for help, completions and tests of the documentation.
pub fn clap_command() -> clap::Command {
    let command = Command::augment_subcommands(clap::Command::new("identity"));
    // `augment_args` brings the doc comment of its struct along: ours has to come after.
    SettingsArgs::augment_args(command).version(env!("CARGO_PKG_VERSION")).about(ABOUT).after_long_help(SETTINGS)
}
