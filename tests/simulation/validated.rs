//! The check of answers to requests that were not to be carried out. That they were not carried out the other checks
//! see: nobody sent what they would have written.

use anyhow::{Context, Result, ensure};
use identity::domain::{Answer, Contact, ContactId, Outcome};

use crate::check::{Known, Places, Sent, Set, may_be_written, places, show};
use crate::failures::check_failure;
use crate::schedule::{Fate, Item, Run};

/// An answer, as sets. What would be new is in none of the contacts.
struct Foreseen<'a> {
    item: &'a Item,
    outcome: Outcome,
    observation: Set,
    identifiers: Set,
    contacts: Set,
}

/// Fails unless each answer is what its request would have got at a moment between its beginning and its end, in the
/// order of its list.
pub(crate) fn check_validated(run: &Run) -> Result<()> {
    let places = places(run);
    let carried_out = run.items.iter().filter_map(|item| Known::of(item, &places)).collect::<Result<Vec<_>>>()?;
    let sent: Vec<Sent> = run.items.iter().filter(|item| may_be_written(item)).map(Sent::of).collect();
    for item in &run.validated {
        check_failure(run, item).context(show(item))?;
        let Fate::Answered(answer) = &item.fate else { continue };
        ensure!(answer.ignored == item.ignored, "other identifiers are said to be ignored: {}", show(item));
        let foreseen = Foreseen::of(item, answer, &places).context(show(item))?;
        foreseen.check_causes(&sent).context(show(item))?;
        for other in &carried_out {
            foreseen.check_order(other).with_context(|| format!("\n{}\n{}", show(item), show(other.item)))?;
        }
    }
    Ok(())
}

impl<'a> Foreseen<'a> {
    fn of(item: &'a Item, answer: &Answer, places: &Places) -> Result<Self> {
        let shown: Vec<&Contact> = answer.identity.contacts().collect();
        let (new, stored): (Vec<&Contact>, Vec<&Contact>) =
            shown.iter().partition(|contact| contact.id == ContactId::UNKNOWN);
        let observation = Set::from(&item.observation);
        ensure!(new.iter().all(|contact| Set::from(*contact) == observation), "something else would be new");
        let is_right = match answer.outcome {
            Outcome::Created => new.len() == 1 && stored.is_empty(),
            Outcome::Matched => new.is_empty(),
            Outcome::Linked => new.len() == 1 && !stored.is_empty(),
            Outcome::Merged => new.len() <= 1 && stored.len() > 1,
        };
        ensure!(is_right, "{:?} with {} contacts, of which {} are new", answer.outcome, shown.len(), new.len());
        let is_last = shown.iter().rev().skip(new.len()).all(|contact| contact.id != ContactId::UNKNOWN);
        ensure!(is_last && stored.is_sorted_by_key(|contact| (contact.created_at, contact.id)), "not by age");
        let (mut identifiers, mut contacts) = (Set::default(), Set::default());
        for contact in stored {
            let (place, row) = places.get(&contact.id).with_context(|| format!("{contact:?} was not kept"))?;
            ensure!(row.identifiers == contact.identifiers, "{contact:?} was answered, {row:?} is kept");
            (identifiers, contacts) = (identifiers.with(contact.into()), contacts.with(Set::one(*place)));
        }
        if !new.is_empty() {
            identifiers = identifiers.with(observation);
        }
        ensure!(observation.is_within(identifiers), "the answer lacks what was asked for");
        Ok(Self { item, outcome: answer.outcome, observation, identifiers, contacts })
    }

    /// It shows nothing that could not have been known.
    fn check_causes(&self, sent: &[Sent]) -> Result<()> {
        let is_later = |other: &Item| other.call == self.item.call && other.place > self.item.place;
        let begun = sent.iter().filter(|other| other.item.began < self.item.ended && !is_later(other.item));
        let begun = begun.map(|other| other.observation).filter(|one| one.is_within(self.identifiers));
        let joined = self.observation.flood(&begun.collect::<Vec<_>>());
        ensure!(joined == self.identifiers, "nothing sent by then joins what is in the answer");
        Ok(())
    }

    fn check_order(&self, other: &Known) -> Result<()> {
        let (mine, its) = (self.item, other.item);
        let is_of_list = mine.call == its.call;
        let is_behind =
            its.ended < mine.began || is_of_list && its.place < mine.place && self.identifiers.meets(other.observation);
        if is_behind && self.identifiers.meets(other.identifiers) {
            let has_it = other.identifiers.is_within(self.identifiers) && other.contacts.is_within(self.contacts);
            ensure!(has_it, "it lacks what was acknowledged before");
        }
        let is_ahead = mine.ended < its.began || is_of_list && mine.place < its.place;
        if let (true, Some(newest)) = (is_ahead, other.own_contact()) {
            ensure!(!newest.meets(self.contacts), "it has what a later request brought");
        }
        if is_ahead && self.outcome != Outcome::Merged && self.contacts.meets(other.contacts) {
            let is_of_same = !is_of_list || other.identifiers.meets(self.observation);
            ensure!(!is_of_same || self.contacts.is_within(other.contacts), "a later answer has less");
        }
        Ok(())
    }
}
