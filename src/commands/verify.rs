//! `identity verify`: checks every invariant of the tables. With `--repair`, repairs what it can. See
//! [`crate::verify`].

use anyhow::ensure;
use clap::Args;

use crate::settings::DatabaseSettings;
use crate::store::Database;
use crate::verify::{self, FindingFormat};

/// The arguments of `identity verify`.
#[derive(Clone, Copy, Debug, Args)]
pub struct VerifyArgs {
    /// Repair everything that has only one correct repair. Safe beside live traffic
    #[arg(long)]
    pub repair: bool,

    /// How findings are printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: FindingFormat,
}

/// Checks all tables and prints the findings. Returns whether nothing is wrong, or everything was repaired.
///
/// # Errors
/// One line for the operator.
pub async fn verify(database: &DatabaseSettings, args: VerifyArgs) -> anyhow::Result<bool> {
    let database = Database::wait_and_connect(database).await?;
    ensure!(database.is_migrated().await?, "the database lacks migrations: run `identity migrate up`");
    verify::verify(database, args.repair, args.format).await
}
