use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, ensure};
use identity::domain::{Answer, Contact, ContactId, Identifier, Link, Observation, Outcome, SetKey};
use identity::resolver::IdentifyError;

use crate::failures::check_failure;
use crate::graph_reads_check::check_reads;
use crate::noted::check_notes;
use crate::schedule::{Failure, Fate, Item, Run};
use crate::tables::{EvidenceRow, Tables, root};
use crate::validated::check_validated;

/// Fails unless a schedule kept every promise.
pub(crate) fn check(run: &Run) -> Result<()> {
    check_rows(&run.tables)?;
    check_ignored(run)?;
    if run.conditions.shown_late == 0 {
        check_versions(&run.tables)?;
    }
    check_sizes(run)?;
    check_evidence(run)?;
    run.items.iter().try_for_each(|item| check_failure(run, item).context(show(item)))?;
    check_answers(run)?;
    check_validated(run)?;
    check_notes(run)?;
    check_reads(run)?;
    check_bringers(run)
}

/// The rows of a schedule.
pub(crate) fn places(run: &Run) -> Places<'_> {
    (0..).zip(run.tables.contacts.values()).map(|(place, row)| (row.id, (place, row))).collect()
}

/// Fails unless the answers of a schedule agree with each other.
pub(crate) fn check_answers(run: &Run) -> Result<()> {
    let places = places(run);
    let answers = run.items.iter().filter_map(|item| Some(Known::of(item, &places)?.context(show(item))));
    let answers: Vec<Known> = answers.collect::<Result<_>>()?;
    let sent: Vec<Sent> = run.items.iter().filter(|item| may_be_written(item)).map(Sent::of).collect();
    answers.iter().try_for_each(|answer| check_answer(&sent, answer).context(show(answer.item)))?;
    check_order(&answers)?;
    check_writers(&answers)
}

/// A set of identifiers by their numbers, 0 to 127, or of contacts by their places in the table: there are no more of
/// them, as each brought an identifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Set(u128);

impl Set {
    pub(crate) fn of<'a>(identifiers: impl IntoIterator<Item = &'a Identifier>) -> Self {
        Self(identifiers.into_iter().fold(0, |set, one| set | 1 << one.value().parse::<u32>().unwrap()))
    }

    /// The set of one number.
    pub(crate) fn one(number: u32) -> Self {
        Self(1 << number)
    }

    /// The set of its lowest number alone.
    pub(crate) fn lowest(self) -> Self {
        Self(self.0 & self.0.wrapping_neg())
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// All that these observations connect with it.
    pub(crate) fn flood(self, observations: &[Self]) -> Self {
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

/// The rows of contacts, and the number of each in a [`Set`].
pub(crate) type Places<'a> = HashMap<ContactId, (u32, &'a Contact)>;

/// What somebody asked, as a set.
pub(crate) struct Sent<'a> {
    pub(crate) item: &'a Item,
    pub(crate) observation: Set,
}

impl<'a> Sent<'a> {
    pub(crate) fn of(item: &'a Item) -> Self {
        Self { item, observation: (&item.observation).into() }
    }
}

/// An answer, as sets.
pub(crate) struct Known<'a> {
    pub(crate) item: &'a Item,
    answer: &'a Answer,
    pub(crate) observation: Set,
    pub(crate) identifiers: Set,
    pub(crate) contacts: Set,
    /// The youngest contact.
    newest: Set,
}

impl<'a> Known<'a> {
    /// The answer, if there was one. It must consist of rows that are there.
    pub(crate) fn of(item: &'a Item, places: &Places) -> Option<Result<Self>> {
        let Fate::Answered(answer) = &item.fate else { return None };
        Some(Self::of_answer(item, answer, places))
    }

    fn of_answer(item: &'a Item, answer: &'a Answer, places: &Places) -> Result<Self> {
        let (mut identifiers, mut contacts, mut newest) = (Set::default(), Set::default(), Set::default());
        let mut roots = BTreeSet::new();
        for contact in answer.identity.contacts() {
            let (place, row) = places.get(&contact.id).with_context(|| format!("{contact:?} was not kept"))?;
            let is_same = row.identifiers == contact.identifiers && row.created_at == contact.created_at;
            ensure!(is_same, "{contact:?} was answered, {row:?} is kept");
            identifiers = identifiers.with((*row).into());
            newest = Set::one(*place);
            contacts = contacts.with(newest);
            roots.insert(root(row));
        }
        ensure!(roots.len() == 1, "contacts of several identities: {roots:?}");
        Ok(Self { item, answer, observation: (&item.observation).into(), identifiers, contacts, newest })
    }

    /// The contact that its request brought, if the outcome says so.
    pub(crate) fn own_contact(&self) -> Option<Set> {
        matches!(self.answer.outcome, Outcome::Created | Outcome::Linked).then_some(self.newest)
    }

    fn is_within(&self, other: &Self) -> bool {
        self.identifiers.is_within(other.identifiers) && self.contacts.is_within(other.contacts)
    }
}

/// An answer names the ignored identifiers of its request, and a request without any other has no answer.
fn check_ignored(run: &Run) -> Result<()> {
    for item in &run.items {
        if let Fate::Answered(answer) = &item.fate {
            ensure!(answer.ignored == item.ignored, "other identifiers are said to be ignored: {}", show(item));
        }
    }
    for item in &run.of_nobody {
        let is_refused = matches!(item.fate, Fate::Failed(Failure { error: IdentifyError::OnlyIgnored, .. }));
        ensure!(is_refused || item.began <= run.well_from, "not refused, though all was well by then: {}", show(item));
        ensure!(!matches!(item.fate, Fate::Answered(_)), "it belongs to nobody: {}", show(item));
    }
    let ignored = run.conditions.ignored();
    let is_carried = |row: &&Contact| row.shown().any(|one| ignored.contains(one));
    ensure!(!run.tables.contacts.values().any(|row| is_carried(&row)), "a contact was inserted with an ignored one");
    Ok(())
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

/// A change of an identity writes its root. With several primaries a transaction also writes all other rows that it
/// has locked, such as a root that was absorbed meanwhile. No copy is used there, so a version need not mean a change.
fn check_versions(tables: &Tables) -> Result<()> {
    for row in tables.contacts.values() {
        let primary = tables.contacts.get(&root(row)).context("a link to no row")?;
        ensure!(primary.updated_at >= row.updated_at, "{row:?} changed, and its primary {primary:?} did not");
    }
    Ok(())
}

/// No identity has more contacts than it may have.
fn check_sizes(run: &Run) -> Result<()> {
    let mut sizes: BTreeMap<ContactId, usize> = BTreeMap::new();
    run.tables.contacts.values().for_each(|row| *sizes.entry(root(row)).or_default() += 1);
    let too_large = sizes.iter().find(|(_, size)| **size > run.conditions.max_contacts);
    ensure!(too_large.is_none(), "an identity of more than {} contacts: {too_large:?}", run.conditions.max_contacts);
    Ok(())
}

/// The identities are what the sets of contacts and of table `Evidence` connect; each of these somebody has sent; each
/// is held once; and the set of whatever was acknowledged is held.
fn check_evidence(run: &Run) -> Result<()> {
    let mut identities: BTreeMap<ContactId, Set> = BTreeMap::new();
    for row in run.tables.contacts.values() {
        let identity = identities.entry(root(row)).or_default();
        *identity = identity.with(row.into());
    }
    let carried: Vec<Set> = run.tables.contacts.values().map(Set::from).collect();
    let caused = run.tables.merges.iter().map(|merge| Set::of(&merge.cause));
    let mut evidence = carried.clone();
    for row in &run.tables.evidence {
        check_evidence_row(run, row, &identities)?;
        let set = Set::of(&row.identifiers);
        ensure!(!evidence.contains(&set), "{row:?} is held twice");
        evidence.push(set);
    }
    for identity in identities.values() {
        let seed = identity.lowest();
        ensure!(seed.flood(&evidence) == *identity, "{identity:?} is not what contacts and evidence join");
    }
    let sent: BTreeSet<Set> =
        run.items.iter().filter(|item| may_be_written(item)).map(|item| (&item.observation).into()).collect();
    for set in &evidence {
        ensure!(sent.contains(set), "nobody sent {set:?}, and it is stored");
    }
    for cause in caused {
        ensure!(sent.iter().any(|one| cause.is_within(*one)), "nobody sent {cause:?}, the cause of a merge");
    }
    for item in run.items.iter().filter(|item| matches!(item.fate, Fate::Answered(_))) {
        let observation = Set::from(&item.observation);
        let is_kept = identities.values().any(|identity| observation.is_within(*identity));
        ensure!(is_kept, "acknowledged, and not in the tables: {}", show(item));
        let is_held = item.observation.identifiers().len() < 2 || evidence.contains(&observation);
        ensure!(is_held, "acknowledged, and its set is not held: {}", show(item));
    }
    Ok(())
}

/// A row of `Evidence` is a set of one identity, under its key; it was written with the root.
fn check_evidence_row(run: &Run, row: &EvidenceRow, identities: &BTreeMap<ContactId, Set>) -> Result<()> {
    let is_key = row.key == SetKey::of(&row.identifiers) && row.identifiers.len() > 1;
    ensure!(is_key, "{row:?} has another key");
    let contact = run.tables.contacts.get(&row.contact).with_context(|| format!("{row:?} is of no contact"))?;
    ensure!(Set::from(contact).meets(Set::of(&row.identifiers)), "{row:?} is of a contact that carries none of it");
    ensure!(Set::of(&row.identifiers).is_within(identities[&root(contact)]), "{row:?} is of several");
    let primary = &run.tables.contacts[&root(contact)];
    ensure!(primary.updated_at >= row.created_at, "{row:?} was written, and its root {primary:?} was not");
    Ok(())
}

/// What was refused at once was not begun, and what would make an identity too large writes nothing.
pub(crate) fn may_be_written(item: &Item) -> bool {
    use IdentifyError::{IdentityTooLarge, Overloaded};
    !matches!(item.fate, Fate::Failed(Failure { error: Overloaded | IdentityTooLarge(_), .. }))
}

/// The answer has what was asked for, and nothing that could not have been known.
fn check_answer(sent: &[Sent], known: &Known) -> Result<()> {
    let item = known.item;
    ensure!(known.observation.is_within(known.identifiers), "the answer lacks what was asked for");
    ensure!(known.answer.identity.contacts().is_sorted_by_key(Contact::age), "the contacts are not sorted by age");
    // What joined them is within the answer itself. A list is handled in order.
    let is_later = |other: &Item| other.call == item.call && other.place > item.place;
    let begun = sent.iter().filter(|other| other.item.began < item.ended && !is_later(other.item));
    let begun: Vec<Set> = begun.map(|other| other.observation).filter(|one| one.is_within(known.identifiers)).collect();
    ensure!(known.observation.flood(&begun) == known.identifiers, "nothing sent by then joins what is in the answer");
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
    let is_first = one.item.call == other.item.call && one.item.place < other.item.place;
    let is_of_same = other.identifiers.meets(one.observation);
    one.item.ended < other.item.began || is_first && is_of_same
}

/// Every contact was brought by one request.
fn check_writers(answers: &[Known]) -> Result<()> {
    let mut writers = BTreeMap::new();
    for known in answers {
        let contacts: Vec<&Contact> = known.answer.identity.contacts().collect();
        let newest = contacts[contacts.len() - 1];
        match known.answer.outcome {
            Outcome::Created => ensure!(contacts.len() == 1, "created, and not alone: {}", show(known.item)),
            Outcome::Merged => ensure!(contacts.len() > 1, "merged, and alone: {}", show(known.item)),
            Outcome::Linked | Outcome::Matched => {}
        }
        if let Outcome::Created | Outcome::Linked = known.answer.outcome {
            ensure!(Set::from(newest) == known.observation, "its contact is not its own: {}", show(known.item));
            if let Some(writer) = writers.insert(newest.id, known.item) {
                anyhow::bail!("both brought {:?}:\n{}\n{}", newest.id, show(writer), show(known.item));
            }
        }
    }
    Ok(())
}

/// No answer says that a contact was there already if its request brought it: a contact came with a request whose
/// answer says so, or with one that got no answer.
fn check_bringers(run: &Run) -> Result<()> {
    let may_have_brought = |item: &&Item| match &item.fate {
        Fate::Answered(answer) => answer.outcome != Outcome::Matched,
        Fate::Failed(_) | Fate::Abandoned => may_be_written(item),
    };
    let brought: BTreeSet<Set> =
        run.items.iter().filter(may_have_brought).map(|item| (&item.observation).into()).collect();
    for row in run.tables.contacts.values() {
        ensure!(brought.contains(&row.into()), "the request that brought {row:?} was answered that it was there");
    }
    Ok(())
}

pub(crate) fn show(item: &Item) -> String {
    format!("item {} of call {}: {item:?}", item.place, item.call)
}
