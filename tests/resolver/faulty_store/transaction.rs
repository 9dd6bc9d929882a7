//! A transaction of the faulty store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use identity::domain::{ContactId, Identifier, Identity, OwnerRow, Plan, SetKey, StoredEvidence, Timestamp};
use identity::store::{ExpectedSize, FoundIdentities, HistoryRead, RootWindow, Store, StoreError, Transaction};

use super::identities::{DELETED, ignored};
use super::{FaultyStore, Step};

pub(crate) struct FaultyTransaction(pub(crate) FaultyStore);

impl Transaction for FaultyTransaction {
    fn is_exclusive(&self) -> bool {
        false
    }

    fn must_write_what_it_locks(&self) -> bool {
        false
    }

    /// Returns the `updatedAt` of [`FaultyStore::known`], or a later one in a restless store; `None` for deleted
    /// contacts.
    async fn lock_contacts(
        &mut self,
        contacts: &BTreeSet<ContactId>,
    ) -> Result<BTreeMap<ContactId, Option<Timestamp>>, StoreError> {
        let written = |id: &ContactId| match self.0.is_restless {
            true => Some(Timestamp(i64::MAX)),
            false => (id.0 < DELETED).then_some(Timestamp(id.0)),
        };
        self.0.turns[1].store(self.0.turns[0].load(Ordering::Relaxed), Ordering::Relaxed);
        Ok(contacts.iter().map(|id| (*id, written(id))).collect())
    }

    async fn find_identities(
        &mut self,
        identifiers: &[Identifier],
        size: ExpectedSize,
    ) -> Result<FoundIdentities, StoreError> {
        self.0.sizes.lock().unwrap().push((Step::Find, size));
        self.0.step(Step::Find, identifiers).await?;
        let offset = if self.0.is_restless { i64::try_from(self.0.count(Step::Find)).unwrap() } else { 0 };
        let ignored = ignored(identifiers, self.0.ignores.1);
        Ok(FoundIdentities { identities: self.0.known(identifiers, offset), ignored })
    }

    async fn check_takes_writes(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn stored_evidence(
        &mut self,
        _sets: &[SetKey],
        _roots: &BTreeSet<ContactId>,
    ) -> Result<StoredEvidence, StoreError> {
        Ok(StoredEvidence::default())
    }

    async fn lock_identifiers(&mut self, _identifiers: &[Identifier]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn identities_of(&mut self, roots: &[ContactId], size: ExpectedSize) -> Result<Vec<Identity>, StoreError> {
        self.0.identities_of(roots, size).await
    }

    async fn roots_after(&mut self, after: Option<ContactId>, limit: usize) -> Result<RootWindow, StoreError> {
        self.0.roots_after(after, limit).await
    }

    async fn owner_rows(&mut self, identifiers: &[Identifier]) -> Result<Vec<OwnerRow>, StoreError> {
        self.0.owner_rows(identifiers).await
    }

    async fn history_of(&mut self, contact: ContactId) -> Result<HistoryRead, StoreError> {
        self.0.history_of(contact).await
    }

    async fn release_orphans(&mut self, _identifiers: &[Identifier], _at: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    fn now(&self) -> Timestamp {
        Timestamp(1_000_000)
    }

    async fn apply(&mut self, plan: &Plan) -> Result<Vec<ContactId>, StoreError> {
        let [turns, at_locks] = &*self.0.turns;
        at_locks.store(turns.load(Ordering::Relaxed) - at_locks.load(Ordering::Relaxed), Ordering::Relaxed);
        let brought: Vec<Identifier> = plan.new_identifiers.iter().map(|(identifier, _)| identifier.clone()).collect();
        self.0.step(Step::Apply, &brought).await?;
        let ids = plan.new_contacts.iter().map(|_| ContactId(self.0.last_id.fetch_add(1, Ordering::Relaxed)));
        Ok(ids.collect())
    }

    async fn commit(self) -> Result<(), StoreError> {
        Ok(())
    }
}
