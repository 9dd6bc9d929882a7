//! What callers say about the sets of identifiers that were seen: table `EvidenceNote`.
//!
//! A note is written by the transaction that writes its set, so it is that of the first observation of the set. It is
//! deleted with a row of `Evidence`.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::NaiveDateTime;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{DeleteStatement, InsertStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryTrait, Statement, Value};

use super::entity::evidence_note;
use super::error::{Cause, StoreError};
use super::pieces::pieces;
use super::rows::{check_is_primary, check_takes_writes, moment, to_naive};
use super::sql::Engine;
use super::stored_sets::query_ids_of_sets;
use super::traits::MAX_LOOKUP;
use crate::domain::graph::{SetName, SetNotes};
use crate::domain::{ContactId, Note, Plan, SetKey};

/// Notes of one statement: with the longest texts they fit into a TLS record (see [`pieces`]).
const NOTES_AT_ONCE: usize = 48;

/// Returns the notes of these sets, by set.
pub(super) async fn query_notes(
    connection: &impl ConnectionTrait,
    engine: Engine,
    sets: &[SetName],
) -> Result<SetNotes, StoreError> {
    let keys: BTreeMap<String, SetName> = sets.iter().filter_map(|set| Some((key_of(*set)?, *set))).collect();
    let mut notes = SetNotes::new();
    for some in keys.keys().cloned().collect::<Vec<_>>().chunks(MAX_LOOKUP) {
        for row in &connection.query_all_raw(select_notes(engine, some)).await? {
            check_is_primary(engine, row, NoteColumn::ReadOnly as usize)?;
            let key: String = row.try_get_by_index(NoteColumn::Evidence as usize)?;
            let source = row.try_get_by_index(NoteColumn::Source as usize)?;
            let external_ref = row.try_get_by_index(NoteColumn::ExternalRef as usize)?;
            let note = Note::new(source, external_ref, moment(row, NoteColumn::OccurredAt as usize)?);
            notes.extend(keys.get(&key).copied().zip(note));
        }
    }
    if notes.is_empty() && !keys.is_empty() {
        check_takes_writes(connection, engine).await?;
    }
    Ok(notes)
}

/// The columns of [`select_notes`], in order.
#[derive(Clone, Copy)]
enum NoteColumn {
    Evidence,
    Source,
    ExternalRef,
    OccurredAt,
    /// Only where [`Engine::read_only_column`] has one.
    ReadOnly,
}

/// The statement of [`query_notes`]. The keys are parameters, of few different numbers. The columns are those of
/// [`NoteColumn`].
pub(super) fn select_notes(engine: Engine, keys: &[String]) -> Statement {
    let last = keys.last().into_iter().cycle();
    let params: Vec<Value> =
        keys.iter().chain(last).take(keys.len().next_power_of_two()).map(|key| key.as_str().into()).collect();
    let read_only = engine.read_only_column().map(|column| format!(", {column}")).unwrap_or_default();
    let (force, marks) = (engine.force_index("PRIMARY"), vec!["?"; params.len()].join(", "));
    let columns = r#"n."evidence", n."source", n."externalRef", n."occurredAt""#;
    let sql = format!(r#"SELECT {columns}{read_only} FROM "EvidenceNote" n {force} WHERE n."evidence" IN ({marks})"#);
    engine.statement(sql, params)
}

/// Stores the notes of the sets that a plan stores. `ids` are those of its new contacts.
pub(super) async fn insert_notes(
    connection: &impl ConnectionTrait,
    plan: &Plan,
    ids: &[ContactId],
) -> Result<(), StoreError> {
    if !plan.has_notes() {
        return Ok(());
    }
    let of_contacts = plan.new_contacts.iter().zip(ids);
    let mut notes: Vec<(SetName, &Arc<Note>)> =
        of_contacts.filter_map(|(new, id)| Some((SetName::Contact(*id), new.note.as_ref()?))).collect();
    let of_sets = plan.new_evidence.iter().filter_map(|new| Some((new.key, new.note.as_ref()?)));
    let of_sets: BTreeMap<SetKey, &Arc<Note>> = of_sets.collect();
    // The database gave the ids of these rows in any order.
    for (key, id) in query_ids_of_sets(connection, &of_sets.keys().copied().collect::<Vec<_>>()).await? {
        notes.extend(of_sets.get(&key).map(|note| (SetName::Stored(id), *note)));
    }
    let created_at = to_naive(plan.updated_at)?;
    for piece in notes.chunks(NOTES_AT_ONCE).flat_map(pieces) {
        connection.execute(&note_rows(piece, created_at)?).await?;
    }
    Ok(())
}

/// Inserts notes.
pub(super) fn note_rows(
    notes: &[(SetName, &Arc<Note>)],
    created_at: NaiveDateTime,
) -> Result<InsertStatement, StoreError> {
    let mut rows = Vec::with_capacity(notes.len());
    for (set, note) in notes {
        let key = key_of(*set).ok_or_else(|| StoreError::Rejected(Cause::new("a note of no evidence")))?;
        rows.push(evidence_note::ActiveModel {
            evidence: Set(key),
            source: Set(note.source().map(str::to_owned)),
            external_ref: Set(note.external_ref().map(str::to_owned)),
            occurred_at: Set(note.occurred_at().map(to_naive).transpose()?),
            created_at: Set(created_at),
        });
    }
    Ok(evidence_note::Entity::insert_many(rows).into_query())
}

/// Deletes the notes of these sets.
pub(super) fn delete_rows(sets: &[SetName]) -> DeleteStatement {
    let keys = sets.iter().filter_map(|set| key_of(*set));
    evidence_note::Entity::delete_many().filter(evidence_note::Column::Evidence.is_in(keys)).into_query()
}

/// The key of a note. `None` for a link, which is no evidence.
fn key_of(set: SetName) -> Option<String> {
    match set {
        SetName::Contact(ContactId(id)) => Some(format!("c{id}")),
        SetName::Stored(id) => Some(format!("e{id}")),
        SetName::Link(_) => None,
    }
}
