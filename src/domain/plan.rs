use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::{Contact, ContactId, ContactRef, Identifier, Identity, Link, Observation, Snapshot, Timestamp};

/// What `Identify` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nobody had the identifiers: a new identity.
    Created,
    /// One identity owned them all: nothing was written.
    Matched,
    /// One identity owned some, and now owns the rest.
    Linked,
    /// Several identities owned them, and are one now.
    Merged,
}

/// The answer for one observation: the whole identity, as it was just after the observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<Id = ContactId> {
    /// What the observation did.
    pub outcome: Outcome,
    /// The identity that it belongs to.
    pub identity: Arc<Identity<Id>>,
}

/// A contact to insert. Contacts are inserted in the order of the plan, so that ids ascend with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewContact {
    /// What it carries.
    pub identifiers: Arc<[Identifier]>,
    /// Its `createdAt`.
    pub created_at: Timestamp,
    /// Its `updatedAt`: later than `createdAt` when the same plan changed its identity again.
    pub updated_at: Timestamp,
    /// Its final link. The primary may be a contact of the same plan.
    pub link: Link<ContactRef>,
}

/// A stored contact whose link changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relink {
    /// The row.
    pub contact: ContactId,
    /// Its new link.
    pub link: Link<ContactRef>,
}

/// A merge to record: without it, nothing would tell why two identities are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The primary of the identity that stayed.
    pub survivor: ContactRef,
    /// The primary of the identity that it took in.
    pub absorbed: ContactRef,
    /// The identifiers that were in both hands and came in one observation.
    pub cause: Vec<Identifier>,
}

/// What to write for a list of observations, and the answer for each.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Contacts to insert, in this order.
    pub new_contacts: Vec<NewContact>,
    /// Identifiers that get their owner, with the contact that first brought them; sorted, so that every
    /// transaction takes them in one order.
    pub new_identifiers: Vec<(Identifier, ContactRef)>,
    /// Stored contacts whose link changes, deleted ones included.
    pub relinks: Vec<Relink>,
    /// Merges to record, in order.
    pub merges: Vec<Merge>,
    /// Stored primaries whose identity changes and that are in no other list.
    pub touched: Vec<ContactId>,
    /// The `updatedAt` of every row that is relinked or touched: later than any that it replaces.
    pub updated_at: Timestamp,
    /// An answer per observation, in order.
    answers: Vec<Answer<ContactRef>>,
}

impl Plan {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.new_contacts.is_empty() && self.relinks.is_empty() && self.merges.is_empty()
    }

    /// The stored contacts whose rows it writes: of every identity that it changes, the root's at least.
    pub fn written(&self) -> BTreeSet<ContactId> {
        self.relinks.iter().map(|relink| relink.contact).chain(self.touched.iter().copied()).collect()
    }

    /// Writes these rows too, though nothing of their identities changes; `newest` is their latest `updatedAt`, unless
    /// the plan is later anyhow.
    pub fn touch_also(&mut self, rows: impl IntoIterator<Item = ContactId>, newest: Option<Timestamp>) {
        self.touched.extend(rows);
        self.touched.sort();
        self.updated_at = self.updated_at.after(newest);
    }

    /// What puts damaged rows right. No observation asked for it, so it has no answers.
    pub fn of_repair(
        relinks: Vec<Relink>,
        merges: Vec<Merge>,
        new_identifiers: Vec<(Identifier, ContactRef)>,
        touched: Vec<ContactId>,
        updated_at: Timestamp,
    ) -> Self {
        Self { new_contacts: Vec::new(), new_identifiers, relinks, merges, touched, updated_at, answers: Vec::new() }
    }

    /// The answers, once the new contacts have these ids (in the order of [`Plan::new_contacts`]).
    pub fn answers(&self, ids: &[ContactId]) -> Vec<Answer> {
        // Observations that saw the same state share it; so do their answers.
        let mut resolved: HashMap<*const Identity<ContactRef>, Arc<Identity>> = HashMap::new();
        let resolve = |id: &ContactRef| match *id {
            ContactRef::Stored(id) => id,
            ContactRef::Planned(index) => ids[index],
        };
        self.answers
            .iter()
            .map(|answer| Answer {
                outcome: answer.outcome,
                identity: Arc::clone(
                    resolved
                        .entry(Arc::as_ptr(&answer.identity))
                        .or_insert_with(|| Arc::new(answer.identity.map_ids(resolve))),
                ),
            })
            .collect()
    }
}

/// Decides what a list of observations does, exactly as if they came one at a time, in this order.
///
/// `known` must hold every identity that owns an identifier of any of the observations, and must not
/// change until the plan is carried out (the resolver's lock protocol sees to both). `now` is the
/// database's clock.
///
/// The rules, for each observation, by the number of identities that own its identifiers:
///
/// - none: a new primary. [`Outcome::Created`].
/// - one, which owns them all: nothing. [`Outcome::Matched`].
/// - one, but an identifier is new: a secondary that carries the whole observation. [`Outcome::Linked`].
/// - several: the one with the oldest primary survives, all contacts of the others become its
///   secondaries, and the merge is recorded; if an identifier is new besides, a secondary is inserted.
///   [`Outcome::Merged`].
pub fn plan(observations: &[Observation], known: &Snapshot, now: Timestamp) -> Plan {
    let mut planner = Planner::new(known, now);
    let answers = observations.iter().map(|observation| planner.observe(observation)).collect();
    planner.finish(answers)
}

/// An identity while it is planned on.
struct Draft {
    identity: Arc<Identity<ContactRef>>,
    changed: bool,
}

struct Planner {
    /// `None` where an identity was absorbed.
    drafts: Vec<Option<Draft>>,
    /// Identifier to draft; entries of absorbed drafts are redirected by `absorbed_by`.
    owners: HashMap<Identifier, usize>,
    absorbed_by: HashMap<usize, usize>,
    clock: Clock,
    new_contacts: Vec<NewContact>,
    new_identifiers: Vec<(Identifier, ContactRef)>,
    merges: Vec<Merge>,
}

impl Planner {
    fn new(known: &Snapshot, now: Timestamp) -> Self {
        let draft = |identity: &Arc<Identity>| {
            Some(Draft { identity: Arc::new(identity.map_ids(|id| ContactRef::Stored(*id))), changed: false })
        };
        Self {
            drafts: known.identities().iter().map(draft).collect(),
            owners: known.owners().clone(),
            absorbed_by: HashMap::new(),
            clock: Clock::new(known, now),
            new_contacts: Vec::new(),
            new_identifiers: Vec::new(),
            merges: Vec::new(),
        }
    }

    fn observe(&mut self, observation: &Observation) -> Answer<ContactRef> {
        let (owned, new): (Vec<&Identifier>, Vec<&Identifier>) =
            observation.identifiers().iter().partition(|identifier| self.owners.contains_key(*identifier));
        let owners = self.oldest_first(&owned);
        let Some((&survivor, absorbed)) = owners.split_first() else {
            let created = self.create(observation);
            return self.answer(Outcome::Created, created);
        };
        for &other in absorbed {
            self.merge(survivor, other, &owned);
        }
        if !new.is_empty() {
            self.link(survivor, observation, new);
        }
        let outcome = match (absorbed.is_empty(), owned.len() == observation.identifiers().len()) {
            (false, _) => Outcome::Merged,
            (true, false) => Outcome::Linked,
            (true, true) => Outcome::Matched,
        };
        self.answer(outcome, survivor)
    }

    /// The drafts that own these identifiers, each once, the one with the oldest primary first.
    fn oldest_first(&self, owned: &[&Identifier]) -> Vec<usize> {
        let mut owners: Vec<usize> = owned.iter().map(|identifier| self.surviving(self.owners[*identifier])).collect();
        owners.sort_by_key(|&draft| (self.draft(draft).identity.primary().age(), draft));
        owners.dedup();
        owners
    }

    /// Where a draft went, after all merges so far.
    fn surviving(&self, mut draft: usize) -> usize {
        while let Some(&survivor) = self.absorbed_by.get(&draft) {
            draft = survivor;
        }
        draft
    }

    fn create(&mut self, observation: &Observation) -> usize {
        let contact = self.insert(observation, self.clock.now, Link::Primary);
        let draft = self.drafts.len();
        self.own(observation.identifiers().iter(), draft, contact.id);
        self.drafts.push(Some(Draft { identity: Arc::new(Identity::of(contact)), changed: false }));
        draft
    }

    fn link(&mut self, draft: usize, observation: &Observation, new: Vec<&Identifier>) {
        let identity = &self.draft(draft).identity;
        let primary = identity.primary().id;
        // Younger than all of its identity, even where the database's clock has stepped back. Ids decide
        // between the contacts of one plan, and ascend.
        let newest = identity.newest();
        let earliest = match newest.id {
            ContactRef::Stored(_) => newest.created_at.next(),
            ContactRef::Planned(_) => newest.created_at,
        };
        let contact = self.insert(observation, earliest, Link::SecondaryOf(primary));
        self.own(new.into_iter(), draft, contact.id);
        self.change(draft).add(contact);
    }

    fn merge(&mut self, survivor: usize, absorbed: usize, cause: &[&Identifier]) {
        let Some(other) = self.drafts[absorbed].take() else { return };
        self.merges.push(Merge {
            survivor: self.draft(survivor).identity.primary().id,
            absorbed: other.identity.primary().id,
            cause: cause.iter().map(|identifier| (*identifier).clone()).collect(),
        });
        self.change(survivor).absorb(Arc::unwrap_or_clone(other.identity));
        self.absorbed_by.insert(absorbed, survivor);
    }

    fn insert(
        &mut self,
        observation: &Observation,
        earliest: Timestamp,
        link: Link<ContactRef>,
    ) -> Contact<ContactRef> {
        let id = ContactRef::Planned(self.new_contacts.len());
        let created_at = self.clock.at_least(earliest);
        let identifiers = observation.shared();
        self.new_contacts.push(NewContact {
            identifiers: Arc::clone(&identifiers),
            created_at,
            updated_at: created_at,
            link,
        });
        Contact { id, identifiers, created_at, updated_at: created_at, link }
    }

    fn own<'a>(&mut self, identifiers: impl Iterator<Item = &'a Identifier>, draft: usize, contact: ContactRef) {
        for identifier in identifiers {
            self.owners.insert(identifier.clone(), draft);
            self.new_identifiers.push((identifier.clone(), contact));
        }
    }

    fn draft(&self, index: usize) -> &Draft {
        self.drafts[index].as_ref().unwrap_or_else(|| unreachable!("callers ask for surviving drafts alone"))
    }

    fn change(&mut self, index: usize) -> &mut Identity<ContactRef> {
        let draft =
            self.drafts[index].as_mut().unwrap_or_else(|| unreachable!("callers ask for surviving drafts alone"));
        draft.changed = true;
        Arc::make_mut(&mut draft.identity) // Copies only what an earlier answer still shows.
    }

    fn answer(&self, outcome: Outcome, draft: usize) -> Answer<ContactRef> {
        Answer { outcome, identity: Arc::clone(&self.draft(draft).identity) }
    }

    /// Compares each changed identity with its rows, and writes down every difference.
    fn finish(mut self, answers: Vec<Answer<ContactRef>>) -> Plan {
        let changed: Vec<Arc<Identity<ContactRef>>> =
            self.drafts.into_iter().flatten().filter(|draft| draft.changed).map(|draft| draft.identity).collect();
        let contacts = || changed.iter().flat_map(|identity| identity.rows());
        let newest_write = contacts().map(|contact| contact.updated_at.max(contact.created_at)).max();
        let updated_at = self.clock.now.after(newest_write);

        let mut relinks = Vec::new();
        let mut touched = Vec::new();
        for identity in &changed {
            let primary = identity.primary();
            for contact in identity.rows() {
                let link = if contact.id == primary.id { Link::Primary } else { Link::SecondaryOf(primary.id) };
                match contact.id {
                    ContactRef::Stored(id) if contact.link != link => relinks.push(Relink { contact: id, link }),
                    ContactRef::Stored(id) if contact.id == primary.id => touched.push(id),
                    ContactRef::Stored(_) => {}
                    ContactRef::Planned(index) => {
                        let new = &mut self.new_contacts[index];
                        if new.link != link || contact.id == primary.id {
                            new.updated_at = updated_at;
                        }
                        new.link = link;
                    }
                }
            }
        }
        relinks.sort_by_key(|relink| relink.contact);
        touched.sort();
        self.new_identifiers.sort();
        Plan {
            new_contacts: self.new_contacts,
            new_identifiers: self.new_identifiers,
            relinks,
            merges: self.merges,
            touched,
            updated_at,
            answers,
        }
    }
}

/// Gives new contacts their `createdAt`.
struct Clock {
    now: Timestamp,
    /// Moments from `now` on that a stored contact has already: its clock was ahead of this one.
    taken: HashSet<Timestamp>,
}

impl Clock {
    fn new(known: &Snapshot, now: Timestamp) -> Self {
        let contacts = known.identities().iter().flat_map(|identity| identity.contacts());
        Self { now, taken: contacts.map(|contact| contact.created_at).filter(|moment| *moment >= now).collect() }
    }

    /// The first moment from now and `earliest` on that no stored contact has. A tie with one would be
    /// decided by id, and which ids new rows get is not known yet: on a cluster they can be smaller.
    fn at_least(&self, earliest: Timestamp) -> Timestamp {
        let mut moment = self.now.max(earliest);
        while self.taken.contains(&moment) {
            moment = moment.next();
        }
        moment
    }
}
