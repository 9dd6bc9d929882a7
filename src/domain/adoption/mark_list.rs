use std::collections::HashSet;

use super::fingerprint::Evidence;

/// The marks of identifiers that no list of ignored ones has.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) marked: Vec<Evidence>,
    /// The identifiers whose marks are not believed.
    pub(super) rejected: HashSet<[u8; 12]>,
}

impl Marks {
    pub(super) fn add(&mut self, marked: Evidence) {
        self.marked.push(marked);
    }
}
