//! What waits until an adoption is done.

use anyhow::{Context, bail};

use crate::store::{AdoptionPhase, Database};

/// What is said while the table of another system is being taken over.
pub(super) const UNFINISHED_ADOPTION: &str = "the contacts of another system are not all here: stop its writers and \
    run `identity adopt --apply` (or `identity import --apply`) again, or empty the tables by `identity adopt --undo`";

/// Fails while the table of another system is being taken over. The service would not know customers that are still to
/// come, and an adoption ends with an error after somebody else has written.
pub(super) async fn check_adoption(database: &Database) -> anyhow::Result<()> {
    let state = database.adoption().await.context("cannot see whether an adoption is under way")?;
    if state.is_none_or(|state| state.phase == AdoptionPhase::Done) {
        return Ok(());
    }
    bail!("{UNFINISHED_ADOPTION}")
}
