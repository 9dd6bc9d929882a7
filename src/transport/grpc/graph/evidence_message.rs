//! Evidence and changes as messages.

use std::collections::HashMap;

use super::identity_message::identifier_message;
use super::moments::timestamp;
use super::names::evidence_name;
use crate::domain::graph::{Revision, RevisionKind, SeenSet, SetNotes, SetOrigin};
use crate::domain::{ContactId, Note};
use crate::proto::identity::v1 as pb;

/// Returns the message of an evidence.
pub(super) fn evidence_message(set: &SeenSet) -> pb::Evidence {
    let origin = match set.origin {
        SetOrigin::Contact => pb::EvidenceOrigin::Contact,
        SetOrigin::Merge => pb::EvidenceOrigin::Merge,
        SetOrigin::Match => pb::EvidenceOrigin::Match,
        SetOrigin::Link => pb::EvidenceOrigin::Manual,
    };
    pb::Evidence {
        name: evidence_name(set.name),
        identifiers: set.identifiers.iter().map(identifier_message).collect(),
        origin: origin.into(),
        create_time: Some(timestamp(set.seen_at)),
        ..pb::Evidence::default()
    }
}

/// Adds the notes to the messages of their evidence.
pub(super) fn add_notes(evidence: &mut [pb::Evidence], notes: &SetNotes) {
    let notes: HashMap<String, &Note> = notes.iter().map(|(set, note)| (evidence_name(*set), note)).collect();
    for one in evidence {
        let Some(note) = notes.get(&one.name) else { continue };
        one.occurred_time = note.occurred_at().map(timestamp);
        one.source = note.source().unwrap_or_default().to_owned();
        one.external_ref = note.external_ref().unwrap_or_default().to_owned();
    }
}

/// Returns the message of a change.
pub(super) fn revision_message(revision: &Revision) -> pb::Revision {
    let kind = match revision.kind {
        RevisionKind::Created => pb::ChangeKind::Created,
        RevisionKind::Linked => pb::ChangeKind::Linked,
        RevisionKind::Merged => pb::ChangeKind::Merged,
        RevisionKind::Confirmed => pb::ChangeKind::Evidence,
    };
    let ids = |contacts: &[ContactId]| contacts.iter().map(|contact| contact.0).collect();
    let change = pb::Change {
        kind: kind.into(),
        primary_contact_id: revision.primary.0,
        contact_ids: ids(&revision.contacts),
        absorbed: ids(&revision.absorbed),
        time: Some(timestamp(revision.at)),
    };
    pb::Revision { change: Some(change), evidence: revision.set.map(evidence_name).unwrap_or_default() }
}
