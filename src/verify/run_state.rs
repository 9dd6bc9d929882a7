//! What a run knows beside the tables.

use std::collections::{BTreeSet, HashSet};

use super::connected::Rules;
use super::handled::Handled;
use super::preview::Preview;
use crate::domain::{ContactId, Identifier, Region};

/// What a run knows beside the tables, for every repair and every plan.
#[derive(Debug, Default)]
pub(super) struct RunState {
    /// The phone region in force: it decides which phone numbers are canonical.
    pub(super) region: Option<Region>,
    /// Which identities are repaired or planned already.
    pub(super) handled: Handled,
    /// What a plan of all repairs remembers.
    pub(super) preview: Preview,
    /// The damaged holders of ignored identifiers. They are checked before all contacts.
    pub(super) holders: HashSet<ContactId>,
    /// What these should hold.
    pub(super) ignored: BTreeSet<Identifier>,
}

impl RunState {
    /// What decides which contacts belong together.
    pub(super) fn rules(&self) -> Rules<'_> {
        Rules { region: self.region, ignored: &self.ignored }
    }
}
