//! `identity migrate up|down|status|finish`: changes or shows the version of the schema.

use std::io::Write;

use clap::{Args, Subcommand};

use crate::settings::{DatabaseSettings, value};
use crate::store::{Database, StoreError};

/// The subcommands of `identity migrate`.
#[derive(Clone, Debug, Subcommand)]
pub enum MigrateCommand {
    /// Apply every missing migration
    Up,
    /// Undo the latest migrations; this deletes their tables, and needs --yes if there are rows in them
    Down(DownArgs),
    /// List the migrations and whether each is applied
    Status,
    /// Say that no process of an older version runs any more: from then on all evidence is stored
    Finish,
}

/// The arguments of `identity migrate down`.
#[derive(Clone, Debug, Args)]
pub struct DownArgs {
    /// How many migrations to undo
    #[arg(value_name = "STEPS", default_value = "1", value_parser = value::integer::<u32, 1, 10_000>())]
    steps: u32,
    /// Undo all migrations
    #[arg(long, conflicts_with = "steps")]
    all: bool,
    /// Delete tables that have rows too
    #[arg(long)]
    yes: bool,
}

impl DownArgs {
    /// Returns how many migrations to undo. `None` means all.
    fn limit(&self) -> Option<u32> {
        (!self.all).then_some(self.steps)
    }
}

/// Runs the command, then prints one line for each migration.
///
/// # Errors
/// One line for the operator.
pub async fn migrate(database: &DatabaseSettings, command: MigrateCommand) -> anyhow::Result<()> {
    let database = match command {
        MigrateCommand::Up => Database::wait_and_connect(database).await?,
        MigrateCommand::Down(_) | MigrateCommand::Status | MigrateCommand::Finish => {
            Database::wait_and_connect_existing(database).await?
        }
    };
    let is_read_only = matches!(command, MigrateCommand::Status);
    match command {
        MigrateCommand::Up => {
            database.migrate_up().await?;
            database.copy_evidence_of_merges().await.map_err(copy_error)?;
        }
        MigrateCommand::Finish => {
            database.check_tables().await?;
            let applied = database.is_migrated().await?;
            anyhow::ensure!(applied, "the database lacks migrations: run `identity migrate up` first");
            let since = database.finish_evidence().await.map_err(copy_error)?;
            let since = chrono::DateTime::from_timestamp_micros(since.0).unwrap_or_default();
            writeln!(std::io::stdout(), "the evidence is complete since {}", since.format("%Y-%m-%dT%H:%M:%S%.6fZ"))?;
        }
        MigrateCommand::Down(down) if down.yes => database.migrate_down(down.limit()).await?,
        MigrateCommand::Down(down) => database.migrate_down_without_loss(down.limit()).await?,
        MigrateCommand::Status => {}
    }
    let mut out = std::io::stdout();
    for migration in database.migration_status().await? {
        let state = if migration.applied { "applied" } else { "pending" };
        writeln!(out, "{state}  {}", migration.name)?;
    }
    // Reading leaves the files of SQLite as they are: a service may use them.
    if !is_read_only {
        database.close().await;
    }
    Ok(())
}

fn copy_error(error: StoreError) -> anyhow::Error {
    anyhow::anyhow!("cannot copy the evidence of merges: {error}; what was copied stays, so run it again")
}
