use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::job::{Job, sorted_identifiers};
use crate::domain::Identifier;

/// The new identifiers of the latest transactions of all lanes.
///
/// A job that waited during such a transaction was read before it. Without this list, the job would insert an
/// identifier that has an owner by now and get a duplicate key.
#[derive(Clone, Default)]
pub(super) struct RecentIdentifiers(Arc<Mutex<VecDeque<HashSet<Identifier>>>>);

impl RecentIdentifiers {
    /// How many transactions it remembers. A job waits for fewer, unless the service is overloaded.
    const TRANSACTIONS: usize = 8;

    /// Adds the new identifiers of a transaction.
    pub(super) fn push(&self, identifiers: HashSet<Identifier>) {
        let mut transactions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        transactions.truncate(Self::TRANSACTIONS - 1);
        transactions.push_front(identifiers);
    }

    /// Returns the identifiers of the jobs that have an owner, by the read or by a recent transaction.
    pub(super) fn owned_identifiers(&self, jobs: &[Job]) -> Vec<Identifier> {
        let transactions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sorted_identifiers(jobs, |job, identifier| {
            job.owned.contains(identifier) || transactions.iter().any(|transaction| transaction.contains(identifier))
        })
    }
}
