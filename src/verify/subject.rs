//! One row that may be damaged: how to check it again, how to repair it, and what a repair would do.

use super::attempts::RepairError;
use super::check::{check_contact, check_evidence, check_identifier, check_merge};
use super::finding::Finding;
use super::repair::{hold_again, plan_evidence, plan_repair, release_identifier, repair_contact, repair_evidence};
use super::repairs::Repair;
use super::run_state::RunState;
use crate::domain::{ContactId, Identifier, IdentifierKind, Region};
use crate::store::audit::{ContactRow, IdentifierRow, MergeRow, Rows};
use crate::store::{Database, EvidenceRow, StoreError};

/// A row.
#[derive(Debug)]
pub(super) struct Subject {
    key: Key,
    /// The identity that a repair would change, if one would.
    identity: Option<Concerned>,
}

#[derive(Debug)]
enum Key {
    Contact(i64),
    /// A holder, and the kinds of the ignored identifiers that it holds: one.
    Holder(i64, Vec<IdentifierKind>),
    /// Kind and value.
    Identifier(String, Vec<u8>),
    Merge(i64),
    Evidence(i64),
}

/// An identity that a row is about.
#[derive(Clone, Copy, Debug)]
struct Concerned {
    contact: ContactId,
    /// The id by which the identity is found.
    root: ContactId,
}

impl Subject {
    pub(super) fn contact(row: &ContactRow) -> Self {
        let (contact, root) = (row.contact.id, row.contact.root());
        let held = || row.contact.identifiers.iter().map(Identifier::kind).collect();
        let key = if row.contact.is_holder { Key::Holder(contact.0, held()) } else { Key::Contact(contact.0) };
        Self { key, identity: Some(Concerned { contact, root }) }
    }

    pub(super) fn identifier(row: IdentifierRow) -> Self {
        let contact = row.owner.id;
        let root = row.owner.found.map_or(contact, |found| found.root);
        Self { key: Key::Identifier(row.kind, row.value), identity: Some(Concerned { contact, root }) }
    }

    /// No repair changes it: the tables do not say which contact was meant, or why the merge was undone.
    pub(super) fn merge(row: &MergeRow) -> Self {
        Self { key: Key::Merge(row.id), identity: None }
    }

    pub(super) fn evidence(row: &EvidenceRow) -> Self {
        Self { key: Key::Evidence(row.id), identity: None }
    }

    /// Returns the contact that the row is about.
    pub(super) fn about(&self) -> Option<ContactId> {
        self.identity.map(|identity| identity.contact)
    }

    /// Returns the id by which the identity of the row is found.
    pub(super) fn root(&self) -> Option<ContactId> {
        self.identity.map(|identity| identity.root)
    }

    /// Reads the row again and returns what is wrong with it now.
    pub(super) async fn findings(
        &self,
        database: &Database,
        region: Option<Region>,
    ) -> Result<Vec<Finding>, StoreError> {
        Ok(match &self.key {
            Key::Contact(id) | Key::Holder(id, _) => {
                let rows = database.audit_contacts(Rows::Only(*id)).await?;
                rows.iter().flat_map(|row| check_contact(row, region)).collect()
            }
            Key::Identifier(kind, value) => {
                let row = database.audit_identifier(kind, value).await?;
                row.as_ref().and_then(check_identifier).into_iter().collect()
            }
            Key::Evidence(id) => {
                database.audit_evidence(Rows::Only(*id)).await?.iter().filter_map(check_evidence).collect()
            }
            Key::Merge(id) => database.audit_merges(Rows::Only(*id)).await?.iter().flat_map(check_merge).collect(),
        })
    }

    /// Repairs the row, if there is only one way to do so. Adds what it changed to `repairs`, also if it fails later.
    pub(super) async fn repair(
        &self,
        database: &Database,
        run: &mut RunState,
        repairs: &mut Vec<Repair>,
    ) -> Result<(), RepairError> {
        if let Key::Evidence(id) = self.key {
            repairs.extend(repair_evidence(database, id, run.region).await?);
        }
        let Some(Concerned { contact, .. }) = self.identity else { return Ok(()) };
        if let Key::Holder(_, kinds) = &self.key {
            for kind in kinds.iter().map(|kind| kind.name()) {
                repairs.extend(hold_again(database, contact, kind, run.region).await?);
            }
        }
        let Key::Identifier(kind, value) = &self.key else {
            return repair_once(database, contact, run, repairs).await;
        };
        // The owner's identity first: one of its live contacts may carry the identifier and becomes its owner. Contacts
        // of other identities that carry it got it already: `verify` checks contacts first.
        let Some(row) = database.audit_identifier(kind, value).await? else { return Ok(()) };
        let owner = row.owner.id;
        repair_once(database, owner, run, repairs).await?;
        let left = database.audit_identifier(kind, value).await?;
        let is_left = left.is_some_and(|row| row.owner.id == owner && check_identifier(&row).is_some());
        // Releases only the row that was read: the service may have given the identifier a new owner by now.
        if is_left && release_identifier(database, kind, value, owner).await? {
            repairs.push(Repair::Released { kind: kind.clone(), contact: owner.0 });
        }
        Ok(())
    }

    /// Returns what [`Subject::repair`] would change and what no earlier plan printed. Changes nothing.
    pub(super) async fn plan(&self, database: &Database, run: &mut RunState) -> Result<Vec<Repair>, StoreError> {
        let mut repairs = Vec::new();
        if let Key::Evidence(id) = self.key {
            return Ok(run.preview.unprinted(plan_evidence(database, id, run.region).await?));
        }
        let Some(Concerned { mut contact, .. }) = self.identity else { return Ok(repairs) };
        if let Key::Holder(_, kinds) = &self.key {
            let findings = self.findings(database, run.region).await?;
            let is_canonical = findings.iter().all(|finding| !matches!(finding, Finding::NotCanonical { .. }));
            repairs.extend(kinds.iter().map(|kind| match (kind.name(), contact.0) {
                (kind, contact) if is_canonical => Repair::Held { kind, contact },
                (kind, contact) => Repair::MadeCanonical { kind, contact },
            }));
            return Ok(run.preview.unprinted(repairs));
        }
        if let Key::Identifier(kind, value) = &self.key {
            let Some(row) = database.audit_identifier(kind, value).await? else { return Ok(repairs) };
            contact = row.owner.id;
        }
        if !run.handled.covers(contact) {
            let planned = plan_repair(database, contact, run.rules()).await?;
            run.handled.cover(planned.contacts);
            if let Some(plan) = planned.plan {
                run.preview.note_settled(&plan);
                repairs = plan.repairs;
            }
        }
        if let Key::Identifier(kind, value) = &self.key
            && !run.preview.is_settled(kind, value)
        {
            repairs.push(Repair::Released { kind: kind.clone(), contact: contact.0 });
        }
        Ok(run.preview.unprinted(repairs))
    }

    /// Returns the joins that a repair of the row would make, and that no earlier plan printed.
    pub(super) async fn joins(&self, database: &Database, run: &mut RunState) -> Result<Vec<Repair>, StoreError> {
        let Some(contact) = self.about().filter(|contact| !run.handled.covers(*contact)) else { return Ok(Vec::new()) };
        let planned = plan_repair(database, contact, run.rules()).await?;
        run.handled.cover(planned.contacts);
        Ok(planned.plan.map(|plan| run.preview.joins(&plan)).unwrap_or_default())
    }
}

/// Repairs the identity of a contact, unless a repair has covered it since the page began.
async fn repair_once(
    database: &Database,
    contact: ContactId,
    run: &mut RunState,
    repairs: &mut Vec<Repair>,
) -> Result<(), RepairError> {
    if !run.handled.covers(contact) {
        let repaired = repair_contact(database, contact, run.rules()).await?;
        run.handled.cover(repaired.contacts);
        repairs.extend(repaired.repairs);
    }
    Ok(())
}
