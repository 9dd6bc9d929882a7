//! The keys that a running group of jobs keeps other lanes from.

use std::collections::HashSet;

use tokio::sync::mpsc;

use super::job::{BatchId, Job};
use crate::domain::{ContactId, Identifier};

/// Something that two jobs can share.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Identifier(Identifier),
    Root(ContactId),
    /// The order of a batch also holds between customers who are about to become one.
    Batch(BatchId),
}

/// While it exists, no other lane gets a job with one of these keys. Dropping it releases the keys, also when a lane
/// panics.
pub(super) struct KeyReservation {
    keys: Vec<Key>,
    holder: Holder,
    release: mpsc::UnboundedSender<Released>,
}

/// What a reservation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// A running lane.
    Lane,
    /// The running lane with a large identity.
    LargeLane,
    /// Blocked jobs beside the lanes.
    Blocked,
}

/// A reservation that ended.
pub(super) struct Released {
    pub(super) keys: Vec<Key>,
    pub(super) holder: Holder,
}

impl KeyReservation {
    /// Returns a reservation of these keys. Its end is sent to `release`.
    pub(super) fn new(keys: Vec<Key>, holder: Holder, release: mpsc::UnboundedSender<Released>) -> Self {
        Self { keys, holder, release }
    }

    /// Moves the keys of these jobs to a reservation of their own, which does not count as a running lane.
    pub(super) fn split_off(&mut self, jobs: &[Job]) -> Self {
        let moved: HashSet<Key> = jobs.iter().flat_map(keys_of).collect();
        self.keys.retain(|key| !moved.contains(key));
        Self { keys: moved.into_iter().collect(), holder: Holder::Blocked, release: self.release.clone() }
    }

    /// Returns whether it is that of a group about a large identity.
    pub(super) fn is_large(&self) -> bool {
        self.holder == Holder::LargeLane
    }
}

impl Drop for KeyReservation {
    fn drop(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        let _ = self.release.send(Released { keys, holder: self.holder }); // Without a queue, no job waits.
    }
}

/// Returns the keys of a job: its identifiers but for those that are ignored, which concern nobody, the roots of its
/// owners, and its batch.
pub(super) fn keys_of(job: &Job) -> impl Iterator<Item = Key> {
    let joining = job.identifiers().iter().filter(|identifier| !job.ignored.contains(identifier));
    let identifiers = joining.cloned().map(Key::Identifier);
    identifiers.chain(job.owners.iter().map(|owner| Key::Root(owner.root()))).chain(job.batch.map(Key::Batch))
}
