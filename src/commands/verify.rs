//! `identity verify`: checks every invariant of the tables. With `--repair`, repairs what it can. See
//! [`crate::verify`].

use anyhow::ensure;
use clap::Args;

use super::unfinished::check_adoption;
use crate::settings::Settings;
use crate::store::Database;
use crate::verify::{self, FindingFormat, VerifyMode};

/// The arguments of `identity verify`.
#[derive(Clone, Copy, Debug, Args)]
pub struct VerifyArgs {
    /// Repair everything that has only one correct repair. Safe beside live traffic
    #[arg(long)]
    pub repair: bool,

    /// Print what --repair would do, joins of identities first; change nothing
    #[arg(long, conflicts_with = "repair")]
    pub plan: bool,

    /// How findings are printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: FindingFormat,
}

impl VerifyArgs {
    fn mode(self) -> VerifyMode {
        match (self.repair, self.plan) {
            (true, _) => VerifyMode::Repair,
            (false, true) => VerifyMode::Plan,
            (false, false) => VerifyMode::Report,
        }
    }
}

/// Checks all tables and prints the findings. Returns whether nothing is wrong, or everything was repaired.
///
/// # Errors
/// One line for the operator.
pub async fn verify(settings: &Settings, args: VerifyArgs) -> anyhow::Result<bool> {
    let database = Database::wait_and_connect_existing(&settings.database).await?;
    ensure!(database.is_migrated().await?, "the database lacks migrations: run `identity migrate up`");
    database.check_tables().await?;
    let mode = args.mode();
    if mode == VerifyMode::Repair {
        check_adoption(&database).await?;
        if settings.database.connections > 1 {
            database.open_second_connection().await?;
        }
    }
    let is_well = verify::verify(database.clone(), settings.identify.phone_region, mode, args.format).await?;
    // Reading leaves the files of SQLite as they are: a service may use them.
    if mode == VerifyMode::Repair {
        database.close().await;
    }
    Ok(is_well)
}
