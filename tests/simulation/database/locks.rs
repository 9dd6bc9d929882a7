//! Who has what to himself, and who waits.

use std::collections::BTreeSet;

use identity::domain::{ContactId, Identifier, SetKey};
use identity::store::{Cause, StoreError};

use super::{State, TransactionId};
use crate::conditions::Bug;

/// What one transaction at a time can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lock {
    /// The right to write at all.
    Writer,
    Row(ContactId),
    /// The right to insert that identifier: the second one waits until the first has ended.
    Key(Identifier),
    /// The right to insert that set of identifiers.
    Set(SetKey),
}

/// What became of an attempt to take a lock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Taking {
    Taken,
    /// Another has it.
    Wait,
    /// Another has it, and waits for this one: one of them has to go, and learns it at its next look.
    Deadlock,
}

impl State {
    /// Takes a lock that is free or its own. Of a circle of waiting transactions one becomes the victim.
    pub(crate) fn take(&mut self, transaction: TransactionId, lock: &Lock) -> Result<Taking, StoreError> {
        if self.of(transaction)?.is_doomed {
            self.end(transaction);
            return Err(StoreError::LostRace(Cause::new("deadlock")));
        }
        self.stop_waiting(transaction);
        let is_ignored = match lock {
            Lock::Writer | Lock::Row(_) => self.bug == Some(Bug::IgnoresLocks),
            Lock::Key(_) => self.bug == Some(Bug::IgnoresKeys),
            Lock::Set(_) => self.bug == Some(Bug::EvidenceTwice),
        };
        match self.late_here(transaction, lock)? {
            Some(true) if !is_ignored => {
                self.of(transaction)?.waits_for = Some(lock.clone());
                return Ok(Taking::Wait);
            }
            Some(false) => {
                self.end(transaction);
                return Err(StoreError::LostRace(Cause::new("another server has changed the same")));
            }
            _ => {}
        }
        if is_ignored || *self.holders.entry(lock.clone()).or_insert(transaction) == transaction {
            return Ok(Taking::Taken);
        }
        self.of(transaction)?.waits_for = Some(lock.clone());
        let circle = self.circle(transaction);
        match self.random.choice(circle).filter(|_| self.conditions.detects_deadlocks) {
            Some(victim) => {
                self.of(victim)?.is_doomed = true;
                Ok(Taking::Deadlock)
            }
            None => Ok(Taking::Wait),
        }
    }

    /// Of a commit that is not shown yet at the server of this transaction, and has that lock: whether it was made
    /// there. One that was made at another server takes precedence of this transaction.
    fn late_here(&mut self, transaction: TransactionId, lock: &Lock) -> Result<Option<bool>, StoreError> {
        let replica = self.of(transaction)?.replica;
        let late = self.behind.get(&replica).into_iter().flat_map(|behind| &behind.to_be_shown);
        Ok(late.filter(|late| late.locks.contains(lock)).map(|late| late.is_own).next_back())
    }

    /// Which of these rows are locked.
    pub(crate) fn locked_of(&self, replica: usize, contacts: &BTreeSet<ContactId>) -> BTreeSet<ContactId> {
        let late = self.behind.get(&replica).into_iter().flat_map(|behind| &behind.to_be_shown);
        let locks: BTreeSet<&Lock> = late.flat_map(|late| &late.locks).chain(self.holders.keys()).collect();
        contacts.iter().filter(|id| locks.contains(&Lock::Row(**id))).copied().collect()
    }

    pub(crate) fn stop_waiting(&mut self, transaction: TransactionId) {
        if let Some(open) = self.open.get_mut(&transaction) {
            open.waits_for = None;
        }
    }

    /// Those who wait for each other, beginning with this one; none if it does not wait for itself, or one of them
    /// has to go already.
    fn circle(&self, first: TransactionId) -> Vec<TransactionId> {
        let mut circle = vec![first];
        loop {
            let last = circle.last().and_then(|last| self.open.get(last)).filter(|open| !open.is_doomed);
            let next = last.and_then(|open| open.waits_for.as_ref()).and_then(|lock| self.holders.get(lock));
            match next {
                Some(next) if *next == first => return circle,
                Some(next) if !circle.contains(next) => circle.push(*next),
                _ => return Vec::new(),
            }
        }
    }
}
