//! The rules: what each observation does to the identities.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::contact::{Contact, ContactRef, Link, Timestamp};
use super::identifier::Identifier;
use super::identity::Identity;
use super::observation::Observation;
use super::plan::{Answer, Merge, Move, NewContact, Outcome, Plan, Relink};
use super::snapshot::Snapshot;

/// Plans a list of observations, exactly as if they came one at a time in this order.
///
/// The rules, for each observation, by the number of identities that own its identifiers:
///
/// - **None**: insert a primary. [`Outcome::Created`].
/// - **One that owns all identifiers**: write nothing. [`Outcome::Matched`].
/// - **One, but an identifier is new**: insert a secondary that carries the whole observation. [`Outcome::Linked`].
/// - **Several**: the identity with the oldest primary survives. All contacts of the others become its secondaries, and
///   the merge is recorded. If an identifier is new too, insert a secondary. [`Outcome::Merged`].
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
/// let plan = plan(&checkouts, &Snapshot::new(Vec::new()), Timestamp(0));
/// assert_eq!(plan.new_contacts.len(), 2);
///
/// // The answers, after the database gave the contacts the ids 1 and 2.
/// let answers = plan.answers(&[ContactId(1), ContactId(2)]);
/// assert_eq!(answers[0].outcome, Outcome::Created);
/// assert_eq!(answers[1].outcome, Outcome::Linked);
/// let identity = &answers[1].identity;
/// assert_eq!(identity.primary().id, ContactId(1));
/// assert_eq!(identity.values(IdentifierKind::Email), ["lorraine@hillvalley.edu", "mcfly@hillvalley.edu"]);
/// # Ok(())
/// # }
/// ```
pub fn plan(observations: &[Observation], known: &Snapshot, now: Timestamp) -> Plan {
    let mut planner = Planner::new(known, now);
    let answers = observations.iter().map(|observation| planner.observe(observation)).collect();
    planner.finish(answers)
}

/// An identity with the changes of the plan so far.
struct Draft {
    identity: Arc<Identity<ContactRef>>,
    changed: bool,
}

/// The state of the plan after some observations.
struct Planner {
    /// `None` for an identity that another absorbed.
    drafts: Vec<Option<Draft>>,
    /// The index of the draft that owns an identifier. If that draft was absorbed, follow `absorbed_by`.
    owners: HashMap<Identifier, usize>,
    absorbed_by: HashMap<usize, usize>,
    clock: CreationClock,
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
            clock: CreationClock::new(known, now),
            new_contacts: Vec::new(),
            new_identifiers: Vec::new(),
            merges: Vec::new(),
        }
    }

    /// Applies the rules to one observation.
    fn observe(&mut self, observation: &Observation) -> Answer<ContactRef> {
        let (owned, new): (Vec<&Identifier>, Vec<&Identifier>) =
            observation.identifiers().iter().partition(|identifier| self.owners.contains_key(*identifier));
        let owners = self.owners_oldest_first(&owned);
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

    /// Returns the drafts that own these identifiers, each once. The draft with the oldest primary is first.
    fn owners_oldest_first(&self, owned: &[&Identifier]) -> Vec<usize> {
        let mut owners: Vec<usize> = owned.iter().map(|identifier| self.surviving(self.owners[*identifier])).collect();
        owners.sort_by_key(|&draft| (self.draft(draft).identity.primary().age(), draft));
        owners.dedup();
        owners
    }

    /// Returns the draft that a draft belongs to after all merges so far.
    fn surviving(&self, mut draft: usize) -> usize {
        while let Some(&survivor) = self.absorbed_by.get(&draft) {
            draft = survivor;
        }
        draft
    }

    fn create(&mut self, observation: &Observation) -> usize {
        let contact = self.insert(observation, self.clock.now, Link::Primary);
        let draft = self.drafts.len();
        self.set_owner(observation.identifiers().iter(), draft, contact.id);
        self.drafts.push(Some(Draft { identity: Arc::new(Identity::from_contact(contact)), changed: false }));
        draft
    }

    fn link(&mut self, draft: usize, observation: &Observation, new: Vec<&Identifier>) {
        let identity = &self.draft(draft).identity;
        let primary = identity.primary().id;
        // The new contact must be younger than all contacts of its identity, also if the database's clock stepped back.
        // Contacts of one plan may have the same time: their ids ascend and decide.
        let newest = identity.newest();
        let earliest = match newest.id {
            ContactRef::Stored(_) => newest.created_at.next(),
            ContactRef::Planned(_) => newest.created_at,
        };
        let contact = self.insert(observation, earliest, Link::SecondaryOf(primary));
        self.set_owner(new.into_iter(), draft, contact.id);
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
    fn set_owner<'a>(&mut self, identifiers: impl Iterator<Item = &'a Identifier>, draft: usize, contact: ContactRef) {
        for identifier in identifiers {
            self.owners.insert(identifier.clone(), draft);
            self.new_identifiers.push((identifier.clone(), contact));
        }
    }

    fn draft(&self, index: usize) -> &Draft {
        self.drafts[index].as_ref().unwrap_or_else(|| unreachable!("callers pass surviving drafts only"))
    }

    fn change(&mut self, index: usize) -> &mut Identity<ContactRef> {
        let draft = self.drafts[index].as_mut().unwrap_or_else(|| unreachable!("callers pass surviving drafts only"));
        draft.changed = true;
        Arc::make_mut(&mut draft.identity) // This copies the identity only if an earlier answer holds it.
    }

    fn answer(&self, outcome: Outcome, draft: usize) -> Answer<ContactRef> {
        Answer { outcome, identity: Arc::clone(&self.draft(draft).identity) }
    }

    /// Compares each changed identity with its rows and collects every difference.
    fn finish(mut self, answers: Vec<Answer<ContactRef>>) -> Plan {
        let changed: Vec<Arc<Identity<ContactRef>>> =
            self.drafts.into_iter().flatten().filter(|draft| draft.changed).map(|draft| draft.identity).collect();
        let contacts = || changed.iter().flat_map(|identity| identity.rows());
        let newest_write = contacts().map(|contact| contact.updated_at.max(contact.created_at)).max();
        let updated_at = self.clock.now.after(newest_write);

        let mut moves = BTreeMap::new();
        let mut relinks = Vec::new();
        let mut touched = Vec::new();
        for identity in &changed {
            let primary = identity.primary();
            for contact in identity.rows() {
                let link = if contact.id == primary.id { Link::Primary } else { Link::SecondaryOf(primary.id) };
                match contact.id {
                    ContactRef::Stored(id) if contact.link != link => match (contact.link, link) {
                        // The identity has all rows that are linked to its root: they move together.
                        (Link::SecondaryOf(ContactRef::Stored(from)), Link::SecondaryOf(to)) => {
                            moves.insert(from, to);
                        }
                        _ => relinks.push(Relink { contact: id, link }),
                    },
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
            moves: moves.into_iter().map(|(from, to)| Move { from, to }).collect(),
            relinks,
            merges: self.merges,
            touched,
            updated_at,
            answers,
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
