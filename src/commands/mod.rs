//! The command line of the binary: one file for each subcommand.
//!
//! To add a subcommand: a file here with its arguments and its function, a variant of [`Command`], and a line in
//! `run`.

mod config;
pub mod healthcheck;
mod migrate;
pub mod serve;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, FromArgMatches, Subcommand};

use crate::bench::{self, BenchCommand};
use crate::settings::{self, Settings, SettingsArgs, Stop};
use crate::telemetry;
pub use migrate::{Down, MigrateCommand};
pub use verify::VerifyArgs;

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
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Go through the database and report every broken invariant: exit 0 if there is none, 1 if there is
    Verify(VerifyArgs),
    /// Measure what a running service can do
    #[command(subcommand, arg_required_else_help = false)]
    Bench(BenchCommand),
    /// Print the settings in force as TOML, with where each came from and without secrets
    Config,
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

/// Does what the command line asks for. Returns the exit status: success, or 1 for findings of `verify` that remain.
///
/// # Errors
/// One line for the operator.
pub fn run(Invocation { command, settings, report }: Invocation) -> anyhow::Result<ExitCode> {
    match command {
        Command::Config => config::config(&report)?,
        Command::Bench(command) => {
            telemetry::init(&settings.logging)?;
            bench::run(&command, &settings)?; // It starts its own runtimes, one for each thread.
        }
        Command::Healthcheck(args) => block_on(healthcheck::healthcheck(&settings.listen.grpc_addr, args.timeout))??,
        Command::Serve => {
            telemetry::init(&settings.logging)?;
            block_on(serve::serve(settings))??;
        }
        Command::Migrate(command) => {
            telemetry::init(&settings.logging)?;
            block_on(migrate::migrate(&settings.database, command))??;
        }
        Command::Verify(args) => {
            telemetry::init(&settings.logging)?;
            if !block_on(verify::verify(&settings.database, args))?? {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command on a new runtime. Does not wait for what the runtime still does after it: the look-up of a host
/// name cannot be cancelled.
fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(result)
}
