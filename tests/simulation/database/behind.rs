//! A server of several that take writes, while others show commits that it does not.

use std::collections::BTreeSet;

use super::{Lock, TransactionId};
use crate::tables::{Change, Tables};

/// The tables at a server that has not shown all commits yet, and those commits, in order.
pub(super) struct Behind {
    pub(super) tables: Tables,
    pub(super) to_be_shown: Vec<Late>,
}

/// A commit that one server does not show yet.
pub(super) struct Late {
    pub(super) transaction: TransactionId,
    /// Whether it was made there. Then it has its locks there still; if not, it has to wait for one that has.
    pub(super) is_own: bool,
    pub(super) changes: Vec<Change>,
    pub(super) locks: BTreeSet<Lock>,
}

impl Behind {
    /// Whether something that is to be shown needs one of these too.
    pub(super) fn needs_any(&self, locks: &BTreeSet<Lock>) -> bool {
        self.to_be_shown.iter().any(|late| !late.locks.is_disjoint(locks))
    }

    /// Shows that one, and what had to wait for it.
    pub(super) fn show(&mut self, transaction: TransactionId) {
        let mut waiting: Vec<Late> = Vec::new();
        for late in std::mem::take(&mut self.to_be_shown) {
            let has_to_wait = if late.is_own {
                late.transaction != transaction
            } else {
                waiting.iter().any(|ahead| !ahead.locks.is_disjoint(&late.locks))
            };
            if has_to_wait {
                waiting.push(late);
            } else {
                self.tables.carry_out(&late.changes);
            }
        }
        self.to_be_shown = waiting;
    }
}

/// The rows and keys that these change.
pub(super) fn locks_of(changes: &[Change]) -> BTreeSet<Lock> {
    let lock = |change: &Change| match change {
        Change::Insert(contact) => Some(Lock::Row(contact.id)),
        Change::Own(identifier, _) => Some(Lock::Key(identifier.clone())),
        Change::Link(id, ..) | Change::Touch(id, _) => Some(Lock::Row(*id)),
        Change::Evidence(row) => Some(Lock::Set(row.key)),
        Change::NoEvidence(set) => Some(Lock::Set(*set)),
        Change::Merge(_) => None,
    };
    changes.iter().filter_map(lock).collect()
}
