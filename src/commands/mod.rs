//! The command line of the binary: one file for each subcommand.
//!
//! To add a subcommand: a file here with its arguments and its function, a variant of [`Command`], and an arm in `run`.

mod adopt;
mod adoption_run;
#[cfg(feature = "bench")]
mod bench;
pub mod completions;
mod config;
mod export;
pub mod healthcheck;
mod identifier_list;
mod ignore;
mod import;
pub mod man;
mod migrate;
mod one_line;
pub mod serve;
mod signals;
pub mod token;
mod unfinished;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, FromArgMatches, Subcommand};

use crate::adopt::AdoptError;
#[cfg(feature = "bench")]
use crate::bench::BenchCommand;
use crate::reload::LoadError;
use crate::settings::{self, InvalidSetting, Settings, SettingsArgs, Stop};
use crate::store::MigrateError;
use crate::telemetry;
pub use identifier_list::parse_identifiers;
pub use ignore::IgnoreCommand;
pub use migrate::{DownArgs, MigrateCommand};
pub use one_line::one_line;
pub use signals::Signals;
pub use verify::VerifyArgs;

const ABOUT: &str = "Finds the customer that a checkout event belongs to, over gRPC and JSON";

const SETTINGS: &str = "\
Every setting is a flag (before or after the command), an environment variable ([env: …]) and a key of the \
settings file. A flag wins over the environment, and the environment wins over the file. An empty variable counts \
as not set. A TIME has a unit: 500ms, 10s, 1m 30s.

Exit status: 0 success; 1 findings (verify), no health (healthcheck), or a decision that is needed (migrate down \
without --yes, adopt, import); 2 wrong setting or command line; 3 failure. After SIGTERM 143 and after SIGINT 130; \
`serve` drains instead, and then exits with 0.";

/// A parsed command line.
#[derive(Debug)]
pub struct Invocation {
    /// The command to run.
    pub command: Command,
    /// The settings in force.
    pub settings: Settings,
    /// The settings as a TOML file, each with its origin, without secrets.
    pub report: String,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve the gRPC API and the JSON API (the default command)
    Serve,
    /// Change or show the version of the database schema
    #[command(subcommand, arg_required_else_help = false)]
    Migrate(MigrateCommand),
    /// Check a running service: exit 0 if the gRPC address answers SERVING
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Check the database and report every broken invariant: exit 0 if there is none, 1 if there is one, 3 if the
    /// check failed
    Verify(VerifyArgs),
    /// Take over the table in which another system keeps its contacts; without --apply only a report: exit 0 if
    /// nothing is left to do, 1 if decisions or another run are needed
    Adopt(Box<adopt::AdoptArgs>),
    /// Write contacts, identifiers, merges and evidence, all as they were at one moment, to stdout or to files. It has
    /// personal data
    Export(export::ExportArgs),
    /// Take over the contacts of a file; without --apply only a report: exit 0 if nothing is left to do, 1 if decisions
    /// are needed
    Import(Box<import::ImportArgs>),
    /// Identifiers that join nobody, such as a till's phone number
    #[command(subcommand, arg_required_else_help = false)]
    Ignore(IgnoreCommand),
    /// Measure a running service
    #[cfg(feature = "bench")]
    #[command(subcommand, arg_required_else_help = false)]
    Bench(BenchCommand),
    /// Make tokens for callers
    #[command(subcommand, arg_required_else_help = false)]
    Token(token::TokenCommand),
    /// Print the settings in force as TOML, each with its origin, without secrets
    Config,
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual, or write the pages of all commands
    Man(man::ManArgs),
}

/// Parses a command line, the environment and the settings file. The first argument is the name of the program.
///
/// # Errors
/// [`Stop`] has the line to print, or the help text.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, Stop> {
    let args: Vec<_> = args.into_iter().collect();
    let command = if is_about_the_program(&args) { without_environment(clap_command()) } else { clap_command() };
    let loaded = settings::load(command, args)?;
    let command = match loaded.matches.subcommand() {
        Some(_) => Command::from_arg_matches(&loaded.matches).map_err(settings::unread)?,
        None => Command::Serve,
    };
    Ok(Invocation { command, settings: loaded.settings, report: loaded.report })
}

/// Whether the command is about the program alone. It needs no settings, so wrong ones in the environment are none of
/// its business: completions are made when a shell starts, and manuals when a package is built.
fn is_about_the_program(args: &[OsString]) -> bool {
    let command = without_environment(clap_command()).mut_args(|arg| arg.global(true));
    let matches = command.try_get_matches_from(args).ok();
    matches.is_some_and(|matches| matches!(matches.subcommand_name(), Some("completions" | "man")))
}

fn without_environment(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.env(None::<&str>))
}

/// Returns the `clap` command, for help, completions and tests of the documentation.
pub fn clap_command() -> clap::Command {
    let command = Command::augment_subcommands(clap::Command::new("identity"));
    // `augment_args` also sets the doc comment of its struct as the description, so ours must come after it.
    let command = SettingsArgs::augment_args(command).version(env!("CARGO_PKG_VERSION"));
    token::with_own_help(command.about(ABOUT).after_long_help(SETTINGS))
}

/// The exit status of findings, of a service that is not healthy, and of a command that needs a decision.
const FINDINGS: u8 = 1;

/// The exit status of a wrong setting or command line.
pub const USAGE: u8 = 2;

/// The exit status of a failure.
pub const FAILURE: u8 = 3;

/// Returns the exit status that stands for an error of [`run`].
pub fn exit_status(error: &anyhow::Error) -> ExitCode {
    let is_of_adoption = error.downcast_ref::<AdoptError>().is_some_and(AdoptError::is_usage);
    if is_of_adoption || error.is::<InvalidSetting>() || error.is::<LoadError>() {
        return ExitCode::from(USAGE);
    }
    let needs_decision = matches!(error.downcast_ref(), Some(MigrateError::RowsWouldBeLost(_)));
    let is_finding = needs_decision || error.is::<healthcheck::Unhealthy>();
    ExitCode::from(if is_finding { FINDINGS } else { FAILURE })
}

/// Runs the command. Returns the exit status: success, or 1 if findings of `verify` remain.
///
/// # Errors
/// One line for the operator.
pub fn run(Invocation { command, settings, report }: Invocation, signals: &Signals) -> anyhow::Result<ExitCode> {
    match command {
        Command::Token(command) => token::token(&command, &settings.access)?,
        Command::Config => config::config(&report)?,
        // A setting may stand behind the command too.
        Command::Completions(args) => completions::completions(args, clap_command().mut_args(|arg| arg.global(true)))?,
        Command::Man(args) => man::man(args, clap_command())?,
        #[cfg(feature = "bench")]
        Command::Bench(command) => {
            telemetry::init(&settings.logging)?;
            bench::bench(&command, &settings)?;
        }
        Command::Healthcheck(args) => block_on(healthcheck::healthcheck(&args, &settings))??,
        Command::Serve => {
            telemetry::init(&settings.logging)?;
            block_on(serve::serve(settings, signals))??;
        }
        Command::Migrate(command) => {
            telemetry::init(&settings.logging)?;
            block_on(migrate::migrate(&settings.database, command))??;
        }
        Command::Adopt(args) => {
            telemetry::init(&settings.logging)?;
            if !block_on(adopt::adopt(&settings, *args))?? {
                return Ok(ExitCode::from(FINDINGS));
            }
        }
        Command::Export(args) => {
            telemetry::init(&settings.logging)?;
            block_on(export::export(&settings, args))??;
        }
        Command::Import(args) => {
            telemetry::init(&settings.logging)?;
            if !block_on(import::import(&settings, *args))?? {
                return Ok(ExitCode::from(FINDINGS));
            }
        }
        Command::Ignore(command) => {
            telemetry::init(&settings.logging)?;
            block_on(ignore::ignore(&settings, command))??;
        }
        Command::Verify(args) => {
            telemetry::init(&settings.logging)?;
            if !block_on(verify::verify(&settings, args))?? {
                return Ok(ExitCode::from(FINDINGS));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a future on a new runtime, then shuts the runtime down without waiting for its other tasks.
///
/// A task can still be looking up a host name, which nothing can cancel.
fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(result)
}
