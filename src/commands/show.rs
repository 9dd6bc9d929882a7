//! `identity show`: one identity, now or at an earlier moment. See [`crate::inspect`].

use super::inspect_args::{InspectArgs, find_inspected, print};
use crate::inspect;
use crate::settings::Settings;

/// Runs the command.
///
/// # Errors
/// One line for the operator.
pub async fn show(settings: &Settings, args: InspectArgs) -> anyhow::Result<()> {
    let identity = find_inspected(settings, &args).await?;
    print(|out| inspect::show(out, &identity, args.format))
}
