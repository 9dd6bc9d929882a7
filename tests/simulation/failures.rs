//! The check of failures: each had a cause, and when all is well there is none.

use anyhow::{Result, ensure};
use identity::domain::{ContactId, Identifier};
use identity::resolver::IdentifyError;

use crate::conditions::POISON;
use crate::schedule::{Failure, Fate, Item, Question, Read, Run};
use crate::tables::root;

/// Fails unless an item had cause to fail, if it failed.
pub(crate) fn check_failure(run: &Run, item: &Item) -> Result<()> {
    if item.began > run.well_from {
        ensure!(matches!(item.fate, Fate::Answered(_)), "not answered, though all was well by then");
    }
    let Fate::Failed(failure) = &item.fate else { return Ok(()) };
    if let IdentifyError::IdentityTooLarge(_) = failure.error {
        // Identities only grow, so in the end they are no smaller than when the item was refused.
        let owner = |one| Some(root(&run.tables.contacts[run.tables.identifiers.get(one)?]));
        let owners: Vec<Option<ContactId>> = item.observation.identifiers().iter().map(owner).collect();
        let joined = run.tables.contacts.values().filter(|row| owners.contains(&Some(root(row)))).count();
        let contacts = joined + usize::from(owners.contains(&None));
        ensure!(contacts > run.conditions.max_contacts, "too large, with {contacts} contacts");
        return Ok(());
    }
    check_cause(run, failure, item.observation.identifiers())
}

/// Fails unless a read had cause to fail, if it failed.
pub(crate) fn check_read_failure(run: &Run, read: &Read) -> Result<()> {
    if read.began > run.well_from {
        ensure!(matches!(read.result, Some(Ok(_))), "not found, though all was well by then");
    }
    let Some(Err(failure)) = &read.result else { return Ok(()) };
    let asked: &[Identifier] = match &read.question {
        Question::LookUp(asked) => asked,
        Question::Identity(_) | Question::History(_) | Question::Page { .. } => &[],
    };
    check_cause(run, failure, asked)
}

fn check_cause(run: &Run, failure: &Failure, asked: &[Identifier]) -> Result<()> {
    match failure.error {
        IdentifyError::Unavailable => ensure!(run.faults > 0, "the database was never out of reach"),
        IdentifyError::DeadlineExceeded => {
            ensure!(failure.is_in_turn || failure.is_overdue, "the deadline had not passed");
            // To tell the poisoned from the others takes as long as there are many of them.
            ensure!(failure.had_hurry || run.conditions.poison.is_some(), "patience did not help");
        }
        IdentifyError::Overloaded => ensure!(!failure.is_in_turn, "refused, instead of waiting its turn"),
        IdentifyError::Internal => {
            ensure!(run.conditions.poison.is_some(), "no fault of the store gives cause for it");
            let has_poison = asked.iter().any(|one| one.value() == POISON.to_string());
            ensure!(has_poison, "another request's fault");
        }
        IdentifyError::IdentityTooLarge(_) => anyhow::bail!("nothing was to be written"),
        IdentifyError::OnlyIgnored => anyhow::bail!("not all of its identifiers are ignored"),
        IdentifyError::IdTaken => anyhow::bail!("no id was taken"),
        IdentifyError::HistoryTooLarge => anyhow::bail!("no history is so large"),
    }
    Ok(())
}
