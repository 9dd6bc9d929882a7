//! Placeholder: serving and migrating are wired in elsewhere.

use crate::cli::MigrateCommand;
use crate::settings::Settings;

/// Serves.
///
/// # Errors
/// Always: not wired.
pub async fn serve(_settings: Settings) -> anyhow::Result<()> {
    Err(anyhow::anyhow!("serving is not wired"))
}

/// Migrates.
///
/// # Errors
/// Always: not wired.
pub async fn migrate(_settings: Settings, _command: MigrateCommand) -> anyhow::Result<()> {
    Err(anyhow::anyhow!("migrating is not wired"))
}
