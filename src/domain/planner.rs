//! The rules: what each observation does to the identities.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::contact::{Contact, ContactRef, Link, Timestamp};
use super::draft::Draft;
use super::evidence::{EvidenceOrigin, MAX_EVIDENCE, NewEvidence, SetKey};
use super::identifier::Identifier;
use super::identity::Identity;
use super::observation::Observation;
use super::plan::{IdentityTooLarge, Merge, Move, NewContact, Outcome, Plan, PlannedAnswer, Refusal};
use super::snapshot::Snapshot;

/// Plans a list of observations, exactly as if they came one at a time in this order.
///
/// The rules, for each observation, by the number of identities that own its identifiers:
///
/// - **None**: insert a primary. [`Outcome::Created`].
/// - **One that owns all identifiers**: insert no contact. [`Outcome::Matched`].
/// - **One, but an identifier is new**: insert a secondary that carries the whole observation. [`Outcome::Linked`].
/// - **Several**: the identity with the oldest primary survives. All contacts of the others become its secondaries, and
///   the merge is recorded. If an identifier is new too, insert a secondary. [`Outcome::Merged`].
///
/// If no contact carries exactly the identifiers of a merge or of a match, and their set is not known to be stored
/// ([`Snapshot::with_evidence`]), it is stored: [`NewEvidence`].
///
/// Identifiers that are ignored ([`Snapshot::ignores`]) count as if the observation did not have them, and its answer
/// names them. With no other identifier, it is refused: [`Refusal::OnlyIgnored`].
///
/// An observation that would leave an identity with more than `max_contacts` contacts changes nothing:
/// [`IdentityTooLarge`]. The other observations go on as if it were not there.
///
/// `known` must hold every identity that owns an identifier of the observations. These identities must not change until
/// the plan is written: the resolver's lock protocol ensures that. `now` is the database's clock.
///
/// ```
/// use identity::domain::{ContactId, Email, Identifier, IdentifierKind, Observation, Outcome, PhoneNumber};
/// use identity::domain::{Snapshot, Timestamp, plan};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let observation = |email, phone| -> Result<Observation, Box<dyn std::error::Error>> {
///     let email = Email::parse(email)?.map(Identifier::from);
///     let phone = PhoneNumber::parse(phone, None)?.map(Identifier::from);
///     Ok(Observation::new(email.into_iter().chain(phone))?)
/// };
/// let checkouts =
///     [observation("lorraine@hillvalley.edu", "123456")?, observation("mcfly@hillvalley.edu", "123456")?];
///
/// // The tables are empty, so both checkouts insert a contact.
/// let plan = plan(&checkouts, &Snapshot::new(Vec::new()), Timestamp(0), 10_000);
/// assert_eq!(plan.new_contacts.len(), 2);
///
/// // The answers, after the database gave the contacts the ids 1 and 2.
/// let answers = plan.answers(&[ContactId(1), ContactId(2)]).into_iter().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(answers[0].outcome, Outcome::Created);
/// assert_eq!(answers[1].outcome, Outcome::Linked);
/// let identity = &answers[1].identity;
/// assert_eq!(identity.primary().id, ContactId(1));
/// assert_eq!(identity.values(IdentifierKind::Email), ["lorraine@hillvalley.edu", "mcfly@hillvalley.edu"]);
/// # Ok(())
/// # }
/// ```
pub fn plan(observations: &[Observation], known: &Snapshot, now: Timestamp, max_contacts: usize) -> Plan {
    let mut planner = Planner::new(known, now, max_contacts);
    let answers = (1..).zip(observations).map(|(step, observation)| planner.observe(observation, step)).collect();
    planner.finish(answers)
}

/// A draft, or where its contacts went.
enum Slot {
    Draft(Draft),
    AbsorbedBy(usize),
}

/// The state of the plan after some observations.
struct Planner<'a> {
    known: &'a Snapshot,
    max_contacts: usize,
    /// Begins with one for each known identity, in order.
    drafts: Vec<Slot>,
    /// The draft that owns an identifier of the plan. [`Snapshot::owners`] has the others. If that draft was absorbed,
    /// see [`Self::surviving`].
    new_owners: HashMap<Identifier, usize>,
    clock: CreationClock,
    new_contacts: Vec<NewContact>,
    new_identifiers: Vec<(Identifier, ContactRef)>,
    merges: Vec<Merge>,
    /// Each with its draft.
    new_evidence: BTreeMap<SetKey, (NewEvidence, usize)>,
}

impl<'a> Planner<'a> {
    fn new(known: &'a Snapshot, now: Timestamp, max_contacts: usize) -> Self {
        let sets = |identity: &Identity| known.evidence().counts.get(&identity.root()).copied().unwrap_or_default();
        let stored = known.identities().iter().enumerate();
        let stored = stored.map(|(number, one)| Slot::Draft(Draft::from_stored(number, one, sets(one))));
        Self {
            known,
            max_contacts,
            drafts: stored.collect(),
            new_owners: HashMap::new(),
            clock: CreationClock::new(known, now),
            new_contacts: Vec::new(),
            new_identifiers: Vec::new(),
            merges: Vec::new(),
            new_evidence: BTreeMap::new(),
        }
    }

    /// Applies the rules to one observation. Steps count from 1.
    fn observe(&mut self, observation: &Observation, step: u32) -> Result<PlannedAnswer, Refusal> {
        let (Some(joining), ignored) = self.known.split(observation) else { return Err(Refusal::OnlyIgnored) };
        Ok(PlannedAnswer { ignored, ..self.resolve(&joining, step)? })
    }

    /// Applies the rules to an observation without ignored identifiers.
    fn resolve(&mut self, observation: &Observation, step: u32) -> Result<PlannedAnswer, IdentityTooLarge> {
        let (owned, new): (Vec<&Identifier>, Vec<&Identifier>) =
            observation.identifiers().iter().partition(|identifier| self.owner(identifier).is_some());
        let owners = self.owners_oldest_first(&owned);
        let Some((&survivor, absorbed)) = owners.split_first() else {
            let created = self.create(observation, step);
            return Ok(self.answer(Outcome::Created, created, step));
        };
        let outcome = match (absorbed.is_empty(), new.is_empty()) {
            (false, _) => Outcome::Merged,
            (true, false) => Outcome::Linked,
            (true, true) => {
                self.store_set(survivor, observation, EvidenceOrigin::Match);
                return Ok(self.answer(Outcome::Matched, survivor, step));
            }
        };
        let contact_counts = owners.iter().map(|&draft| self.draft(draft).contact_count());
        if contact_counts.sum::<usize>() + usize::from(!new.is_empty()) > self.max_contacts {
            return Err(IdentityTooLarge { limit: self.max_contacts });
        }
        for &other in absorbed {
            self.merge(survivor, other, &owned);
        }
        if new.is_empty() {
            self.store_set(survivor, observation, EvidenceOrigin::Merge);
        } else {
            self.link(survivor, observation, new, step);
        }
        Ok(self.answer(outcome, survivor, step))
    }

    /// Returns the draft that owns the identifier, or that was absorbed by the owner.
    fn owner(&self, identifier: &Identifier) -> Option<usize> {
        self.new_owners.get(identifier).or_else(|| self.known.owners().get(identifier)).copied()
    }

    /// Returns the drafts that own these identifiers, each once. The draft with the oldest primary is first.
    fn owners_oldest_first(&self, owned: &[&Identifier]) -> Vec<usize> {
        let owners = owned.iter().filter_map(|identifier| self.owner(identifier));
        let mut owners: Vec<usize> = owners.map(|owner| self.surviving(owner)).collect();
        owners.sort_by_key(|&draft| (self.draft(draft).primary(), draft));
        owners.dedup();
        owners
    }

    /// Returns the draft that a draft belongs to after all merges so far.
    fn surviving(&self, mut draft: usize) -> usize {
        while let Slot::AbsorbedBy(survivor) = self.drafts[draft] {
            draft = survivor;
        }
        draft
    }

    fn create(&mut self, observation: &Observation, step: u32) -> usize {
        let contact = self.insert(observation, self.clock.now, Link::Primary);
        let draft = self.drafts.len();
        self.set_owner(observation.identifiers().iter(), draft, contact.id);
        self.drafts.push(Slot::Draft(Draft::from_new(draft, contact, step)));
        draft
    }

    fn link(&mut self, draft: usize, observation: &Observation, new: Vec<&Identifier>, step: u32) {
        let (_, primary) = self.draft(draft).primary();
        // The new contact must be younger than all contacts of its identity, also if the database's clock stepped back.
        // Contacts of one plan may have the same time: their ids ascend and decide.
        let earliest = match self.draft(draft).newest() {
            (created_at, ContactRef::Stored(_)) => created_at.next(),
            (created_at, ContactRef::Planned(_)) => created_at,
        };
        let contact = self.insert(observation, earliest, Link::SecondaryOf(primary));
        self.set_owner(new.into_iter(), draft, contact.id);
        self.draft_mut(draft).add(contact, step);
    }

    fn merge(&mut self, survivor: usize, absorbed: usize, cause: &[&Identifier]) {
        let slot = std::mem::replace(&mut self.drafts[absorbed], Slot::AbsorbedBy(survivor));
        let Slot::Draft(other) = slot else { unreachable!("callers pass surviving drafts only") };
        self.merges.push(Merge {
            survivor: self.draft(survivor).primary().1,
            absorbed: other.primary().1,
            cause: cause.iter().map(|identifier| (*identifier).clone()).collect(),
            is_repair: false,
        });
        self.draft_mut(survivor).absorb(other);
    }

    /// Stores the set of an observation whose identifiers this draft owns, unless it is held already. Beyond
    /// [`MAX_EVIDENCE`] only the sets of merges are stored.
    fn store_set(&mut self, index: usize, observation: &Observation, origin: EvidenceOrigin) {
        let (set, draft) = (observation.identifiers(), self.draft(index));
        if set.len() < 2 || draft.carries_set(set) {
            return;
        }
        let key = SetKey::of(set);
        let is_full = origin == EvidenceOrigin::Match && draft.evidence() >= MAX_EVIDENCE;
        let row = self.known.evidence().sets.get(&key);
        let is_stored = row.is_some_and(|root| root.is_some_and(|root| draft.has_root(root)));
        if is_full || is_stored || self.new_evidence.contains_key(&key) {
            return;
        }
        let Some(contact) = draft.carrier(&set[0]) else { return }; // It owns the identifier, so there is one.
        let replaces = row.is_some();
        let new = NewEvidence { key, identifiers: observation.shared(), contact, origin, replaces };
        self.new_evidence.insert(key, (new, index));
        self.draft_mut(index).add_evidence();
    }

    fn insert(
        &mut self,
        observation: &Observation,
        earliest: Timestamp,
        link: Link<ContactRef>,
    ) -> Contact<ContactRef> {
        let id = ContactRef::Planned(self.new_contacts.len());
        let created_at = self.clock.first_free(earliest);
        let identifiers = observation.shared();
        self.new_contacts.push(NewContact {
            identifiers: Arc::clone(&identifiers),
            created_at,
            updated_at: created_at,
            link,
        });
        Contact::new(id, identifiers, created_at, link)
    }

    /// Makes the draft the owner of these identifiers, which `contact` brought.
    fn set_owner<'b>(&mut self, identifiers: impl Iterator<Item = &'b Identifier>, draft: usize, contact: ContactRef) {
        for identifier in identifiers {
            self.new_owners.insert(identifier.clone(), draft);
            self.new_identifiers.push((identifier.clone(), contact));
        }
    }

    fn draft(&self, index: usize) -> &Draft {
        let Slot::Draft(draft) = &self.drafts[index] else { unreachable!("callers pass surviving drafts only") };
        draft
    }

    fn draft_mut(&mut self, index: usize) -> &mut Draft {
        let Slot::Draft(draft) = &mut self.drafts[index] else { unreachable!("callers pass surviving drafts only") };
        draft
    }

    /// Returns the answer that shows the draft as it is now. Its places begin at 0: [`Self::finish`] moves them.
    fn answer(&self, outcome: Outcome, index: usize, step: u32) -> PlannedAnswer {
        let draft = self.draft(index);
        let places = 0..draft.drafts() as u32; // A plan has far fewer drafts than `u32` has numbers.
        let contact_count = draft.contact_count();
        PlannedAnswer { outcome, identity: index, contact_count, places, step, ignored: Vec::new() }
    }

    /// Compares each changed identity with its rows and collects every difference.
    fn finish(mut self, mut answers: Vec<Result<PlannedAnswer, Refusal>>) -> Plan {
        let drafts = || self.drafts.iter().filter_map(Slot::draft);
        let updated_at = self.clock.now.after(drafts().filter_map(Draft::latest_write).max());

        let (mut moves, mut relinks, mut touched) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut places = vec![0; self.drafts.len()];
        for draft in drafts() {
            draft.link_rows(updated_at, &mut self.new_contacts, (&mut moves, &mut relinks, &mut touched));
            draft.place(&mut places);
        }
        for answer in answers.iter_mut().flatten() {
            let first = places[answer.identity];
            answer.places = first..first + answer.places.end;
            answer.identity = self.surviving(answer.identity);
        }
        let holders: BTreeSet<usize> = self.new_evidence.values().map(|(_, draft)| self.surviving(*draft)).collect();
        let evidence_roots = holders.into_iter().flat_map(|draft| self.draft(draft).roots()).collect();
        relinks.sort_by_key(|relink| relink.contact);
        touched.sort();
        self.new_identifiers.sort();
        let identities = self.drafts.into_iter().map(|slot| match slot {
            Slot::Draft(draft) => Some(draft.into_planned(&places, updated_at, &self.new_contacts)),
            Slot::AbsorbedBy(_) => None,
        });
        Plan {
            identities: identities.collect(),
            new_contacts: self.new_contacts,
            new_identifiers: self.new_identifiers,
            moves: moves.into_iter().map(|(from, to)| Move { from, to }).collect(),
            relinks,
            merges: self.merges,
            new_evidence: self.new_evidence.into_values().map(|(new, _)| new).collect(),
            touched,
            updated_at,
            evidence_roots,
            answers,
        }
    }
}

impl Slot {
    fn draft(&self) -> Option<&Draft> {
        match self {
            Self::Draft(draft) => Some(draft),
            Self::AbsorbedBy(_) => None,
        }
    }
}

/// Chooses the `createdAt` of new contacts.
struct CreationClock {
    now: Timestamp,
    /// Times from `now` on that a stored contact has already, because it was written by a clock ahead of this one.
    taken: HashSet<Timestamp>,
}

impl CreationClock {
    fn new(known: &Snapshot, now: Timestamp) -> Self {
        let contacts = known.identities().iter().flat_map(|identity| identity.contacts());
        Self { now, taken: contacts.map(|contact| contact.created_at).filter(|moment| *moment >= now).collect() }
    }

    /// Returns the first time, not before `now` and not before `earliest`, that no stored contact has.
    ///
    /// The ids of two contacts decide if their times are equal. The id of a new row is not known yet, and on a cluster
    /// it can be smaller than that of an older row.
    fn first_free(&self, earliest: Timestamp) -> Timestamp {
        let mut moment = self.now.max(earliest);
        while self.taken.contains(&moment) {
            moment = moment.next();
        }
        moment
    }
}
