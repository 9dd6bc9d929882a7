//! What a run knows beside the tables.

use super::handled::Handled;
use super::preview::Preview;
use crate::domain::Region;

/// What a run knows beside the tables, for every repair and every plan.
#[derive(Debug, Default)]
pub(super) struct RunState {
    /// The phone region in force: it decides which phone numbers are canonical.
    pub(super) region: Option<Region>,
    /// Which identities are repaired or planned already.
    pub(super) handled: Handled,
    /// What a plan of all repairs remembers.
    pub(super) preview: Preview,
}
