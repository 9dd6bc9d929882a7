//! The notes of the evidence in an answer.

use std::collections::HashMap;

use super::call::Call;
use super::moments::timestamp;
use super::names::{evidence_name, parse_evidence_name};
use crate::domain::Note;
use crate::domain::graph::{SetName, SetNotes};
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::transport::errors::ApiError;

/// Reads the notes of the evidence in these lists, and adds them. Without evidence it reads nothing.
///
/// # Errors
/// As every read.
pub(super) async fn read_notes<R: ReadGraph, const N: usize>(
    call: &Call<R>,
    lists: [&mut [pb::Evidence]; N],
) -> Result<(), ApiError> {
    let names = lists.iter().flat_map(|list| list.iter()).filter_map(|one| parse_evidence_name(&one.name, 0).ok());
    let names: Vec<SetName> = names.collect();
    if names.is_empty() {
        return Ok(());
    }
    let notes = call.resolver.notes_of(names, call.deadline).await?;
    lists.into_iter().for_each(|list| add(list, &notes));
    Ok(())
}

fn add(evidence: &mut [pb::Evidence], notes: &SetNotes) {
    let notes: HashMap<String, &Note> = notes.iter().map(|(set, note)| (evidence_name(*set), note)).collect();
    for one in evidence {
        let Some(note) = notes.get(&one.name) else { continue };
        one.occurred_time = note.occurred_at().map(timestamp);
        one.source = note.source().unwrap_or_default().to_owned();
        one.external_ref = note.external_ref().unwrap_or_default().to_owned();
    }
}
