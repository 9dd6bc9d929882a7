//! The check of notes: each is that of the request that brought its set.

use anyhow::{Context, Result, ensure};
use identity::domain::{Note, Outcome};

use crate::check::{Set, may_be_written, show};
use crate::schedule::{Fate, Item, Run};

/// The note of a request. No other request has the same.
pub(crate) fn note_of(call: usize, place: usize) -> Option<Note> {
    Note::new(Some(format!("{call}.{place}")), None, None)
}

/// Fails unless the sets of contacts and of table `Evidence` have the notes of those who brought them.
pub(crate) fn check_notes(run: &Run) -> Result<()> {
    if !run.conditions.notes {
        return Ok(());
    }
    for row in run.tables.contacts.values() {
        let note = run.tables.notes.get(&row.id);
        if row.identifiers.len() < 2 {
            ensure!(note.is_none(), "{row:?} has a note, and shows no evidence");
            continue;
        }
        let item = bringer(run, note.with_context(|| format!("{row:?} has no note"))?)?;
        ensure!(Set::from(row) == Set::from(&item.observation), "{row:?} has the note of {}", show(item));
        if let Fate::Answered(answer) = &item.fate {
            ensure!(answer.outcome != Outcome::Matched, "{row:?} has the note of one who knew it: {}", show(item));
        }
    }
    for row in &run.tables.evidence {
        let note = row.note.as_deref().with_context(|| format!("{row:?} has no note"))?;
        let item = bringer(run, note)?;
        ensure!(Set::of(&row.identifiers) == Set::from(&item.observation), "{row:?} has the note of {}", show(item));
        if let Fate::Answered(answer) = &item.fate {
            let is_possible = matches!(answer.outcome, Outcome::Matched | Outcome::Merged);
            ensure!(is_possible, "{row:?} has the note of one whose contact has it: {}", show(item));
        }
    }
    Ok(())
}

fn bringer<'a>(run: &'a Run, note: &Note) -> Result<&'a Item> {
    let is_it = |item: &&Item| note_of(item.call, item.place).as_ref() == Some(note);
    run.items.iter().filter(|item| may_be_written(item)).find(is_it).context("a note of nobody")
}
