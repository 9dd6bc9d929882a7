//! `identity verify`: checks every invariant of the tables, and repairs what it can if asked to.

use anyhow::ensure;
use clap::Args;

use crate::settings;
use crate::store::Database;
use crate::verify::{self, Format};

/// How to verify.
#[derive(Clone, Copy, Debug, Args)]
pub struct VerifyArgs {
    /// Repair what can be repaired without guessing, in transactions; safe beside live traffic
    #[arg(long)]
    pub repair: bool,

    /// How findings are printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Reads all tables and prints what is wrong. Returns whether nothing is wrong (any more).
///
/// # Errors
/// One line for the operator.
pub async fn verify(database: &settings::DatabaseSettings, args: VerifyArgs) -> anyhow::Result<bool> {
    let database = Database::wait_and_connect(database).await?;
    ensure!(database.is_migrated().await?, "the database lacks migrations: run `identity migrate up`");
    verify::verify(database, args.repair, args.format).await
}
