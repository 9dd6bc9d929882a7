//! How a simulated transaction writes a plan.

use std::sync::Arc;

use identity::domain::{Contact, ContactId, ContactRef, Link, Plan};
use identity::store::{Cause, StoreError};

use crate::conditions::Poison;
use crate::database::Lock;
use crate::tables::{Change, EvidenceRow, MergeRow};
use crate::transaction::SimulatedTransaction;

impl SimulatedTransaction {
    pub(crate) async fn insert_contacts(&self, plan: &Plan) -> Result<Vec<ContactId>, StoreError> {
        let ids = self.store.database.lock().new_ids(self.store.replica, plan.new_contacts.len());
        for (new, id) in plan.new_contacts.iter().zip(&ids) {
            self.change(Change::Insert(Contact {
                id: *id,
                identifiers: Arc::clone(&new.identifiers),
                ignored: Arc::default(),
                created_at: new.created_at,
                updated_at: new.updated_at,
                link: resolve_link(new.link, &ids),
            }))?;
        }
        Ok(ids)
    }

    pub(crate) async fn insert_identifiers(&self, plan: &Plan, ids: &[ContactId]) -> Result<(), StoreError> {
        for (identifier, owner) in &plan.new_identifiers {
            self.store.database.lock().refuse(Poison::Written, std::slice::from_ref(identifier))?;
            self.take(Lock::Key(identifier.clone())).await?;
            if self.store.database.lock().has_key(identifier) {
                return Err(StoreError::DuplicateKey(Cause::new("Identifier")));
            }
            self.change(Change::Own(identifier.clone(), resolve(*owner, ids)))?;
        }
        Ok(())
    }

    pub(crate) async fn relink(&self, plan: &Plan, ids: &[ContactId]) -> Result<(), StoreError> {
        for moved in &plan.moves {
            let to = Link::SecondaryOf(resolve(moved.to, ids));
            let linked = self.store.database.lock().linked_to(moved.from);
            for contact in linked {
                self.take(Lock::Row(contact)).await?;
                self.change(Change::Link(contact, to, plan.updated_at))?;
            }
        }
        for relink in &plan.relinks {
            self.take(Lock::Row(relink.contact)).await?;
            self.change(Change::Link(relink.contact, resolve_link(relink.link, ids), plan.updated_at))?;
        }
        for merge in &plan.merges {
            let (survivor, absorbed) = (resolve(merge.survivor, ids), resolve(merge.absorbed, ids));
            self.change(Change::Merge(MergeRow { survivor, absorbed, cause: merge.cause.clone() }))?;
        }
        Ok(())
    }

    pub(crate) async fn insert_evidence(&self, plan: &Plan, ids: &[ContactId]) -> Result<(), StoreError> {
        for new in &plan.new_evidence {
            if self.store.database.lock().forgets(new.origin) {
                continue;
            }
            self.take(Lock::Set(new.key)).await?;
            if new.replaces {
                self.change(Change::NoEvidence(new.key))?;
            } else if self.store.database.lock().has_set(new.key) {
                return Err(StoreError::DuplicateKey(Cause::new("Evidence")));
            }
            self.change(Change::Evidence(EvidenceRow {
                key: new.key,
                contact: resolve(new.contact, ids),
                identifiers: new.identifiers.to_vec(),
                origin: new.origin,
                created_at: plan.updated_at,
                note: new.note.clone(),
            }))?;
        }
        Ok(())
    }

    pub(crate) fn insert_notes(&self, plan: &Plan, ids: &[ContactId]) -> Result<(), StoreError> {
        let notes = plan.new_contacts.iter().zip(ids).filter_map(|(new, id)| Some((*id, new.note.clone()?)));
        notes.into_iter().try_for_each(|(id, note)| self.change(Change::Note(id, note)))
    }

    pub(crate) async fn touch(&self, plan: &Plan) -> Result<(), StoreError> {
        let is_for_evidence = !plan.new_evidence.is_empty() && plan.new_contacts.is_empty() && plan.merges.is_empty();
        let is_left_out = is_for_evidence && self.store.database.lock().leaves_roots_of_evidence();
        for id in plan.touched.iter().filter(|_| !is_left_out) {
            self.take(Lock::Row(*id)).await?;
            self.change(Change::Touch(*id, plan.updated_at))?;
        }
        Ok(())
    }
}

fn resolve(contact: ContactRef, ids: &[ContactId]) -> ContactId {
    match contact {
        ContactRef::Stored(id) => id,
        ContactRef::Planned(index) => ids[index],
    }
}

fn resolve_link(link: Link<ContactRef>, ids: &[ContactId]) -> Link {
    match link {
        Link::Primary => Link::Primary,
        Link::SecondaryOf(primary) => Link::SecondaryOf(resolve(primary, ids)),
    }
}
