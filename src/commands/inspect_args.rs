//! What `identity show` and `identity explain` have in common.

use std::io::{self, BufWriter, StdoutLock, Write};

use anyhow::{Context, ensure};
use clap::Args;

use super::who::parse_who;
use crate::domain::Timestamp;
use crate::inspect::{self, Format, Inspected, Lookup, parse_moment};
use crate::settings::{InvalidSetting, Settings};
use crate::store::Database;

/// Whose identity, and how it is printed.
#[derive(Clone, Debug, Args)]
pub struct InspectArgs {
    /// The customer: an id (3, identities/3), an e-mail address or a phone number. Digits alone are an id: write
    /// phone:123456 for a phone number
    #[arg(value_name = "WHO")]
    pub who: String,

    /// Show the identity as it was at this moment, such as 2026-11-27T11:20:41Z
    #[arg(long, value_name = "MOMENT", value_parser = parse_moment)]
    pub read_time: Option<Timestamp>,

    /// Print the identifiers as they are: they are personal data
    #[arg(long)]
    pub show_values: bool,

    /// How it is printed
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Reads the identity.
///
/// # Errors
/// One line for the operator.
pub(super) async fn find_inspected(settings: &Settings, args: &InspectArgs) -> anyhow::Result<Inspected> {
    if settings.database.is_in_memory() {
        Err(InvalidSetting::new("DATABASE_URL", "must not be in memory: that has no contacts"))?;
    }
    let who = parse_who(&args.who, settings.identify.phone_region);
    let who = who.map_err(|reason| InvalidSetting::new("WHO", reason))?;
    let database = Database::wait_and_connect_existing(&settings.database).await?;
    ensure!(database.is_migrated().await?, "the database lacks migrations: run `identity migrate up`");
    database.check_tables().await?;
    let lookup = Lookup { who, at: args.read_time, shows_values: args.show_values };
    let found = inspect::find_identity(&database, lookup).await;
    database.close_after_reading().await;
    Ok(found?)
}

/// Prints to stdout. A reader that has enough, as `head`, is no failure.
///
/// # Errors
/// Stdout cannot be written.
pub(super) fn print(write: impl FnOnce(&mut BufWriter<StdoutLock<'_>>) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("the output cannot be written"),
        _ => Ok(()),
    }
}
