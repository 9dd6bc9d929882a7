use std::collections::{BTreeMap, BTreeSet};

use identity::domain::{Contact, ContactId, EvidenceOrigin, Identifier, Identity, Link, SetKey, StoredSets, Timestamp};

/// All rows: `Contact`, `Identifier`, `ContactMerge` and `Evidence`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) contacts: BTreeMap<ContactId, Contact>,
    pub(crate) identifiers: BTreeMap<Identifier, ContactId>,
    pub(crate) merges: Vec<MergeRow>,
    pub(crate) evidence: Vec<EvidenceRow>,
    /// The identifiers whose row names a holder: they are ignored.
    pub(crate) ignored: BTreeSet<Identifier>,
}

#[derive(Clone, Debug)]
pub(crate) struct MergeRow {
    pub(crate) survivor: ContactId,
    pub(crate) absorbed: ContactId,
    pub(crate) cause: Vec<Identifier>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EvidenceRow {
    pub(crate) key: SetKey,
    pub(crate) contact: ContactId,
    pub(crate) identifiers: Vec<Identifier>,
    pub(crate) origin: EvidenceOrigin,
    pub(crate) created_at: Timestamp,
}

/// What a transaction does to the rows.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Insert(Contact),
    Own(Identifier, ContactId),
    Link(ContactId, Link, Timestamp),
    Touch(ContactId, Timestamp),
    Merge(MergeRow),
    Evidence(EvidenceRow),
    /// The row of a set is deleted.
    NoEvidence(SetKey),
}

impl Tables {
    pub(crate) fn carry_out(&mut self, changes: &[Change]) {
        for change in changes.iter().cloned() {
            match change {
                Change::Insert(contact) => drop(self.contacts.insert(contact.id, contact)),
                Change::Own(identifier, contact) => drop(self.identifiers.insert(identifier, contact)),
                Change::Link(id, link, updated_at) => self.update(id, updated_at, |row| row.link = link),
                Change::Touch(id, updated_at) => self.update(id, updated_at, |_| ()),
                Change::Merge(merge) => self.merges.push(merge),
                Change::Evidence(row) => self.evidence.push(row),
                Change::NoEvidence(set) => self.evidence.retain(|row| row.key != set),
            }
        }
    }

    /// Those of these sets that have a row, and where it leads.
    pub(crate) fn stored_sets(&self, sets: &[SetKey]) -> StoredSets {
        let rows = self.evidence.iter().filter(|row| sets.contains(&row.key));
        rows.map(|row| (row.key, self.contacts.get(&row.contact).map(root))).collect()
    }

    /// Those of these identifiers that are ignored.
    pub(crate) fn ignored_of(&self, identifiers: &[Identifier]) -> BTreeSet<Identifier> {
        identifiers.iter().filter(|identifier| self.ignored.contains(identifier)).cloned().collect()
    }

    /// Ignores an identifier. The contacts of its owner show it from now on.
    pub(crate) fn ignore(&mut self, identifier: &Identifier) {
        self.ignored.insert(identifier.clone());
        let owner = self.identifiers.remove(identifier).and_then(|owner| self.contacts.get(&owner));
        let Some(root_id) = owner.map(root) else { return };
        for row in self.contacts.values_mut().filter(|row| root(row) == root_id) {
            let (ignored, carried): (Vec<_>, Vec<_>) =
                row.identifiers.iter().cloned().partition(|one| one == identifier);
            row.identifiers = carried.into();
            row.ignored = row.ignored.iter().cloned().chain(ignored).collect();
            if row.id == root_id {
                row.updated_at = row.updated_at.next();
            }
        }
    }

    /// Lets an identifier count again, for the identity of the oldest contact that shows it.
    pub(crate) fn stop_ignoring(&mut self, identifier: &Identifier) {
        if !self.ignored.remove(identifier) {
            return;
        }
        let showing = self.contacts.values().filter(|row| row.ignored.contains(identifier));
        let Some(oldest) = showing.min_by_key(|row| (row.created_at, row.id)) else { return };
        let (oldest, root_id) = (oldest.id, root(oldest));
        self.identifiers.insert(identifier.clone(), oldest);
        for row in self.contacts.values_mut().filter(|row| root(row) == root_id) {
            let (carried, ignored): (Vec<_>, Vec<_>) = row.ignored.iter().cloned().partition(|one| one == identifier);
            row.identifiers = row.identifiers.iter().cloned().chain(carried).collect();
            row.ignored = ignored.into();
            if row.id == root_id {
                row.updated_at = row.updated_at.next();
            }
        }
    }

    fn update(&mut self, id: ContactId, updated_at: Timestamp, change: impl FnOnce(&mut Contact)) {
        if let Some(row) = self.contacts.get_mut(&id) {
            row.updated_at = updated_at;
            change(row);
        }
    }

    /// The contacts of the identities that own any of these identifiers, as one statement finds them.
    pub(crate) fn rows<'a>(&self, identifiers: impl IntoIterator<Item = &'a Identifier>) -> Vec<Contact> {
        let owners = identifiers.into_iter().filter_map(|identifier| self.identifiers.get(identifier));
        let roots: BTreeSet<ContactId> = owners.filter_map(|id| self.contacts.get(id)).map(root).collect();
        self.contacts.values().filter(|row| roots.contains(&root(row))).cloned().collect()
    }
}

/// The primary's row, by the link.
pub(crate) fn root(row: &Contact) -> ContactId {
    match row.link {
        Link::Primary => row.id,
        Link::SecondaryOf(primary) => primary,
    }
}

/// What these rows, perhaps of several statements, are taken for.
pub(crate) fn identities(rows: Vec<Contact>) -> Vec<Identity> {
    let mut groups: BTreeMap<ContactId, BTreeMap<ContactId, Contact>> = BTreeMap::new();
    for row in rows {
        groups.entry(root(&row)).or_default().entry(row.id).or_insert(row);
    }
    groups.into_values().filter_map(|group| Identity::new(group.into_values().collect())).collect()
}
