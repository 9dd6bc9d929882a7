use std::path::PathBuf;

use super::value;

/// Who may call.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Callers")]
pub struct AccessSettings {
    /// The callers: their tokens (as hashes), scopes and rates, a TOML file that `identity token new` makes; without
    /// it, callers need no token. The file is loaded again when it changes
    #[arg(long, env, value_name = "FILE")]
    pub tokens_file: Option<PathBuf>,

    /// Whether the service may listen at addresses other than loopback although it asks callers for nothing
    #[arg(long, env, value_name = "BOOL", default_value = "false", value_parser = value::boolean())]
    #[arg(action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub insecure: bool,
}
