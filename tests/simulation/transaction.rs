//! A transaction of the simulated store: its locks, its reads, and how it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use identity::domain::{ContactId, Identifier, Identity, OwnerRow, Plan, SetKey, StoredEvidence, Timestamp};
use identity::store::{ExpectedSize, FoundIdentities, HistoryRead, RootWindow, StoreError, Transaction};
use tokio::time::sleep;

use crate::connection::SimulatedStore;
use crate::database::{Lock, TransactionId};
use crate::small_reads::small_enough;
use crate::tables::{Change, identities};

/// At READ COMMITTED, or as SQLite's.
pub(crate) struct SimulatedTransaction {
    pub(crate) store: SimulatedStore,
    pub(crate) id: TransactionId,
    /// As of its begin, or of its last locks.
    pub(crate) clock: Timestamp,
    pub(crate) is_over: bool,
}

impl Drop for SimulatedTransaction {
    fn drop(&mut self) {
        if !self.is_over {
            self.store.end_later(self.id);
        }
    }
}

impl SimulatedTransaction {
    pub(crate) async fn statement<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.store.statement(name, Some(self.id), work).await
    }

    pub(crate) async fn take(&self, lock: Lock) -> Result<(), StoreError> {
        self.store.take(self.id, lock).await?;
        let dawdles = self.store.database.lock().dawdles();
        if dawdles {
            self.store.travel().await; // Others come in between two rows of one statement.
        }
        Ok(())
    }

    pub(crate) fn change(&self, change: Change) -> Result<(), StoreError> {
        self.store.database.lock().change(self.id, change)
    }
}

impl Transaction for SimulatedTransaction {
    fn is_exclusive(&self) -> bool {
        self.store.database.lock().conditions().is_exclusive
    }

    fn must_write_what_it_locks(&self) -> bool {
        self.store.database.lock().must_write_what_is_locked()
    }

    async fn lock_contacts(
        &mut self,
        contacts: &BTreeSet<ContactId>,
    ) -> Result<BTreeMap<ContactId, Option<Timestamp>>, StoreError> {
        let locked = async {
            if !self.is_exclusive() {
                for contact in contacts {
                    self.take(Lock::Row(*contact)).await?;
                }
            }
            let mut database = self.store.database.lock();
            Ok((database.written_in(self.id, contacts)?, database.now()))
        };
        let (written, now) = self.statement("lock", locked).await?;
        if !contacts.is_empty() {
            self.clock = now;
        }
        Ok(written)
    }

    async fn find_identities(
        &mut self,
        identifiers: &[Identifier],
        _size: ExpectedSize,
    ) -> Result<FoundIdentities, StoreError> {
        let read_size = self.store.database.lock().conditions().read_size;
        let mut rows = Vec::new();
        for some in identifiers.chunks(read_size) {
            let read = async { self.store.database.lock().read_in(self.id, some) };
            rows.extend(self.statement("find", read).await?);
        }
        let ignored = self.store.database.lock().ignored_of(identifiers);
        Ok(FoundIdentities { identities: identities(rows), ignored })
    }

    async fn check_takes_writes(&mut self) -> Result<(), StoreError> {
        self.statement("takes writes", async { Ok(()) }).await
    }

    async fn stored_evidence(
        &mut self,
        sets: &[SetKey],
        roots: &BTreeSet<ContactId>,
    ) -> Result<StoredEvidence, StoreError> {
        let read = async { self.store.database.lock().evidence_in(self.id, sets, roots) };
        self.statement("evidence", read).await
    }

    async fn lock_identifiers(&mut self, identifiers: &[Identifier]) -> Result<(), StoreError> {
        if !self.must_write_what_it_locks() {
            return Ok(());
        }
        let locked = async {
            for identifier in identifiers {
                self.take(Lock::Key(identifier.clone())).await?;
            }
            Ok(())
        };
        self.statement("lock identifiers", locked).await
    }

    async fn identities_of(&mut self, roots: &[ContactId], size: ExpectedSize) -> Result<Vec<Identity>, StoreError> {
        let replica = self.store.replica;
        let read = async { small_enough(identities(self.store.database.lock().contacts_of(replica, roots)), size) };
        self.statement("contacts", read).await
    }

    async fn owner_rows(&mut self, identifiers: &[Identifier]) -> Result<Vec<OwnerRow>, StoreError> {
        let replica = self.store.replica;
        self.statement("owner rows", async { self.store.database.lock().owner_rows(replica, identifiers) }).await
    }

    async fn history_of(&mut self, contact: ContactId) -> Result<HistoryRead, StoreError> {
        let read = async {
            let mut database = self.store.database.lock();
            let identity = database.history_of(self.store.replica, contact);
            Ok(HistoryRead { now: database.now(), complete_since: None, identity })
        };
        self.statement("history", read).await
    }

    async fn roots_after(&mut self, after: Option<ContactId>, limit: usize) -> Result<RootWindow, StoreError> {
        let replica = self.store.replica;
        if self.must_write_what_it_locks() {
            let committed = self.store.database.lock().committed_roots_after(after, limit);
            self.lock_contacts(&committed).await?;
        }
        let read = async { Ok(self.store.database.lock().roots_after(replica, after, limit)) };
        let roots = self.statement("roots", read).await?;
        if self.must_write_what_it_locks() {
            self.lock_contacts(&roots.roots.iter().copied().collect()).await?;
        }
        Ok(roots)
    }

    async fn release_orphans(&mut self, _identifiers: &[Identifier], _at: Timestamp) -> Result<(), StoreError> {
        // Nobody deletes a contact here, so that there are none.
        self.statement("orphans", async { Ok(()) }).await
    }

    fn now(&self) -> Timestamp {
        self.clock
    }

    async fn apply(&mut self, plan: &Plan) -> Result<Vec<ContactId>, StoreError> {
        let ids = self.statement("insert contacts", self.insert_contacts(plan)).await?;
        self.statement("insert identifiers", self.insert_identifiers(plan, &ids)).await?;
        self.statement("relink", self.relink(plan, &ids)).await?;
        if !plan.new_evidence.is_empty() {
            self.statement("insert evidence", self.insert_evidence(plan, &ids)).await?;
        }
        if plan.has_notes() {
            self.statement("insert notes", async { self.insert_notes(plan, &ids) }).await?;
        }
        self.statement("touch", self.touch(plan)).await?;
        Ok(ids)
    }

    async fn commit(mut self) -> Result<(), StoreError> {
        let (store, id) = (self.store.clone(), self.id);
        if store.database.lock().is_late() {
            // Nobody waits for it any longer, but it is on its way, and may arrive.
            self.is_over = true;
            let delay = store.database.lock().latency() * 8;
            tokio::spawn(async move {
                sleep(delay).await;
                drop(store.commit_now(id).await);
            });
            return Err(StoreError::TimedOut(Duration::ZERO));
        }
        store
            .statement("commit", Some(id), async {
                self.is_over = true;
                store.commit_now(id).await
            })
            .await
    }
}
