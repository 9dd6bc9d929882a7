use std::path::PathBuf;

use super::access::AccessSettings;
use super::cache::CacheSettings;
use super::database::{DatabaseArgs, DatabaseSettings};
use super::identifiers::IdentifierSettings;
use super::limits::LimitSettings;
use super::listen::{ListenArgs, ListenSettings};
use super::logging::LogSettings;
use super::queue::QueueSettings;
use super::tls::TlsSettings;
use super::traces::TraceSettings;

/// All settings of this process, one field for each section. `{:?}` prints no secret.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The database and its time-outs.
    pub database: DatabaseSettings,
    /// The addresses to listen at.
    pub listen: ListenSettings,
    /// The certificates of the two APIs.
    pub tls: TlsSettings,
    /// Who may call.
    pub access: AccessSettings,
    /// The meaning of identifiers and the spelling of answers.
    pub identify: IdentifierSettings,
    /// Limits on callers.
    pub limits: LimitSettings,
    /// The queue of requests, the size of transactions and of identities.
    pub queue: QueueSettings,
    /// The cache of identities.
    pub cache: CacheSettings,
    /// The traces.
    pub traces: TraceSettings,
    /// The log.
    pub logging: LogSettings,
}

/// All settings as `clap` arguments, for a command to flatten.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Settings file")]
pub(crate) struct SettingsArgs {
    /// A TOML file of settings. Its keys are the flags' names with underscores: grpc_addr = "0.0.0.0:50051"
    #[arg(long, env = "IDENTITY_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) database: DatabaseArgs,
    #[command(flatten)]
    pub(super) listen: ListenArgs,
    #[command(flatten)]
    pub(super) tls: TlsSettings,
    #[command(flatten)]
    pub(super) access: AccessSettings,
    #[command(flatten)]
    pub(super) identify: IdentifierSettings,
    #[command(flatten)]
    pub(super) limits: LimitSettings,
    #[command(flatten)]
    pub(super) queue: QueueSettings,
    #[command(flatten)]
    pub(super) cache: CacheSettings,
    #[command(flatten)]
    pub(super) traces: TraceSettings,
    #[command(flatten)]
    pub(super) logging: LogSettings,
}
