//! Reads identities by their identifiers, with as few rows as it takes.
//!
//! 1. **Validate.** If all identifiers are in the cache, only the rows of the roots are read. A copy that was changed
//!    meanwhile is read again; the others are used without it, unless all answers must be from one moment.
//! 2. **Read at once.** Otherwise one statement reads all contacts of the identities.
//! 3. **Read by version**, if one of the identities is known to be large. One statement reads who owns the identifiers:
//!    roots, and their versions. A copy in the cache of the same version is that identity. A second statement reads the
//!    contacts of the other roots. They tell their versions again.
//!
//! Small identities are not read by version: two short statements, one after the other, take longer than one. What does
//! not fit together in step 3, because it was changed meanwhile, by SQL, or is damaged, is read at once. So is
//! everything where the cache is off, or where one server's answer is no proof.
//!
//! 4. **Look up sets**, for the jobs that one identity answers and whose set of identifiers none of its contacts
//!    carries. One statement asks for all sets of a group that are not known to be stored. Jobs with another set go to
//!    the write lanes.
//!
//! Ignored identifiers are never in the cache: a request with one is read in step 2 or 3, and so knows what holds now.
//!
//! All that one call returns is the state at one moment after the call began: that of the one statement of step 1
//! or 2, or of the first statement of step 3. (The contacts of its second one have the versions of the first, so they
//! are as they were then.) So the answers to one list agree with each other if they come from one call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::cache::{IdentityCache, ReadAt};
use super::job::{Job, Owner};
use super::panic_guard::catch_panic;
use crate::domain::{ComparedCopies, ContactId, Copies, Identifier, Identity, Observation, Owners, SetKey, Snapshot};
use crate::store::{Epoch, ExpectedSize, IfNothing, LookupResult, MAX_LOOKUP, Store, StoreError};

/// So many contacts are compared with a set before the cache is asked for it.
const FEW_CARRIERS: usize = 16;

/// Reads from a store and its cache. Clones share both.
#[derive(Clone)]
pub(super) struct IdentityReader<S> {
    pub(super) store: S,
    pub(super) cache: IdentityCache,
}

/// The identities that own some identifiers, at one moment.
pub(super) struct ReadResult {
    pub(super) snapshot: Snapshot,
    /// See [`LookupResult`].
    is_latest: bool,
    /// The epoch of all statements, or `None` if it changed between them.
    pub(super) epoch: Option<Epoch>,
    /// From before the read began.
    begun: Instant,
    /// When the copies from the cache were read, by root.
    read_earlier: HashMap<ContactId, Instant>,
    /// Whether it says nothing about an identifier without an owner: the copy of its owner was changed.
    is_partial: bool,
}

/// From how many moments the answers to some requests may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moments {
    /// The requests have an order.
    One,
    Any,
}

/// What a read can answer a job with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Found<'a> {
    /// This identity.
    Matched(&'a Arc<Identity>),
    /// A refusal: all identifiers of the job are ignored.
    OnlyIgnored,
    /// What a job with `validate_only` asks for: who owns its identifiers, and that nobody owns the others.
    Owners,
    /// Nothing: it needs a write, or a further read.
    Nothing,
}

impl ReadResult {
    fn new(snapshot: Snapshot, epoch: Option<Epoch>, begun: Instant) -> Self {
        Self { snapshot, is_latest: true, epoch, begun, read_earlier: HashMap::new(), is_partial: false }
    }

    /// Returns the result of a read of nothing.
    pub(super) fn empty() -> Self {
        Self::new(Snapshot::new(Vec::new()), None, Instant::now())
    }

    /// Returns whether it says who owns the identifiers of the observation, or that nobody does.
    pub(super) fn covers(&self, observation: &Observation) -> bool {
        !self.is_partial || observation.identifiers().iter().all(|identifier| self.snapshot.owns(identifier))
    }

    /// Returns what answers the job, if the answer needs no write and no further read.
    pub(super) fn found_for(&self, job: &Job) -> Found<'_> {
        match job.validate_only {
            false => self.found(&job.observation),
            true if self.proves_owners(&job.observation) => Found::Owners,
            true => Found::Nothing,
        }
    }

    /// Returns whether it proves who owns the identifiers of the observation: see [`Self::owner`].
    fn proves_owners(&self, observation: &Observation) -> bool {
        self.is_latest && self.snapshot.owners_of(observation).iter().all(|owner| owner.missing_root().is_none())
    }

    /// Returns what answers the observation, if the answer needs no write and no further read.
    ///
    /// It skips an identity that was read without its root: such a read was seen on a MySQL cluster
    /// (docs/reliability.md).
    pub(super) fn found(&self, observation: &Observation) -> Found<'_> {
        match self.snapshot.matched(observation) {
            _ if !self.is_latest => Found::Nothing,
            Some(identity) if identity.missing_root().is_none() => Found::Matched(identity),
            None if self.snapshot.ignores_all_of(observation) => Found::OnlyIgnored,
            Some(_) | None => Found::Nothing,
        }
    }

    /// Returns who owns the identifier of a look-up.
    ///
    /// It is not proven by a read of one server of several that take writes, nor by one that lacks the root.
    pub(super) fn owner(&self, observation: &Observation) -> Owner {
        match self.found(observation) {
            Found::Matched(identity) => Owner::Identity(Arc::clone(identity)),
            Found::OnlyIgnored => Owner::Nobody,
            Found::Owners => Owner::Unproven, // It is no answer to a look-up.
            Found::Nothing if self.is_latest && self.snapshot.matched(observation).is_none() => Owner::Nobody,
            Found::Nothing => Owner::Unproven,
        }
    }

    /// Returns when the contacts of an identity were read.
    pub(super) fn time_of(&self, identity: &Identity) -> Instant {
        self.read_earlier.get(&identity.root()).copied().unwrap_or(self.begun)
    }
}

impl<S: Store> IdentityReader<S> {
    /// Returns the set of an observation that this identity answers, if it has to be looked up: no contact carries it,
    /// and it is not known to need no write.
    pub(super) fn set_to_look_up(
        &self,
        read: &ReadResult,
        observation: &Observation,
        identity: &Identity,
    ) -> Option<SetKey> {
        let joining = read.snapshot.evidence_set(observation)?;
        let set = joining.identifiers();
        // Nearly every set is carried, and a few comparisons take less time than the digest that is its key.
        let are_few = identity.carriers_to_compare(set) <= FEW_CARRIERS;
        if are_few && identity.carries_set(set) {
            return None;
        }
        let key = SetKey::of(set);
        if read.epoch.is_some_and(|epoch| self.cache.is_settled(key, identity, epoch)) {
            return None;
        }
        if !are_few && identity.carries_set(set) {
            if let Some(epoch) = read.epoch {
                self.cache.settle(key, identity, ReadAt { epoch, time: read.begun });
            }
            return None;
        }
        Some(key)
    }

    /// Returns those of these sets that are stored for their identities, by one statement for each [`MAX_LOOKUP`] of
    /// them, and remembers them with their identities. The statement comes after the read of the identities: as long as
    /// one has the version that was read, its sets are still stored.
    ///
    /// If the statement fails, no set counts as stored, and a transaction decides under its locks.
    pub(super) async fn stored_sets(
        &self,
        read: &ReadResult,
        sets: &BTreeMap<SetKey, Arc<Identity>>,
    ) -> BTreeSet<SetKey> {
        let keys: Vec<SetKey> = sets.keys().copied().collect();
        let mut stored = BTreeSet::new();
        for some in keys.chunks(MAX_LOOKUP) {
            match catch_panic(self.store.stored_sets(some)).await {
                Ok(found) if self.store.epoch() == read.epoch => {
                    let is_of_its_own =
                        |set: &SetKey, root: Option<ContactId>| root.is_some_and(|root| sets[set].has_root(root));
                    stored
                        .extend(found.into_iter().filter(|(set, root)| is_of_its_own(set, *root)).map(|(set, _)| set));
                }
                Ok(_) | Err(_) => return BTreeSet::new(),
            }
        }
        let Some(epoch) = read.epoch else { return stored };
        for (set, identity) in sets.iter().filter(|(set, _)| stored.contains(set)) {
            self.cache.settle(*set, identity, ReadAt { epoch, time: read.begun });
        }
        stored
    }

    /// Returns whether all of these identifiers are in the cache.
    pub(super) fn has_all(&self, identifiers: &[Identifier]) -> bool {
        let Some(epoch) = self.epoch_of_copies() else { return false };
        identifiers.iter().all(|identifier| self.cache.find(identifier, epoch).is_some())
    }

    /// Reads the rows of the roots alone. Returns `None` if that is not enough. With [`Moments::Any`] it is enough if
    /// some copies are right: see [`ReadResult::covers`].
    ///
    /// # Errors
    /// As every read.
    pub(super) async fn validate(
        &self,
        identifiers: &[Identifier],
        moments: Moments,
    ) -> Result<Option<ReadResult>, StoreError> {
        let Some(epoch) = self.epoch_of_copies() else { return Ok(None) };
        let begun = Instant::now();
        let (mut copies, mut read_earlier) = (Copies::default(), HashMap::new());
        for identifier in identifiers {
            let Some(copy) = self.cache.find(identifier, epoch) else { return Ok(None) };
            let read = read_earlier.entry(copy.identity.root()).or_insert(copy.read.time);
            *read = copy.read.time.min(*read);
            copies.add(identifier.clone(), copy.identity);
        }
        let rows = self.store.root_rows(&copies.roots()).await?;
        if self.store.epoch() != Some(epoch) {
            return Ok(None);
        }
        let ComparedCopies { current, changed } = copies.compare(&rows);
        changed.iter().for_each(|root| self.cache.forget(*root));
        let is_partial = !changed.is_empty();
        if is_partial && (moments == Moments::One || current.identities().is_empty()) {
            return Ok(None);
        }
        Ok(Some(ReadResult { read_earlier, is_partial, ..ReadResult::new(current, Some(epoch), begun) }))
    }

    /// Reads the identities that own these identifiers, and keeps copies of them. If one of them is known to be large,
    /// it is worth two statements not to read contacts that are in the cache. Without a cache, the statement for large
    /// identities reads them.
    ///
    /// # Errors
    /// As every read.
    pub(super) async fn read(
        &self,
        identifiers: &[Identifier],
        size: ExpectedSize,
        if_nothing: IfNothing,
    ) -> Result<ReadResult, StoreError> {
        if let Some(epoch) = self.epoch_of_copies().filter(|_| size == ExpectedSize::Large)
            && let Some(read) = self.read_by_version(identifiers, epoch).await?
        {
            return Ok(read);
        }
        self.read_at_once(identifiers, size, if_nothing).await
    }

    /// The epoch, if there is a cache and a store whose versions are proof.
    fn epoch_of_copies(&self) -> Option<Epoch> {
        self.store.epoch().filter(|_| self.cache.is_on())
    }

    /// Step 3. Returns `None` if the rows do not fit together.
    async fn read_by_version(
        &self,
        identifiers: &[Identifier],
        epoch: Epoch,
    ) -> Result<Option<ReadResult>, StoreError> {
        let begun = Instant::now();
        let Some(owners) = Owners::from_rows(self.store.owner_rows(identifiers).await?) else { return Ok(None) };
        let (mut identities, mut missing, mut read_earlier) = (Vec::new(), Vec::new(), HashMap::new());
        for (root, version) in owners.versions() {
            match self.cache.find_version(root, version, epoch) {
                Some(copy) => {
                    read_earlier.insert(root, copy.read.time);
                    identities.push(copy.identity);
                }
                None => missing.push(root),
            }
        }
        if !missing.is_empty() {
            identities.extend(self.store.identities_of(&missing, ExpectedSize::Large).await?.into_iter().map(Arc::new));
        }
        if self.store.epoch() != Some(epoch) {
            return Ok(None);
        }
        let Some(snapshot) = owners.with_identities(&identities) else { return Ok(None) };
        let read = ReadResult { read_earlier, ..ReadResult::new(snapshot, Some(epoch), begun) };
        self.keep(&read, identifiers);
        Ok(Some(read))
    }

    /// Step 2.
    async fn read_at_once(
        &self,
        identifiers: &[Identifier],
        size: ExpectedSize,
        if_nothing: IfNothing,
    ) -> Result<ReadResult, StoreError> {
        let (begun, epoch) = (Instant::now(), self.store.epoch());
        let LookupResult { found, is_latest } = self.store.find_identities(identifiers, size, if_nothing).await?;
        let epoch = epoch.filter(|epoch| self.store.epoch() == Some(*epoch));
        let read = ReadResult { is_latest, ..ReadResult::new(found.into_snapshot(), epoch, begun) };
        self.keep(&read, identifiers);
        Ok(read)
    }

    /// Keeps copies of what was read. Each of these identifiers leads to the copy that owns it, unless several do: an
    /// answer from one copy would hide the others.
    fn keep(&self, read: &ReadResult, identifiers: &[Identifier]) {
        let Some(epoch) = read.epoch.filter(|_| read.is_latest && self.cache.is_on()) else { return };
        let mut asked: BTreeMap<ContactId, (&Arc<Identity>, Vec<&Identifier>)> = BTreeMap::new();
        for identifier in identifiers {
            if let Some(owner) = read.snapshot.sole_owner_of(identifier) {
                asked.entry(owner.root()).or_insert((owner, Vec::new())).1.push(identifier);
            }
        }
        for (identity, asked) in asked.into_values() {
            self.cache.put(identity, ReadAt { epoch, time: read.time_of(identity) }, asked);
        }
    }
}
