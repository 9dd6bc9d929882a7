//! The contacts that belong together, as a repair sees them: with canonical identifiers only.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{ContactId, Identifier, IdentifierKind, Region, StoredForm};
use crate::store::audit::{Owner, StoredContact};
use crate::store::{Database, DatabaseTransaction, StoreError};

/// All contacts that belong together, and the owners of the identifiers that the live ones carry.
#[derive(Debug, Default)]
pub(super) struct ConnectedContacts {
    /// The contacts. A live one has the canonical forms of its values here; a blank or malformed value is left out, so
    /// that nothing is joined by it.
    pub(super) contacts: BTreeMap<ContactId, StoredContact>,
    /// The owners of the canonical identifiers, and of the values to replace.
    pub(super) owners: BTreeMap<Identifier, Owner>,
    /// The values of live contacts that are to be replaced.
    pub(super) rewrites: Vec<Rewrite>,
    /// The live contacts that carry an ignored identifier of this kind, and are to show it only.
    pub(super) marks: Vec<(ContactId, IdentifierKind)>,
}

/// A value of a live contact that is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rewrite {
    pub(super) contact: ContactId,
    /// The value as it is stored.
    pub(super) stored: Identifier,
    /// Its canonical form; `None` if it is blank.
    pub(super) canonical: Option<Identifier>,
}

/// What decides which contacts belong together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// The phone region in force.
    pub(super) region: Option<Region>,
    /// Identifiers that have a holder which does not hold them, or not in this form: they join nobody, as soon as it is
    /// repaired.
    pub(super) ignored: &'a BTreeSet<Identifier>,
}

/// Where contacts and owners are read.
pub(super) trait ContactSource {
    /// Returns the contacts that have one of these ids or link to one, soft-deleted ones included.
    async fn query_linked(&mut self, ids: &BTreeSet<ContactId>) -> Result<Vec<StoredContact>, StoreError>;

    /// Returns the owner of each of these identifiers that has one.
    async fn query_owners(&mut self, identifiers: &[Identifier]) -> Result<BTreeMap<Identifier, Owner>, StoreError>;
}

/// Under the locks of the transaction.
impl ContactSource for &mut DatabaseTransaction {
    async fn query_linked(&mut self, ids: &BTreeSet<ContactId>) -> Result<Vec<StoredContact>, StoreError> {
        (**self).query_linked(ids).await
    }

    async fn query_owners(&mut self, identifiers: &[Identifier]) -> Result<BTreeMap<Identifier, Owner>, StoreError> {
        (**self).query_owners(identifiers).await
    }
}

/// Without a lock, for a plan that nothing is written by.
impl ContactSource for &Database {
    async fn query_linked(&mut self, ids: &BTreeSet<ContactId>) -> Result<Vec<StoredContact>, StoreError> {
        (**self).query_linked(ids).await
    }

    async fn query_owners(&mut self, identifiers: &[Identifier]) -> Result<BTreeMap<Identifier, Owner>, StoreError> {
        (**self).query_owners(identifiers).await
    }
}

impl ConnectedContacts {
    /// Reads all contacts that links and shared identifiers connect with these, and the owners of their identifiers.
    pub(super) async fn read(
        mut source: impl ContactSource,
        contacts: &BTreeSet<ContactId>,
        rules: Rules<'_>,
    ) -> Result<Self, StoreError> {
        let Rules { region, ignored } = rules;
        let mut found = Self::default();
        let (mut read, mut next) = (BTreeSet::new(), contacts.clone());
        while !next.is_empty() {
            read.extend(next.iter().copied());
            let rewritten = found.rewrites.len();
            let (mut connected, mut carried) = (BTreeSet::new(), BTreeSet::new());
            for contact in source.query_linked(&next).await? {
                connected.extend([contact.id, contact.root()]);
                if !found.contacts.contains_key(&contact.id) {
                    carried.extend(found.insert(contact, region));
                }
            }
            // Nothing is connected by a value that is not canonical.
            let replaced: BTreeSet<Identifier> =
                found.rewrites[rewritten..].iter().map(|rewrite| rewrite.stored.clone()).collect();
            let unread = carried.union(&replaced).filter(|identifier| !found.owners.contains_key(identifier));
            let unread: Vec<Identifier> = unread.cloned().collect();
            if !unread.is_empty() {
                for (identifier, owner) in source.query_owners(&unread).await? {
                    let joins = carried.contains(&identifier) && !ignored.contains(&identifier);
                    let is_evidence = joins && owner.rightful_root().is_some();
                    connected.extend(is_evidence.then_some(owner.id));
                    found.owners.insert(identifier, owner);
                }
            }
            next = connected.difference(&read).copied().collect();
        }
        found.set_ignored_apart(ignored);
        Ok(found)
    }

    /// Takes the ignored identifiers from the contacts, so that nothing is joined by them and nobody gets them.
    fn set_ignored_apart(&mut self, ignored: &BTreeSet<Identifier>) {
        let Self { contacts, owners, marks, .. } = self;
        for contact in contacts.values_mut().filter(|contact| !contact.is_deleted) {
            contact.identifiers.retain(|identifier| {
                let is_held = owners.get(identifier).is_some_and(Owner::is_holder);
                let is_ignored = is_held || ignored.contains(identifier);
                if is_ignored {
                    marks.push((contact.id, identifier.kind()));
                }
                !is_ignored
            });
        }
    }

    /// Adds a contact. Returns the canonical identifiers that it carries, if it is live.
    pub(super) fn insert(&mut self, mut contact: StoredContact, region: Option<Region>) -> Vec<Identifier> {
        let mut carried = Vec::new();
        if !contact.is_deleted {
            let rewrite = |stored: &Identifier, canonical: Option<&Identifier>| Rewrite {
                contact: contact.id,
                stored: stored.clone(),
                canonical: canonical.cloned(),
            };
            for stored in &contact.identifiers {
                match stored.stored_form(region) {
                    StoredForm::Canonical => carried.push(stored.clone()),
                    StoredForm::NotCanonical(canonical) => {
                        self.rewrites.push(rewrite(stored, Some(&canonical)));
                        carried.push(canonical);
                    }
                    StoredForm::Blank => self.rewrites.push(rewrite(stored, None)),
                    StoredForm::Malformed => {}
                }
            }
            for stored in &contact.shown {
                if let StoredForm::NotCanonical(canonical) = stored.stored_form(region) {
                    self.rewrites.push(rewrite(stored, Some(&canonical)));
                }
            }
            contact.identifiers.clone_from(&carried);
        }
        self.contacts.insert(contact.id, contact);
        carried
    }

    /// The live contacts.
    pub(super) fn live(&self) -> impl Iterator<Item = &StoredContact> {
        self.contacts.values().filter(|contact| !contact.is_deleted)
    }

    /// Whether the owner of an identifier is as it should be: a live contact that carries it, once its own value is
    /// canonical.
    pub(super) fn is_rightful(&self, identifier: &Identifier, owner: &Owner) -> bool {
        let here = self.contacts.get(&owner.id).filter(|contact| !contact.is_deleted);
        owner.rightful_root().is_some() || here.is_some_and(|contact| contact.identifiers.contains(identifier))
    }
}
