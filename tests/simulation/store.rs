use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use identity::domain::graph::{SetName, SetNotes};
use identity::domain::{
    Contact, ContactId, ContactRef, Identifier, Identity, Link, OwnerRow, Plan, RootRow, SetKey, StoredEvidence,
    StoredSets, Timestamp,
};
use identity::store::{
    Cause, Epoch, ExpectedSize, FoundIdentities, HistoryRead, LookupResult, MAX_LOOKUP, RootWindow, Store, StoreError,
    Transaction,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::conditions::Poison;
use crate::database::{Database, Lock, PING, Taking, TransactionId};
use crate::tables::{Change, EvidenceRow, MergeRow, identities};

/// A replica's way to the database: all that can happen on it is drawn from the seed.
#[derive(Clone)]
pub(crate) struct SimulatedStore {
    database: Database,
    /// Wakes those who wait for a lock.
    freed: Arc<Notify>,
    replica: usize,
}

impl SimulatedStore {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, freed: Arc::default(), replica: 0 }
    }

    /// The way of another replica to the same database.
    pub(crate) fn of_replica(&self, replica: usize) -> Self {
        Self { replica, ..self.clone() }
    }

    /// The process ends: it does and hears nothing any more, and its transactions are rolled back, sooner or later.
    pub(crate) fn crash(&self) {
        let left = self.database.lock().crash(self.replica);
        left.into_iter().for_each(|transaction| self.end_later(transaction));
    }

    /// All transactions are rolled back, and nothing answers for so long.
    pub(crate) fn fail_for(&self, outage: Duration) {
        self.database.lock().fail_until(Instant::now() + outage);
        self.freed.notify_waiters();
    }

    /// Ignores an identifier, while nothing is under way.
    pub(crate) fn ignore(&self, identifier: &Identifier) {
        self.database.lock().ignore(identifier);
    }

    /// Lets it count again, while nothing is under way.
    pub(crate) fn stop_ignoring(&self, identifier: &Identifier) {
        self.database.lock().stop_ignoring(identifier);
    }

    /// On the way, for as long as it takes. A crashed replica never arrives.
    async fn travel(&self) {
        let latency = self.database.lock().latency();
        match latency.is_zero() {
            true => tokio::task::yield_now().await,
            false => sleep(latency).await,
        }
        if self.database.lock().has_crashed(self.replica) {
            std::future::pending().await
        }
    }

    /// A statement: there, the work, and back. Each part can fail.
    async fn statement<T>(
        &self,
        name: &str,
        transaction: Option<TransactionId>,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let _under_way = UnderWay::new(&self.database, name);
        self.travel().await;
        let arrived = self.database.lock().arrive(name, transaction);
        let result = match arrived {
            Ok(()) => work.await,
            Err(error) => Err(error),
        };
        self.travel().await;
        let heard = self.database.lock().is_heard();
        let result = result.and_then(|done| heard.map(|()| done));
        let outcome = || result.as_ref().err().map_or_else(|| "done".to_owned(), ToString::to_string);
        let line = || format!("replica {} transaction {transaction:?}: {name}: {}", self.replica, outcome());
        self.database.lock().note(line);
        result
    }

    /// Takes a lock, or waits for it.
    async fn take(&self, transaction: TransactionId, lock: Lock) -> Result<(), StoreError> {
        let give_up = Instant::now() + self.database.lock().conditions().lock_timeout;
        loop {
            let freed = self.freed.notified();
            let taking = self.database.lock().take(transaction, &lock);
            match taking {
                Ok(Taking::Taken) => return Ok(()),
                Ok(Taking::Wait) => {}
                Ok(Taking::Deadlock) | Err(_) => self.freed.notify_waiters(),
            }
            taking?;
            if timeout_at(give_up, freed).await.is_err() {
                self.database.lock().stop_waiting(transaction);
                return Err(StoreError::LostRace(Cause::new("lock wait time-out")));
            }
        }
    }

    /// Waits until its server shows what was committed at others.
    async fn catch_up(&self) {
        loop {
            let freed = self.freed.notified();
            if !self.database.lock().lacks_what_others_did(self.replica) {
                return;
            }
            freed.await;
        }
    }

    fn end(&self, transaction: TransactionId) {
        self.database.lock().end(transaction);
        self.freed.notify_waiters();
    }

    /// The database notices only after a while that nobody is there any more.
    fn end_later(&self, transaction: TransactionId) {
        let Ok(runtime) = Handle::try_current() else { return };
        let (store, delay) = (self.clone(), self.database.lock().latency() * 4);
        runtime.spawn(async move {
            sleep(delay).await;
            store.end(transaction);
        });
    }

    /// Commits, and returns when the commit is to be seen here as well. That happens even if nobody waits for it.
    async fn commit_now(&self, transaction: TransactionId) -> Result<(), StoreError> {
        let late = self.database.lock().commit(transaction);
        self.freed.notify_waiters();
        let late = late?;
        if late.is_zero() {
            return Ok(());
        }
        let store = self.clone();
        let shown = tokio::spawn(async move {
            sleep(late).await;
            store.end(transaction);
        });
        shown.await.map_err(|_| StoreError::TimedOut(late))
    }
}

/// A statement, until it is dropped.
struct UnderWay<'a>(&'a Database, &'a str);

impl<'a> UnderWay<'a> {
    fn new(database: &'a Database, name: &'a str) -> Self {
        database.lock().begin_statement(name);
        Self(database, name)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().end_statement(self.1);
    }
}

/// The most contacts of an identity that a read with [`ExpectedSize::NotLarge`] returns. Far fewer than a database's,
/// so that schedules meet larger ones.
const NOT_LARGE: usize = 6;

/// These identities, unless the read was to return no large one and there is one.
fn small_enough(identities: Vec<Identity>, size: ExpectedSize) -> Result<Vec<Identity>, StoreError> {
    let large = identities.iter().find(|identity| identity.contacts().len() > NOT_LARGE);
    match large.filter(|_| size == ExpectedSize::NotLarge) {
        Some(large) => Err(StoreError::OneIsLarge(large.root())),
        None => Ok(identities),
    }
}

impl Store for SimulatedStore {
    type Transaction = SimulatedTransaction;

    async fn find_identities(
        &self,
        identifiers: &[Identifier],
        size: ExpectedSize,
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

/// At READ COMMITTED, or as SQLite's.
pub(crate) struct SimulatedTransaction {
    store: SimulatedStore,
    id: TransactionId,
    /// As of its begin, or of its last locks.
    clock: Timestamp,
    is_over: bool,
}

impl Drop for SimulatedTransaction {
    fn drop(&mut self) {
        if !self.is_over {
            self.store.end_later(self.id);
        }
    }
}

impl SimulatedTransaction {
    async fn statement<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.store.statement(name, Some(self.id), work).await
    }

    async fn take(&self, lock: Lock) -> Result<(), StoreError> {
        self.store.take(self.id, lock).await?;
        let dawdles = self.store.database.lock().dawdles();
        if dawdles {
            self.store.travel().await; // Others come in between two rows of one statement.
        }
        Ok(())
    }

    fn change(&self, change: Change) -> Result<(), StoreError> {
        self.store.database.lock().change(self.id, change)
    }

    async fn insert_contacts(&self, plan: &Plan) -> Result<Vec<ContactId>, StoreError> {
        let ids = self.store.database.lock().new_ids(self.store.replica, plan.new_contacts.len());
        for (new, id) in plan.new_contacts.iter().zip(&ids) {
            self.change(Change::Insert(Contact {
                id: *id,
                identifiers: Arc::clone(&new.identifiers),
                ignored: Arc::default(),
                created_at: new.created_at,
                updated_at: new.updated_at,
                link: resolve_link(new.link, &ids),
            }))?;
        }
        Ok(ids)
    }

    async fn insert_identifiers(&self, plan: &Plan, ids: &[ContactId]) -> Result<(), StoreError> {
        for (identifier, owner) in &plan.new_identifiers {
            self.store.database.lock().refuse(Poison::Written, std::slice::from_ref(identifier))?;
            self.take(Lock::Key(identifier.clone())).await?;
            if self.store.database.lock().has_key(identifier) {
                return Err(StoreError::DuplicateKey(Cause::new("Identifier")));
            }
            self.change(Change::Own(identifier.clone(), resolve(*owner, ids)))?;
        }
        Ok(())
    }

    async fn relink(&self, plan: &Plan, ids: &[ContactId]) -> Result<(), StoreError> {
        for moved in &plan.moves {
            let to = Link::SecondaryOf(resolve(moved.to, ids));
            let linked = self.store.database.lock().linked_to(moved.from);
            for contact in linked {
                self.take(Lock::Row(contact)).await?;
                self.change(Change::Link(contact, to, plan.updated_at))?;
            }
        }
        for relink in &plan.relinks {
            self.take(Lock::Row(relink.contact)).await?;
            self.change(Change::Link(relink.contact, resolve_link(relink.link, ids), plan.updated_at))?;
        }
        for merge in &plan.merges {
            let (survivor, absorbed) = (resolve(merge.survivor, ids), resolve(merge.absorbed, ids));
            self.change(Change::Merge(MergeRow { survivor, absorbed, cause: merge.cause.clone() }))?;
        }
        Ok(())
    }

    async fn insert_evidence(&self, plan: &Plan, ids: &[ContactId]) -> Result<(), StoreError> {
        for new in &plan.new_evidence {
            if self.store.database.lock().forgets(new.origin) {
                continue;
            }
            self.take(Lock::Set(new.key)).await?;
            if new.replaces {
                self.change(Change::NoEvidence(new.key))?;
            } else if self.store.database.lock().has_set(new.key) {
                return Err(StoreError::DuplicateKey(Cause::new("Evidence")));
            }
            self.change(Change::Evidence(EvidenceRow {
                key: new.key,
                contact: resolve(new.contact, ids),
                identifiers: new.identifiers.to_vec(),
                origin: new.origin,
                created_at: plan.updated_at,
                note: new.note.clone(),
            }))?;
        }
        Ok(())
    }

    fn insert_notes(&self, plan: &Plan, ids: &[ContactId]) -> Result<(), StoreError> {
        let notes = plan.new_contacts.iter().zip(ids).filter_map(|(new, id)| Some((*id, new.note.clone()?)));
        notes.into_iter().try_for_each(|(id, note)| self.change(Change::Note(id, note)))
    }

    async fn touch(&self, plan: &Plan) -> Result<(), StoreError> {
        let is_for_evidence = !plan.new_evidence.is_empty() && plan.new_contacts.is_empty() && plan.merges.is_empty();
        let is_left_out = is_for_evidence && self.store.database.lock().leaves_roots_of_evidence();
        for id in plan.touched.iter().filter(|_| !is_left_out) {
            self.take(Lock::Row(*id)).await?;
            self.change(Change::Touch(*id, plan.updated_at))?;
        }
        Ok(())
    }
}

fn resolve(contact: ContactRef, ids: &[ContactId]) -> ContactId {
    match contact {
        ContactRef::Stored(id) => id,
        ContactRef::Planned(index) => ids[index],
    }
}

fn resolve_link(link: Link<ContactRef>, ids: &[ContactId]) -> Link {
    match link {
        Link::Primary => Link::Primary,
        Link::SecondaryOf(primary) => Link::SecondaryOf(resolve(primary, ids)),
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
