//! Every setting: a flag, an environment variable and a key of an optional TOML file, in this order of
//! precedence, over a default.
//!
//! The `clap` arguments of this module are the one list of them. `identity.example.toml` documents the
//! file, which a test compares with the list.

mod address;
mod database;
mod error;
mod file;
mod identify;
mod limits;
mod listen;
mod load;
mod logging;
mod queue;
mod report;
mod servers;
mod sources;
pub(crate) mod value;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

pub use address::{InvalidListenAddr, ListenAddr};
pub use database::Database;
pub use error::InvalidSetting;
pub use identify::{Identify, Spelling};
pub use limits::Limits;
pub use listen::Listen;
pub use load::Stop;
pub use logging::{LogFormat, Logging};
pub use queue::Queue;

use database::DatabaseArgs;
use listen::ListenArgs;

/// How this process is to run. Printing it with `{:?}` shows no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database.
    pub database: Database,
    /// The addresses.
    pub listen: Listen,
    /// The meaning of identifiers and the spelling of answers.
    pub identify: Identify,
    /// Bounds on callers.
    pub limits: Limits,
    /// The queue of requests and the size of transactions.
    pub queue: Queue,
    /// The log.
    pub logging: Logging,
}

impl Settings {
    /// Settings from flags alone, such as `["--grpc-addr", "127.0.0.1:0"]`, over the defaults. Neither the
    /// environment nor a file counts, so a test gets the same everywhere.
    ///
    /// # Errors
    /// [`Stop`] names the flag that is wrong.
    pub fn from_flags<T: Into<OsString>>(flags: impl IntoIterator<Item = T>) -> Result<Self, Stop> {
        let command = SettingsArgs::augment_args(Command::new("identity")).mut_args(|arg| arg.env(None::<&str>));
        let name = OsString::from("identity");
        let args = std::iter::once(name).chain(flags.into_iter().map(Into::into));
        Ok(load(command, args)?.settings)
    }
}

/// The arguments that are settings, for a `clap` command to flatten.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Settings file")]
pub(crate) struct SettingsArgs {
    /// A TOML file of settings. Its keys are the flags' names with underscores: grpc_addr = "0.0.0.0:50051"
    #[arg(long, env = "IDENTITY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    identify: Identify,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    queue: Queue,
    #[command(flatten)]
    logging: Logging,
}

/// What a command line came to.
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// The settings as a file, with where each came from.
    pub(crate) report: String,
    /// For the caller's own arguments.
    pub(crate) matches: ArgMatches,
}

/// Loads the settings for a command that has [`SettingsArgs`] among its arguments.
///
/// # Errors
/// [`Stop`] names what is wrong, or has the help that was asked for.
pub(crate) fn load(command: Command, args: impl IntoIterator<Item = OsString>) -> Result<Loaded, Stop> {
    let sources = load::parse(command, args)?;
    let SettingsArgs { database, listen, identify, limits, queue, logging, config: _ } =
        SettingsArgs::from_arg_matches(&sources.matches).map_err(unread)?;
    let (database, listen) = (database.settle(&sources)?, listen.settle(&sources));
    let settings = Settings { database, listen, identify, limits, queue, logging };
    Ok(Loaded { report: report::report(&settings, &sources), settings, matches: sources.matches })
}

/// For arguments that parsed but do not fit their struct.
pub(crate) fn unread(error: Error) -> Stop {
    Stop::Usage(error.kind().to_string())
}
