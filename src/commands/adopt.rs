//! `identity adopt`: takes over the table in which another system keeps its contacts. See [`crate::adopt`].

use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::adoption_run::{AdoptionFlags, run_adoption};
use crate::adopt::{ReportFormat, SourceOptions, without_secrets};
use crate::settings::{InvalidSetting, OldDatabaseUrl, Settings, value};
use crate::store::old_table::OldTableOptions;

/// The arguments of `identity adopt`.
#[derive(Clone, Debug, Args)]
pub struct AdoptArgs {
    /// The database of the old table, as a URL like DATABASE_URL. A user with SELECT is enough: nothing is written
    /// there. Process lists show flags: prefer the environment or --from-file
    #[arg(long, env = "ADOPT_FROM", value_name = "URL", hide_env_values = true)]
    #[arg(value_parser = value::Parser::new(old_url), required_unless_present_any = ["from_file", "undo"])]
    from: Option<SecretString>,

    /// A file that has this URL, in place of --from
    #[arg(long, env = "ADOPT_FROM_FILE", value_name = "FILE", conflicts_with = "from")]
    from_file: Option<PathBuf>,

    /// Name of the old table, with its schema or without
    #[arg(long, value_name = "NAME")]
    table: Option<String>,

    #[command(flatten)]
    flags: AdoptionFlags,

    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

fn old_url(text: &str) -> Result<SecretString, String> {
    OldDatabaseUrl::parse(text)?;
    Ok(SecretString::from(text))
}

/// Runs the command. Returns whether nothing is left to do or to decide.
///
/// # Errors
/// One line for the operator.
pub async fn adopt(settings: &Settings, args: AdoptArgs) -> anyhow::Result<bool> {
    let AdoptArgs { flags, format, .. } = args.clone();
    let source = |flags: &AdoptionFlags| {
        let from = args.url()?;
        let name = without_secrets(from.expose_secret());
        let (map, time_zone) = (flags.map.clone(), flags.time_zone.clone());
        let options = OldTableOptions { table: args.table.clone(), map, time_zone };
        Ok((SourceOptions::Table(from, options), name))
    };
    run_adoption(settings, flags, source, format).await
}

impl AdoptArgs {
    fn url(&self) -> Result<SecretString, InvalidSetting> {
        if let Some(from) = &self.from {
            return Ok(from.clone());
        }
        let path = self.from_file.as_deref().unwrap_or(Path::new(""));
        let invalid = |reason: String| InvalidSetting::new("--from-file", reason);
        // Without the path: somebody may have put the URL itself there.
        let text = std::fs::read_to_string(path)
            .map_err(|error| invalid(format!("must be a file that can be read: {error}")))?;
        old_url(text.trim_end_matches(['\r', '\n'])).map_err(|reason| invalid(format!("its content {reason}")))
    }
}
