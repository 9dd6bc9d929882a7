//! The simulated store: the reads outside a transaction, and the begin of one.

use std::collections::BTreeSet;

use identity::domain::graph::{SetName, SetNotes};
use identity::domain::{ContactId, Identifier, Identity, OwnerRow, RootRow, SetKey, StoredSets, Timestamp};
use identity::store::{
    Epoch, ExpectedSize, FoundIdentities, HistoryRead, IfNothing, LookupResult, MAX_LOOKUP, RootWindow, Store,
    StoreError, Transaction,
};

use crate::connection::SimulatedStore;
use crate::database::{Lock, PING};
use crate::small_reads::small_enough;
use crate::tables::identities;
use crate::transaction::SimulatedTransaction;

impl Store for SimulatedStore {
    type Transaction = SimulatedTransaction;

    async fn find_identities(
        &self,
        identifiers: &[Identifier],
        size: ExpectedSize,
        _if_nothing: IfNothing,
    ) -> Result<LookupResult, StoreError> {
        assert!(identifiers.len() <= MAX_LOOKUP, "more than one statement is no consistent read");
        let read = async {
            self.catch_up().await;
            let mut database = self.database.lock();
            let identities = database.read(self.replica, identifiers).map(identities)?;
            let ignored = database.ignored_of(identifiers);
            let found = FoundIdentities { identities: small_enough(identities, size)?, ignored };
            Ok(LookupResult { found, is_latest: database.reads_the_latest() })
        };
        let name = if size == ExpectedSize::Large { "large read" } else { "read" };
        self.statement(name, None, read).await
    }

    fn epoch(&self) -> Option<Epoch> {
        self.database.lock().epoch()
    }

    async fn root_rows(&self, roots: &[ContactId]) -> Result<Vec<RootRow>, StoreError> {
        assert!(roots.len() <= MAX_LOOKUP, "more than one statement is no consistent read");
        let read = async {
            self.catch_up().await;
            Ok(self.database.lock().root_rows(self.replica, roots))
        };
        self.statement("root rows", None, read).await
    }

    async fn owner_rows(&self, identifiers: &[Identifier]) -> Result<Vec<OwnerRow>, StoreError> {
        assert!(identifiers.len() <= MAX_LOOKUP, "more than one statement is no consistent read");
        let read = async {
            self.catch_up().await;
            self.database.lock().owner_rows(self.replica, identifiers)
        };
        self.statement("owner rows", None, read).await
    }

    async fn identities_of(&self, roots: &[ContactId], size: ExpectedSize) -> Result<Vec<Identity>, StoreError> {
        assert!(roots.len() <= MAX_LOOKUP, "more than one statement is no consistent read");
        let read = async {
            self.catch_up().await;
            small_enough(identities(self.database.lock().contacts_of(self.replica, roots)), size)
        };
        self.statement("contacts", None, read).await
    }

    async fn history_of(&self, contact: ContactId) -> Result<HistoryRead, StoreError> {
        let read = async {
            self.catch_up().await;
            let mut database = self.database.lock();
            let identity = database.history_of(self.replica, contact);
            Ok(HistoryRead { now: database.now(), complete_since: None, identity })
        };
        self.statement("history", None, read).await
    }

    async fn stored_sets(&self, sets: &[SetKey]) -> Result<StoredSets, StoreError> {
        assert!(sets.len() <= MAX_LOOKUP, "more than one statement is no consistent read");
        let read = async {
            self.catch_up().await;
            Ok(self.database.lock().stored_sets(self.replica, sets))
        };
        self.statement("sets", None, read).await
    }

    async fn notes_of(&self, sets: &[SetName]) -> Result<SetNotes, StoreError> {
        let read = async {
            self.catch_up().await;
            Ok(self.database.lock().notes_of(self.replica, sets))
        };
        self.statement("notes", None, read).await
    }

    async fn roots_after(&self, after: Option<ContactId>, limit: usize) -> Result<RootWindow, StoreError> {
        let read = async {
            self.catch_up().await;
            Ok(self.database.lock().roots_after(self.replica, after, limit))
        };
        self.statement("roots", None, read).await
    }

    async fn begin(&self) -> Result<SimulatedTransaction, StoreError> {
        let begun = async {
            self.catch_up().await;
            let id = self.database.lock().begin(self.replica);
            let mut transaction = SimulatedTransaction { store: self.clone(), id, clock: Timestamp(0), is_over: false };
            if transaction.is_exclusive() {
                self.take(id, Lock::Writer).await?;
            }
            transaction.clock = self.database.lock().now();
            Ok(transaction)
        };
        self.statement("begin", None, begun).await
    }

    async fn locked_by_others(&self, contacts: &BTreeSet<ContactId>) -> Result<BTreeSet<ContactId>, StoreError> {
        let look = async { Ok(self.database.lock().locked_of(self.replica, contacts)) };
        self.statement("locked", None, look).await
    }

    fn writers(&self) -> usize {
        self.database.lock().conditions().writers
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.statement(PING, None, async { Ok(()) }).await
    }
}
