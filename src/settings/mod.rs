//! Every setting of the service: its name, its default, its help text, and where its value came from.
//!
//! A setting is a flag, an environment variable and a key of an optional TOML file. A flag wins over the environment,
//! the environment over the file, and the file over the default. A variable with the prefix `IDENTITY_` wins over the
//! same one without. The `clap` arguments of this module are the only list of settings. Tests compare
//! `identity.example.toml` and `docs/configuration.md` with that list.
//!
//! # How to add a setting
//!
//! 1. Add a field to the section that it belongs to, for example [`LimitSettings`] in `limits.rs`. Its `#[arg(...)]`
//!    has the flag, the variable, the default and the parser (see `value.rs`). Its doc comment is the help text.
//! 2. Add it to `identity.example.toml`, to `docs/configuration.md` and to `VALUES` in `tests/settings/bench.rs`.
//! 3. Read the field where it is used. Sections are passed on as they are, so nothing in between changes.
//!
//! A field of a section that is also a `clap` struct needs nothing else. [`DatabaseSettings`] and [`ListenSettings`]
//! are computed from several arguments: `DatabaseArgs` and `ListenArgs` beside them do that, in `resolve`.

mod access;
mod address;
mod cache;
mod database;
mod database_url;
mod error;
mod file;
mod identifiers;
mod limits;
mod listen;
mod load;
mod logging;
mod old_database_url;
mod open_access;
mod origin;
mod queue;
mod report;
mod secret_file;
mod sections;
mod servers;
mod sources;
mod table_names;
mod tls;
mod traces;
pub(crate) mod value;

use std::ffi::OsString;

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

pub use access::AccessSettings;
pub use address::{InvalidListenAddr, ListenAddr};
pub use cache::CacheSettings;
pub use database::DatabaseSettings;
pub use error::{InvalidSetting, Stop};
pub use identifiers::{IdentifierSettings, InvalidIdentifiers, Spelling};
pub use limits::LimitSettings;
pub use listen::ListenSettings;
pub use logging::{LogFormat, LogSettings};
pub use old_database_url::OldDatabaseUrl;
pub use origin::{AllowedOrigins, HostNames, InvalidHostName, InvalidOrigin, Origin};
pub use queue::QueueSettings;
pub use sections::Settings;
pub(crate) use sections::SettingsArgs;
pub use table_names::{InvalidTableName, TableNames};
pub use tls::{ClientAuth, TlsSettings};
pub use traces::{InvalidEndpoint, OtlpEndpoint, TraceSettings};

impl Settings {
    /// Returns the defaults with these flags over them, for example `["--grpc-addr", "127.0.0.1:0"]`.
    ///
    /// It reads neither the environment nor a file, so that a test gets the same settings everywhere.
    ///
    /// # Errors
    /// [`Stop`] names the wrong flag.
    pub fn from_flags<T: Into<OsString>>(flags: impl IntoIterator<Item = T>) -> Result<Self, Stop> {
        let command = SettingsArgs::augment_args(Command::new("identity")).mut_args(|arg| arg.env(None::<&str>));
        let name = OsString::from("identity");
        let args = std::iter::once(name).chain(flags.into_iter().map(Into::into));
        Ok(load(command, args)?.settings)
    }
}

/// A parsed command line.
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// The settings as a TOML file, each with its origin.
    pub(crate) report: String,
    /// For the caller's own arguments.
    pub(crate) matches: ArgMatches,
}

/// Loads the settings for a command that has [`SettingsArgs`] among its arguments.
///
/// # Errors
/// [`Stop`] names what is wrong, or holds the help text to print.
pub(crate) fn load(command: Command, args: impl IntoIterator<Item = OsString>) -> Result<Loaded, Stop> {
    let sources = load::parse(command, args)?;
    let SettingsArgs { database, listen, tls, access, identify, limits, queue, cache, traces, logging, config: _ } =
        SettingsArgs::from_arg_matches(&sources.matches).map_err(unread)?;
    let (database, listen) = (database.resolve(&sources)?, listen.resolve(&sources));
    let settings = Settings { database, listen, tls, access, identify, limits, queue, cache, traces, logging };
    Ok(Loaded { report: report::report(&settings, &sources), settings, matches: sources.matches })
}

/// Returns the error for arguments that parsed but do not fit their struct.
pub(crate) fn unread(error: Error) -> Stop {
    Stop::Usage(error.kind().to_string())
}
