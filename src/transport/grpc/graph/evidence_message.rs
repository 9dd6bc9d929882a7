//! Evidence and changes as messages.

use super::identity_message::identifier_message;
use super::moments::timestamp;
use super::names::evidence_name;
use crate::domain::ContactId;
use crate::domain::graph::{Revision, RevisionKind, SeenSet, SetOrigin};
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
