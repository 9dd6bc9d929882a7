//! A store that fails as planned.

#[path = "faulty_store/identities.rs"]
mod identities;
#[path = "faulty_store/transaction.rs"]
mod transaction;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use identity::domain::graph::{HistoryContact, SetName, SetNotes};
use identity::domain::{
    Contact, ContactId, Identifier, Identity, Link, OwnerRow, RootRow, SetKey, StoredSets, Timestamp,
};
use identity::store::{
    Cause, Epoch, ExpectedSize, FoundIdentities, HistoryRead, HistoryRows, IfNothing, LookupResult, RootWindow, Store,
    StoreError,
};
use tokio::time::sleep;

use identities::{DELETED, identifier_of, ignored, is_till, large_identity, root_row};
#[allow(unused_imports, reason = "the tests of the transport layer use none of them")]
pub(crate) use identities::{FIRST_LARGE, LARGE, observation};
use transaction::FaultyTransaction;

/// How long every statement takes, unless it is about a large identity.
const LATENCY: Duration = Duration::from_millis(1);

/// A call of the resolver to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ping,
    /// Outside a transaction.
    Read,
    /// A look at the rows of roots, to compare copies.
    Roots,
    /// In a transaction.
    Find,
    Apply,
}

/// How such a call fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Panic,
    LostRace,
    Rejected,
    Faulty,
    /// By tables as they were before.
    Outdated,
    IdTaken,
    Unavailable,
    TooSlow,
    CutShort,
}

/// Chooses the fault by the step, its identifiers, and the number of earlier steps of the same kind.
type Faults = dyn Fn(Step, &[Identifier], usize) -> Option<Fault> + Send + Sync;

/// A store with one contact for each e-mail address `knownN@x`, and an identity of many contacts for each `largeN@x`.
/// It forgets writes and fails as planned.
#[derive(Clone)]
pub(crate) struct FaultyStore {
    faults: Arc<Faults>,
    counts: Arc<[AtomicUsize; 5]>,
    last_id: Arc<AtomicI64>,
    /// Whether each read in a transaction finds another identity.
    is_restless: bool,
    /// Whether every identity is linked to a deleted contact, which reads leave out until there were two in a
    /// transaction.
    is_torn: bool,
    latency: Duration,
    /// How long a statement about a large identity takes.
    large_latency: Duration,
    /// How many statements were about a large identity and about others.
    mixed: Arc<AtomicUsize>,
    writers: usize,
    /// Without one, versions are no proof: every read is one statement with all contacts.
    epoch: Option<Arc<AtomicU64>>,
    /// Whether `till@x` is ignored: in reads, and in transactions.
    ignores: (bool, bool),
    pub(crate) sizes: Arc<Mutex<Vec<(Step, ExpectedSize)>>>,
    /// The turns of another task, and how many it had when a transaction had its locks.
    pub(crate) turns: Arc<[AtomicUsize; 2]>,
}

impl FaultyStore {
    pub(crate) fn new(faults: impl Fn(Step, &[Identifier], usize) -> Option<Fault> + Send + Sync + 'static) -> Self {
        let last_id = Arc::new(AtomicI64::new(1_000_000));
        Self {
            faults: Arc::new(faults),
            counts: Arc::default(),
            last_id,
            is_restless: false,
            is_torn: false,
            latency: LATENCY,
            large_latency: LATENCY,
            mixed: Arc::default(),
            writers: 1,
            epoch: None,
            ignores: (false, false),
            sizes: Arc::default(),
            turns: Arc::default(),
        }
    }

    /// Returns a store whose statements take so long, and those about a large identity so long.
    pub(crate) fn slow(latency: Duration, large_latency: Duration) -> Self {
        Self { latency, large_latency, ..Self::new(|_, _, _| None) }
    }

    /// Sets how long every statement takes.
    pub(crate) fn set_latency(&mut self, latency: Duration) {
        (self.latency, self.large_latency) = (latency, latency);
    }

    /// Returns the same store with so many writers.
    pub(crate) fn with_writers(self, writers: usize) -> Self {
        Self { writers, ..self }
    }

    /// Returns the same store, with versions that prove what copies are right.
    pub(crate) fn with_epoch(self) -> Self {
        self.with_generation(Arc::new(AtomicU64::new(1)))
    }

    /// The same, with this generation of the epoch.
    pub(crate) fn with_generation(self, generation: Arc<AtomicU64>) -> Self {
        Self { epoch: Some(generation), ..self }
    }

    /// Returns the same store, in which `till@x` is ignored: in reads, and in transactions.
    pub(crate) fn ignoring(self, ignores: (bool, bool)) -> Self {
        Self { ignores, ..self }
    }

    /// Returns how many statements were about a large identity and about others.
    pub(crate) fn mixed(&self) -> usize {
        self.mixed.load(Ordering::Relaxed)
    }

    /// Returns which size each read expected.
    pub(crate) fn sizes(&self) -> Vec<(Step, ExpectedSize)> {
        self.sizes.lock().unwrap().clone()
    }

    pub(crate) fn restless() -> Self {
        Self { is_restless: true, ..Self::new(|_, _, _| None) }
    }

    pub(crate) fn torn() -> Self {
        Self { is_torn: true, ..Self::new(|_, _, _| None) }
    }

    /// Returns how many steps of this kind there were.
    pub(crate) fn count(&self, step: Step) -> usize {
        self.counts[step as usize].load(Ordering::Relaxed)
    }

    async fn step(&self, step: Step, identifiers: &[Identifier]) -> Result<(), StoreError> {
        let large = identifiers.iter().filter(|identifier| identifier.value().contains("large")).count();
        self.mixed.fetch_add(usize::from(large > 0 && large < identifiers.len()), Ordering::Relaxed);
        sleep(if large > 0 { self.large_latency } else { self.latency }).await;
        let before = self.counts[step as usize].fetch_add(1, Ordering::Relaxed);
        let cause = || Cause::new("as planned");
        match (self.faults)(step, identifiers, before) {
            None => Ok(()),
            Some(Fault::Panic) => panic!("as planned"),
            Some(Fault::LostRace) => Err(StoreError::LostRace(cause())),
            Some(Fault::Rejected) => Err(StoreError::Rejected(cause())),
            Some(Fault::Faulty) => Err(StoreError::Faulty(cause())),
            Some(Fault::Outdated) => Err(StoreError::Faulty(cause().perhaps_outdated())),
            Some(Fault::IdTaken) => Err(StoreError::IdTaken(cause())),
            Some(Fault::CutShort) => Err(StoreError::CutShort(cause())),
            Some(Fault::Unavailable) => Err(StoreError::Unavailable(cause())),
            Some(Fault::TooSlow) => Err(StoreError::TooSlow(self.large_latency)),
        }
    }

    fn known(&self, identifiers: &[Identifier], offset: i64) -> Vec<Identity> {
        let ids = identifiers.iter().filter_map(|identifier| {
            let number = identifier.value().strip_prefix("known")?.strip_suffix("@x")?;
            Some((number.parse::<i64>().unwrap(), identifier.clone()))
        });
        let contact = |(id, identifier): (i64, Identifier)| {
            let link = if self.is_torn { Link::SecondaryOf(ContactId(id + DELETED)) } else { Link::Primary };
            Contact::new(ContactId(id + offset), [identifier], Timestamp(id), link)
        };
        let has_deleted = self.is_torn && self.count(Step::Find) > 1;
        let deleted =
            |live: &Contact| Contact { id: ContactId(live.id.0 + DELETED), link: Link::Primary, ..live.clone() };
        let identity = |live: Contact| {
            let deleted = has_deleted.then(|| deleted(&live)).into_iter().collect();
            Identity::new(vec![live]).unwrap().with_deleted(deleted)
        };
        let large = identifiers.iter().filter_map(large_identity);
        ids.map(|known| identity(contact(known))).chain(large).collect()
    }
}

impl Store for FaultyStore {
    type Transaction = FaultyTransaction;

    async fn find_identities(
        &self,
        identifiers: &[Identifier],
        size: ExpectedSize,
        _if_nothing: IfNothing,
    ) -> Result<LookupResult, StoreError> {
        self.sizes.lock().unwrap().push((Step::Read, size));
        if size == ExpectedSize::NotLarge
            && let Some(large) = identifiers.iter().find_map(large_identity)
        {
            sleep(self.latency).await; // It ends early, so it is no step that can fail.
            return Err(StoreError::OneIsLarge(large.root()));
        }
        self.step(Step::Read, identifiers).await?;
        let ignored = ignored(identifiers, self.ignores.0);
        let found = FoundIdentities { identities: self.known(identifiers, 0), ignored };
        Ok(LookupResult { found, is_latest: true })
    }

    fn epoch(&self) -> Option<Epoch> {
        let generation = self.epoch.as_ref()?.load(Ordering::Relaxed);
        Some(Epoch { generation, connections: 1 })
    }

    async fn root_rows(&self, roots: &[ContactId]) -> Result<Vec<RootRow>, StoreError> {
        let identifiers: Vec<Identifier> = roots.iter().map(|root| identifier_of(*root)).collect();
        self.step(Step::Roots, &identifiers).await?;
        Ok(roots.iter().map(|root| root_row(*root)).collect())
    }

    async fn owner_rows(&self, identifiers: &[Identifier]) -> Result<Vec<OwnerRow>, StoreError> {
        self.step(Step::Read, identifiers).await?;
        let row = |identifier: &Identifier| {
            let identities = self.known(std::slice::from_ref(identifier), 0);
            let is_ignored = is_till(identifier) && self.ignores.0;
            let root = identities.first().map(|identity| root_row(identity.root()));
            let contact = root.map_or(ContactId(0), |root| root.id);
            let row = OwnerRow { identifier: identifier.clone(), contact, is_deleted: false, is_ignored, root };
            (is_ignored || row.root.is_some()).then_some(row)
        };
        Ok(identifiers.iter().filter_map(row).collect())
    }

    async fn identities_of(&self, roots: &[ContactId], size: ExpectedSize) -> Result<Vec<Identity>, StoreError> {
        let identifiers: Vec<Identifier> = roots.iter().map(|root| identifier_of(*root)).collect();
        if size == ExpectedSize::NotLarge
            && let Some(large) = identifiers.iter().find_map(large_identity)
        {
            return Err(StoreError::OneIsLarge(large.root()));
        }
        self.step(Step::Read, &identifiers).await?;
        Ok(self.known(&identifiers, 0))
    }

    /// It knows nothing of the past.
    async fn history_of(&self, contact: ContactId) -> Result<HistoryRead, StoreError> {
        self.step(Step::Read, &[identifier_of(contact)]).await?;
        let known = self.known(&[identifier_of(contact)], 0);
        let contacts = known.iter().flat_map(|one| one.contacts().to_vec());
        let contacts: Vec<HistoryContact> =
            contacts.map(|contact| HistoryContact { contact, deleted_at: None }).collect();
        let rows = HistoryRows { root: contact, contacts, ..Default::default() };
        let identity = Some(rows).filter(|rows| !rows.is_empty());
        Ok(HistoryRead { now: Timestamp(1_000_000), complete_since: None, identity })
    }

    async fn stored_sets(&self, _sets: &[SetKey]) -> Result<StoredSets, StoreError> {
        Ok(StoredSets::new())
    }

    async fn notes_of(&self, _sets: &[SetName]) -> Result<SetNotes, StoreError> {
        Ok(SetNotes::new())
    }

    /// It has the roots 1 to 9, and a large one.
    async fn roots_after(&self, after: Option<ContactId>, limit: usize) -> Result<RootWindow, StoreError> {
        self.step(Step::Read, &[]).await?;
        let roots = (1..10).chain([FIRST_LARGE]).map(ContactId);
        let roots: Vec<ContactId> = roots.filter(|root| Some(*root) > after).take(limit).collect();
        Ok(RootWindow { next: roots.last().copied().filter(|_| roots.len() == limit), roots })
    }

    async fn begin(&self) -> Result<FaultyTransaction, StoreError> {
        Ok(FaultyTransaction(self.clone()))
    }

    async fn locked_by_others(&self, _contacts: &BTreeSet<ContactId>) -> Result<BTreeSet<ContactId>, StoreError> {
        Ok(BTreeSet::new())
    }

    /// One writer unless a test says otherwise, so that the tests know the order of transactions.
    fn writers(&self) -> usize {
        self.writers
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.step(Step::Ping, &[]).await
    }
}
