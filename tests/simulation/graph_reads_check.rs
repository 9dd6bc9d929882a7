//! The check of reads: each contains what was acknowledged before it began, and nothing that nobody had sent by its
//! end.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use identity::domain::{Contact, ContactId, Identifier, Identity, Link};

use crate::check::{Known, Places, Sent, Set, may_be_written, places};
use crate::failures::check_read_failure;
use crate::schedule::{Fate, Found, Question, Read, Run, contacts_of};
use crate::tables::root;

/// An identity as a call has shown it.
#[derive(Clone, Copy, Debug)]
struct Shown {
    began: usize,
    ended: usize,
    identifiers: Set,
    contacts: Set,
}

/// Fails unless each read was right.
pub(crate) fn check_reads(run: &Run) -> Result<()> {
    let places = places(run);
    let answers = run.items.iter().filter_map(|item| Known::of(item, &places)).collect::<Result<Vec<_>>>()?;
    let answered = answers.iter().map(|known| Shown {
        began: known.item.began,
        ended: known.item.ended,
        identifiers: known.identifiers,
        contacts: known.contacts,
    });
    let mut shown: Vec<Shown> = answered.collect();
    let of_answers = shown.len();
    for read in &run.reads {
        check_read_failure(run, read).with_context(|| format!("{read:?}"))?;
        shown.extend(shown_by(read, &places).with_context(|| format!("{read:?}"))?);
    }
    let sent: Vec<Sent> = run.items.iter().filter(|item| may_be_written(item)).map(Sent::of).collect();
    for (place, one) in shown.iter().enumerate().skip(of_answers) {
        one.check_causes(&sent).with_context(|| format!("{one:?}"))?;
        shown[..place].iter().try_for_each(|other| one.check_order(other))?;
    }
    for read in &run.reads {
        let acknowledged = shown.iter().filter(|one| one.ended < read.began);
        let acknowledged: Vec<&Shown> = acknowledged.collect();
        check_complete(run, read, &acknowledged, &places).with_context(|| format!("{read:?}"))?;
    }
    Ok(())
}

/// The identities in what a read has found.
fn shown_by(read: &Read, places: &Places) -> Result<Vec<Shown>> {
    let Some(Ok(found)) = &read.result else { return Ok(Vec::new()) };
    let of_identity = |identity: &Identity| Shown::of(read, &identity.contacts().iter().collect::<Vec<_>>(), places);
    match found {
        Found::LookUp(found) => found.identities.iter().map(|one| of_identity(one)).collect(),
        Found::Identity(found) => found.iter().map(|one| of_identity(one)).collect(),
        Found::History(found) => found.iter().map(|rows| Shown::of(read, &contacts_of(rows), places)).collect(),
        Found::Page(page) => page.identities.iter().map(|one| of_identity(one)).collect(),
    }
}

impl Shown {
    /// These contacts must be rows that are there, of one identity.
    fn of(read: &Read, contacts: &[&Contact], places: &Places) -> Result<Self> {
        let (mut identifiers, mut shown, mut roots) = (Set::default(), Set::default(), BTreeSet::new());
        for contact in contacts {
            let (place, row) = places.get(&contact.id).with_context(|| format!("{contact:?} was not kept"))?;
            let is_same = row.identifiers == contact.identifiers && row.created_at == contact.created_at;
            ensure!(is_same, "{contact:?} was found, {row:?} is kept");
            (identifiers, shown) = (identifiers.with((*row).into()), shown.with(Set::one(*place)));
            roots.insert(root(row));
        }
        ensure!(roots.len() == 1, "contacts of several identities: {roots:?}");
        Ok(Self { began: read.began, ended: read.ended, identifiers, contacts: shown })
    }

    fn is_within(&self, other: &Self) -> bool {
        self.identifiers.is_within(other.identifiers) && self.contacts.is_within(other.contacts)
    }

    /// Somebody had sent what joins it.
    fn check_causes(&self, sent: &[Sent]) -> Result<()> {
        let begun = sent.iter().filter(|other| other.item.began < self.ended).map(|other| other.observation);
        let begun: Vec<Set> = begun.filter(|one| one.is_within(self.identifiers)).collect();
        ensure!(self.identifiers.lowest().flood(&begun) == self.identifiers, "nothing sent by then joins it");
        Ok(())
    }

    /// Of two that overlap, one is in the other, and the later one has no less.
    fn check_order(&self, other: &Self) -> Result<()> {
        if !self.identifiers.meets(other.identifiers) {
            return Ok(());
        }
        let (is_within, has_within) = (self.is_within(other), other.is_within(self));
        ensure!(is_within || has_within, "two that overlap: {self:?} {other:?}");
        ensure!(is_within || self.ended >= other.began, "the later one has less: {self:?} {other:?}");
        ensure!(has_within || other.ended >= self.began, "the later one has less: {other:?} {self:?}");
        Ok(())
    }
}

/// It found each customer that had been shown before it began.
fn check_complete(run: &Run, read: &Read, acknowledged: &[&Shown], places: &Places) -> Result<()> {
    let Some(Ok(found)) = &read.result else { return Ok(()) };
    match (&read.question, found) {
        (Question::LookUp(asked), Found::LookUp(found)) => {
            let shown: Vec<Set> = found.identities.iter().map(|one| identifiers_of(one.contacts())).collect();
            for (place, one) in shown.iter().enumerate() {
                ensure!(!shown[..place].iter().any(|other| other.meets(*one)), "two identities that overlap");
                ensure!(one.meets(Set::of(asked)), "an identity that nobody asked for");
            }
            for identifier in asked {
                let is_found = shown.iter().any(|one| one.meets(Set::of([identifier])));
                ensure!(is_found != found.unknown.contains(identifier), "{identifier:?} is both, or neither");
                ensure!(is_found || !was_shown(acknowledged, Set::of([identifier])), "{identifier:?} was there");
            }
            let is_ignored = |one: &Identifier| run.conditions.ignored().contains(one);
            ensure!(asked.iter().all(|one| !is_ignored(one) || found.unknown.contains(one)), "of an ignored one");
        }
        (Question::Identity(contact), Found::Identity(found)) => {
            let has_it = found.as_ref().is_some_and(|one| one.has_contact(*contact));
            ensure!(has_it || found.is_none(), "the identity of another contact");
            ensure!(has_it || !was_known(acknowledged, *contact, places), "the contact was there");
        }
        (Question::History(contact), Found::History(None)) => {
            ensure!(!was_known(acknowledged, *contact, places), "the contact was there");
        }
        (Question::History(contact), Found::History(Some(rows))) => {
            ensure!(rows.has_live(*contact), "the history of another contact");
            let identifiers = identifiers_of(contacts_of(rows));
            let stored = rows.stored.iter().map(|set| Set::of(set.identifiers.iter()));
            let held: BTreeSet<Set> = contacts_of(rows).into_iter().map(Set::from).chain(stored).collect();
            ensure!(held.iter().all(|set| set.is_within(identifiers)), "it has a set of another identity");
            let answered = |fate: &Fate| matches!(fate, Fate::Answered(_));
            let before = run.items.iter().filter(|item| item.ended < read.began && answered(&item.fate));
            for item in before.filter(|item| item.observation.identifiers().len() > 1) {
                let set = Set::from(&item.observation);
                ensure!(!set.meets(identifiers) || held.contains(&set), "it lacks the set of {item:?}");
            }
            let begun = run.items.iter().filter(|item| item.began < read.ended && may_be_written(item));
            let begun: BTreeSet<Set> = begun.map(|item| (&item.observation).into()).collect();
            ensure!(held.is_subset(&begun), "it has a set that nobody had sent");
        }
        (Question::Page { after, limit }, Found::Page(page)) => {
            let roots: Vec<ContactId> = page.identities.iter().map(|one| one.root()).collect();
            let is_in = |id: ContactId| Some(id) > *after && page.next.is_none_or(|next| id <= next);
            ensure!(roots.is_sorted() && roots.len() <= *limit, "not a page: {roots:?}");
            ensure!(roots.iter().all(|id| is_in(*id)), "not of this page: {roots:?}");
            let primaries = run.tables.contacts.values().filter(|row| row.link == Link::Primary && is_in(row.id));
            for row in primaries.filter(|row| was_known(acknowledged, row.id, places)) {
                ensure!(roots.contains(&row.id), "the page lacks {row:?}");
            }
        }
        _ => anyhow::bail!("the answer to another question"),
    }
    Ok(())
}

fn identifiers_of<'a>(contacts: impl IntoIterator<Item = &'a Contact>) -> Set {
    contacts.into_iter().fold(Set::default(), |all, one| all.with(one.into()))
}

fn was_shown(acknowledged: &[&Shown], identifier: Set) -> bool {
    acknowledged.iter().any(|one| one.identifiers.meets(identifier))
}

fn was_known(acknowledged: &[&Shown], contact: ContactId, places: &Places) -> bool {
    let place = places.get(&contact).map(|(place, _)| Set::one(*place));
    place.is_some_and(|place| acknowledged.iter().any(|one| one.contacts.meets(place)))
}
