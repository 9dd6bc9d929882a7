//! The invariants. Each is decided by one row and the rows that it points at, without I/O.

use super::finding::Finding;
use crate::domain::{Identifier, Region, StoredForm};
use crate::store::EvidenceRow;
use crate::store::audit::{ContactRow, IdentifierRow, MergeRow, Owner, StoredContact};

/// Returns what is wrong with a contact. `region` is the phone region in force.
pub(super) fn check_contact(row: &ContactRow, region: Option<Region>) -> Vec<Finding> {
    let contact = &row.contact;
    let mut findings = Vec::new();
    if contact.says_primary != contact.linked_to.is_none() {
        let linked_to = contact.linked_to.map(|to| to.0);
        findings.push(Finding::Precedence { contact: contact.id.0, linked_to });
    }
    findings.extend(check_link(row));
    if contact.is_holder {
        let held = row.owners.iter();
        findings.extend(held.filter_map(|(identifier, owner)| check_holder(contact, identifier, owner, region)));
        return findings;
    }
    if contact.is_deleted {
        return findings; // It matches nothing, whatever it carries.
    }
    if row.owners.is_empty() && contact.shown.is_empty() && !row.was_adopted_empty {
        findings.push(Finding::NoIdentifier { contact: contact.id.0 });
    }
    for identifier in &contact.shown {
        // If it counts again one day, requests have to find it.
        if let StoredForm::NotCanonical(_) = identifier.stored_form(region) {
            findings.push(Finding::NotCanonical { contact: contact.id.0, kind: identifier.kind().name() });
        }
    }
    for (identifier, owner) in &row.owners {
        let (contact_id, kind) = (contact.id.0, identifier.kind().name());
        findings.extend(match identifier.stored_form(region) {
            StoredForm::Canonical => check_owner(contact, identifier, owner.as_ref()),
            StoredForm::NotCanonical(_) => Some(Finding::NotCanonical { contact: contact_id, kind }),
            StoredForm::Blank => Some(Finding::Blank { contact: contact_id, kind }),
            StoredForm::Malformed => Some(Finding::Malformed { contact: contact_id, kind }),
        });
    }
    findings
}

fn check_link(row: &ContactRow) -> Option<Finding> {
    let (contact, linked_to) = (row.contact.id.0, row.contact.linked_to?.0);
    let Some(target) = &row.target else { return Some(Finding::LinkToNobody { contact, linked_to }) };
    if target.linked_to.is_some() {
        Some(Finding::LinkNotFlat { contact, linked_to })
    } else if row.contact.is_deleted || target.is_deleted {
        // A deleted contact may be older than its primary, which replaced it. A deleted primary is replaced at the
        // next change of its identity.
        None
    } else if (row.contact.created_at, contact) < (target.created_at, linked_to) {
        Some(Finding::PrimaryNotOldest { contact, primary: linked_to })
    } else {
        None
    }
}

/// The row of an ignored identifier names its holder, and has the canonical form: requests have no other. What its
/// customers show does not matter.
fn check_holder(
    holder: &StoredContact,
    identifier: &Identifier,
    owner: &Option<Owner>,
    region: Option<Region>,
) -> Option<Finding> {
    let (contact, kind) = (holder.id.0, identifier.kind().name());
    if let StoredForm::NotCanonical(_) = identifier.stored_form(region) {
        return Some(Finding::NotCanonical { contact, kind });
    }
    let is_held = owner.as_ref().is_some_and(|owner| owner.id == holder.id);
    (!is_held).then_some(Finding::IgnoredNotHeld { contact, kind })
}

/// A deleted contact may own an identifier of its own identity: it leads there as well as a live one.
fn check_owner(contact: &StoredContact, identifier: &Identifier, owner: Option<&Owner>) -> Option<Finding> {
    let (id, kind) = (contact.id.0, identifier.kind().name());
    if let Some(owner) = owner.filter(|owner| owner.is_holder()) {
        return Some(Finding::IgnoredCarried { contact: id, kind, holder: owner.id.0 });
    }
    let owner = owner.and_then(|owner| Some((owner.id.0, owner.found.as_ref().filter(|found| found.carries)?)));
    match owner {
        None => Some(Finding::NotOwned { contact: id, kind }),
        Some((_, found)) if found.root == contact.root() => None,
        Some((_, found)) if found.is_deleted => Some(Finding::NotOwned { contact: id, kind }),
        Some((owner, _)) => Some(Finding::OwnedTwice { contact: id, kind, owner }),
    }
}

/// Returns what is wrong with an `Identifier` row. What a deleted contact owns is free for the next request.
pub(super) fn check_identifier(row: &IdentifierRow) -> Option<Finding> {
    let (kind, owner) = (row.kind.clone(), row.owner.id.0);
    match &row.owner.found {
        None => Some(Finding::OwnerMissing { kind, owner }),
        Some(found) if !found.carries => Some(Finding::OwnerWithout { kind, owner }),
        Some(_) => None,
    }
}

/// Returns what is wrong with a merge.
pub(super) fn check_merge(row: &MergeRow) -> Vec<Finding> {
    let named = [&row.survivor, &row.absorbed];
    let nobody = named.into_iter().filter(|named| !named.exists);
    let mut findings: Vec<Finding> =
        nobody.map(|named| Finding::MergeOfNobody { merge: row.id, contact: named.id.0 }).collect();
    if let (Some(one), Some(other)) = (row.survivor.live_root, row.absorbed.live_root)
        && one != other
    {
        let (survivor, absorbed) = (row.survivor.id.0, row.absorbed.id.0);
        findings.push(Finding::MergeUndone { merge: row.id, survivor, absorbed });
    }
    findings
}

/// Returns what is wrong with a row of `Evidence`. An identifier that is ignored belongs to nobody, and stays in its
/// set: it counts again one day.
pub(super) fn check_evidence(row: &EvidenceRow) -> Option<Finding> {
    let evidence = row.id;
    if row.identifiers.as_ref().is_none_or(|set| set.len() < 2) {
        return Some(Finding::EvidenceUnreadable { evidence });
    }
    let (roots, are_owned) = row.roots();
    if !row.has_its_key {
        Some(Finding::EvidenceKey { evidence })
    } else if !are_owned {
        Some(Finding::EvidenceOfNobody { evidence })
    } else if roots.len() > 1 {
        Some(Finding::EvidenceOfSeveral { evidence })
    } else if row.root.is_none() || roots.first().is_some_and(|root| row.root != Some(*root)) {
        Some(Finding::EvidenceElsewhere { evidence, contact: row.contact.0 })
    } else {
        None
    }
}
