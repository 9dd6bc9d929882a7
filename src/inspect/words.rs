use super::names::Names;
use crate::domain::graph::{Revision, RevisionKind, SeenSet, SetName, SetOrigin};
use crate::domain::{ContactId, Identifier};

/// The name of a set, as the API has it.
pub(super) fn set_name(name: SetName) -> String {
    match name {
        SetName::Contact(ContactId(id)) => format!("evidence/c{id}"),
        SetName::Stored(id) => format!("evidence/e{id}"),
        SetName::Link(ContactId(id)) => format!("evidence/l{id}"),
    }
}

pub(super) fn origin_name(origin: SetOrigin) -> &'static str {
    match origin {
        SetOrigin::Contact => "contact",
        SetOrigin::Merge => "merge",
        SetOrigin::Match => "match",
        SetOrigin::Link => "link",
    }
}

pub(super) fn kind_name(kind: RevisionKind) -> &'static str {
    match kind {
        RevisionKind::Created => "created",
        RevisionKind::Linked => "linked",
        RevisionKind::Merged => "merged",
        RevisionKind::Confirmed => "evidence",
    }
}

/// A number of things.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

pub(super) fn labels<'a>(names: &Names, identifiers: impl IntoIterator<Item = &'a Identifier>) -> String {
    let labels: Vec<String> = identifiers.into_iter().map(|identifier| names.label(identifier)).collect();
    labels.join(", ")
}

pub(super) fn ids(contacts: &[ContactId]) -> String {
    contacts.iter().map(|contact| contact.0.to_string()).collect::<Vec<_>>().join(", ")
}

/// A set in one line, without its moment.
pub(super) fn set_line(names: &Names, set: &SeenSet) -> String {
    format!("{}, {}: {}", set_name(set.name), origin_name(set.origin), labels(names, set.identifiers.iter()))
}

/// A change in one line, without its moment.
pub(super) fn revision_line(revision: &Revision) -> String {
    let Revision { primary: ContactId(primary), contacts, absorbed, .. } = revision;
    let what = match revision.kind {
        RevisionKind::Created => format!("created: contact {primary}"),
        RevisionKind::Linked => format!("linked: contact {} to {primary}", ids(contacts)),
        RevisionKind::Merged => format!("merged: {primary} absorbed {}", ids(absorbed)),
        RevisionKind::Confirmed => format!("new evidence of {primary}"),
    };
    match revision.set {
        Some(set) => format!("{what}, by {}", set_name(set)),
        None => what,
    }
}
