use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use identity::domain::{Answer, Contact, ContactId, Identifier, Link, Observation, Outcome};
use identity::resolver::IdentifyError;

use crate::schedule::{Fate, Item, Run};
use crate::tables::{Tables, root};

/// Fails unless a schedule kept every promise.
pub(crate) fn check(run: &Run) -> Result<()> {
    check_rows(&run.tables)?;
    check_evidence(run)?;
    run.items.iter().try_for_each(|item| check_failure(run, item).context(show(item)))?;
    let answers: Vec<Known> = run.items.iter().filter_map(Known::of).collect();
    answers.iter().try_for_each(|answer| check_answer(run, answer).context(show(answer.item)))?;
    check_order(&answers)?;
    check_writers(&answers)
}

/// A set of identifiers; they are numbered from 0 to 63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Set(u64);

impl Set {
    fn of<'a>(identifiers: impl IntoIterator<Item = &'a Identifier>) -> Self {
        Self(identifiers.into_iter().fold(0, |set, one| set | 1 << one.value().parse::<u32>().unwrap()))
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All that these observations connect with it.
    fn flood(self, observations: &[Self]) -> Self {
        let step = |reached: Self, one: &Self| if one.meets(reached) { reached.with(*one) } else { reached };
        let reached = observations.iter().fold(self, step);
        if reached == self { reached } else { reached.flood(observations) }
    }
}

impl From<&Observation> for Set {
    fn from(observation: &Observation) -> Self {
        Self::of(observation.identifiers())
    }
}

impl From<&Contact> for Set {
    fn from(contact: &Contact) -> Self {
        Self::of(contact.identifiers.iter())
    }
}

/// An answer, as sets.
struct Known<'a> {
    item: &'a Item,
    answer: &'a Answer,
    identifiers: Set,
    contacts: BTreeSet<ContactId>,
}

impl<'a> Known<'a> {
    fn of(item: &'a Item) -> Option<Self> {
        let Fate::Answered(answer) = &item.fate else { return None };
        let contacts = answer.identity.contacts();
        let identifiers = Set::of(contacts.iter().flat_map(|contact| contact.identifiers.iter()));
        Some(Self { item, answer, identifiers, contacts: contacts.iter().map(|contact| contact.id).collect() })
    }

    fn is_within(&self, other: &Self) -> bool {
        self.identifiers.is_within(other.identifiers) && self.contacts.is_subset(&other.contacts)
    }
}

/// Flat; one primary each, the oldest; every identifier owned once, by a contact of the identity that carries it.
fn check_rows(tables: &Tables) -> Result<()> {
    let primary = |row: &Contact| tables.contacts.get(&root(row)).context("a link to no row");
    let age = |row: &Contact| (row.created_at, row.id);
    for row in tables.contacts.values() {
        let primary = primary(row).with_context(|| format!("{row:?}"))?;
        ensure!(primary.link == Link::Primary, "{row:?} links to {primary:?}, which is no primary");
        ensure!(age(primary) <= age(row), "{row:?} is older than its primary {primary:?}");
        ensure!(row.updated_at >= row.created_at, "{row:?} was updated before it was there");
        ensure!(primary.updated_at >= row.updated_at, "{row:?} changed, and its primary {primary:?} did not");
        for identifier in row.identifiers.iter() {
            let owner = tables.identifiers.get(identifier).and_then(|owner| tables.contacts.get(owner));
            let owner = owner.with_context(|| format!("nobody owns an identifier of {row:?}"))?;
            ensure!(root(owner) == primary.id, "{row:?} carries what {owner:?} of another identity owns");
        }
    }
    for (identifier, owner) in &tables.identifiers {
        let owner = tables.contacts.get(owner).context("an identifier of no contact")?;
        ensure!(owner.identifiers.contains(identifier), "{owner:?} does not carry what it owns");
    }
    let bringers: BTreeSet<ContactId> = tables.identifiers.values().copied().collect();
    ensure!(bringers.len() == tables.contacts.len(), "a contact that brought nothing new");
    for merge in &tables.merges {
        let of = |id| tables.contacts.get(id).context("a merge of no contact");
        let (survivor, absorbed) = (of(&merge.survivor)?, of(&merge.absorbed)?);
        ensure!(root(survivor) == root(absorbed), "{merge:?} did not last");
        ensure!(absorbed.link != Link::Primary, "{merge:?}, and the absorbed one is a primary");
        ensure!(merge.cause.len() > 1, "{merge:?} has no cause");
    }
    Ok(())
}

/// The identities are what contacts and merges show to be connected; each of these somebody has sent; and what
/// was acknowledged is in one identity.
fn check_evidence(run: &Run) -> Result<()> {
    let mut identities: BTreeMap<ContactId, Set> = BTreeMap::new();
    for row in run.tables.contacts.values() {
        let identity = identities.entry(root(row)).or_default();
        *identity = identity.with(row.into());
    }
    let carried = run.tables.contacts.values().map(Set::from);
    let caused = run.tables.merges.iter().map(|merge| Set::of(&merge.cause));
    let evidence: Vec<Set> = carried.clone().chain(caused.clone()).collect();
    for identity in identities.values() {
        let seed = Set(1 << identity.0.trailing_zeros());
        ensure!(seed.flood(&evidence) == *identity, "{identity:?} is not what contacts and merges join");
    }
    let sent: BTreeSet<Set> =
        run.items.iter().filter(|item| may_be_written(item)).map(|item| (&item.observation).into()).collect();
    for contact in carried {
        ensure!(sent.contains(&contact), "nobody sent {contact:?}, and a contact carries it");
    }
    for cause in caused {
        ensure!(sent.iter().any(|one| cause.is_within(*one)), "nobody sent {cause:?}, the cause of a merge");
    }
    for item in run.items.iter().filter(|item| matches!(item.fate, Fate::Answered(_))) {
        let observation = Set::from(&item.observation);
        let is_kept = identities.values().any(|identity| observation.is_within(*identity));
        ensure!(is_kept, "acknowledged, and not in the tables: {}", show(item));
    }
    Ok(())
}

/// What was refused at once was not begun.
fn may_be_written(item: &Item) -> bool {
    !matches!(item.fate, Fate::Failed(IdentifyError::Overloaded, _))
}

fn check_failure(run: &Run, item: &Item) -> Result<()> {
    if item.began > run.well_from {
        ensure!(matches!(item.fate, Fate::Answered(_)), "not answered, though all was well by then");
    }
    let Fate::Failed(error, has_passed) = item.fate else { return Ok(()) };
    match error {
        IdentifyError::Unavailable => ensure!(run.faults > 0, "the database was never out of reach"),
        IdentifyError::DeadlineExceeded => ensure!(has_passed != Some(false), "the deadline had not passed"),
        IdentifyError::Overloaded => {
            ensure!(has_passed.is_some(), "refused, instead of waiting its turn");
        }
        IdentifyError::IdTaken | IdentifyError::Internal => anyhow::bail!("no fault of the store gives cause for it"),
    }
    Ok(())
}

/// The answer is of one identity, has what was asked for, and nothing that could not have been known.
fn check_answer(run: &Run, known: &Known) -> Result<()> {
    let (item, contacts) = (known.item, known.answer.identity.contacts());
    let observation = Set::from(&item.observation);
    ensure!(observation.is_within(known.identifiers), "the answer lacks what was asked for");
    ensure!(contacts.is_sorted_by_key(Contact::age), "the contacts are not sorted by age");
    let mut roots = BTreeSet::new();
    for contact in contacts {
        let row = run.tables.contacts.get(&contact.id).with_context(|| format!("{contact:?} was not kept"))?;
        let is_same = row.identifiers == contact.identifiers && row.created_at == contact.created_at;
        ensure!(is_same, "{contact:?} was answered, {row:?} is kept");
        roots.insert(root(row));
    }
    ensure!(roots.len() == 1, "contacts of several identities: {roots:?}");
    // A list is handled in order. Where a commit was tried again, an answer can show the later items too.
    let is_later = |other: &Item| other.call == item.call && other.place > item.place && item.faults == 0;
    let begun = run.items.iter().filter(|other| other.began < item.ended && may_be_written(other) && !is_later(other));
    let begun: Vec<Set> = begun.map(|other| (&other.observation).into()).collect();
    ensure!(known.identifiers.is_within(observation.flood(&begun)), "the answer has what could not be known yet");
    Ok(())
}

/// Identities only grow: of two answers that meet, one is within the other; and it is the earlier one, where one
/// ended before the other began, or was ahead of it in a list.
///
/// From this follows that an answer has all that was connected and acknowledged before: each link of the chain
/// was in an earlier answer.
fn check_order(answers: &[Known]) -> Result<()> {
    for (index, one) in answers.iter().enumerate() {
        for other in &answers[index + 1..] {
            if !one.identifiers.meets(other.identifiers) {
                continue;
            }
            let pair = || format!("\n{}\n{}", show(one.item), show(other.item));
            let (is_within, has_within) = (one.is_within(other), other.is_within(one));
            ensure!(is_within || has_within, "two answers that overlap:{}", pair());
            ensure!(is_within || !is_ahead(one, other), "the later answer has less:{}", pair());
            ensure!(has_within || !is_ahead(other, one), "the later answer has less:{}", pair());
        }
    }
    Ok(())
}

/// Whether one was handled before the other, for certain: it had ended, or comes first in the same list and is about
/// a customer that the other's answer shows.
fn is_ahead(one: &Known, other: &Known) -> bool {
    let is_first = one.item.call == other.item.call && one.item.place < other.item.place && other.item.faults == 0;
    let is_of_same = other.identifiers.meets((&one.item.observation).into());
    one.item.ended < other.item.began || is_first && is_of_same
}

/// Every contact was brought by one request.
fn check_writers(answers: &[Known]) -> Result<()> {
    let mut writers = BTreeMap::new();
    for known in answers {
        let contacts = known.answer.identity.contacts();
        let newest = &contacts[contacts.len() - 1];
        match known.answer.outcome {
            Outcome::Created => ensure!(contacts.len() == 1, "created, and not alone: {}", show(known.item)),
            Outcome::Merged => ensure!(contacts.len() > 1, "merged, and alone: {}", show(known.item)),
            Outcome::Linked | Outcome::Matched => {}
        }
        if let Outcome::Created | Outcome::Linked = known.answer.outcome {
            let observation = Set::from(&known.item.observation);
            ensure!(Set::from(newest) == observation, "its contact is not its own: {}", show(known.item));
            if let Some(writer) = writers.insert(newest.id, known.item) {
                anyhow::bail!("both brought {:?}:\n{}\n{}", newest.id, show(writer), show(known.item));
            }
        }
    }
    Ok(())
}

fn show(item: &Item) -> String {
    format!("item {} of call {}: {item:?}", item.place, item.call)
}
