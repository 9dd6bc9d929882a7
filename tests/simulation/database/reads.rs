//! What reads outside a transaction find.

use std::borrow::Cow;
use std::collections::BTreeSet;

use identity::domain::graph::{HistoryContact, SetName, SetNotes, StoredSet};
use identity::domain::{
    Contact, ContactId, EvidenceOrigin, Identifier, Link, Note, OwnerRow, RootRow, SetKey, StoredEvidence, StoredSets,
};
use identity::store::{Epoch, HistoryRows, RootWindow, StoreError};

use super::{State, TransactionId};
use crate::conditions::{Bug, Poison};
use crate::tables::{Change, EvidenceRow, Tables, root};

/// For [`Bug::StaleVersions`]: by how many commits a row is stale.
const STALE_BY: usize = 3;

/// How many rows a read of roots looks at. Far fewer than a database's.
const ROWS_OF_A_WINDOW: usize = 5;

impl State {
    /// What a replica sees of what is committed.
    pub(super) fn seen_by(&self, replica: usize) -> &Tables {
        self.behind.get(&replica).map_or(&self.committed, |behind| &behind.tables)
    }

    /// The same, and with [`Bug::DirtyRead`] what is not.
    fn read_by(&self, replica: usize) -> Cow<'_, Tables> {
        if self.bug != Some(Bug::DirtyRead) {
            return Cow::Borrowed(self.seen_by(replica));
        }
        let mut tables = self.committed.clone();
        self.open.values().for_each(|open| tables.carry_out(&open.changes));
        Cow::Owned(tables)
    }

    /// Whether reads outside a transaction have the latest.
    pub(crate) fn reads_the_latest(&self) -> bool {
        self.conditions.shown_late == 0 || self.bug == Some(Bug::ShownLate)
    }

    /// An outage ends all connections.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.reads_the_latest().then_some(Epoch { generation: self.outages, connections: 0 })
    }

    /// What [`Transaction::must_write_what_it_locks`](identity::store::Transaction) tells.
    pub(crate) fn must_write_what_is_locked(&self) -> bool {
        self.conditions.shown_late > 0 && self.bug != Some(Bug::KeepsLocks)
    }

    pub(crate) fn read(&mut self, replica: usize, identifiers: &[Identifier]) -> Result<Vec<Contact>, StoreError> {
        self.refuse(Poison::Read, identifiers)?;
        let rows = self.read_by(replica).rows(identifiers);
        Ok(self.torn(rows))
    }

    /// Those of these identifiers that are ignored, as everybody sees it.
    pub(crate) fn ignored_of(&self, identifiers: &[Identifier]) -> std::collections::BTreeSet<Identifier> {
        self.committed.ignored_of(identifiers)
    }

    pub(crate) fn ignore(&mut self, identifier: &Identifier) {
        self.committed.ignore(identifier);
    }

    pub(crate) fn stop_ignoring(&mut self, identifier: &Identifier) {
        self.committed.stop_ignoring(identifier);
    }

    /// Those of these sets that have a row. With [`Bug::EvidenceClaimed`] also pairs that have none.
    pub(crate) fn stored_sets(&self, replica: usize, sets: &[SetKey]) -> StoredSets {
        let tables = self.read_by(replica);
        let mut stored = match self.bug {
            Some(Bug::EvidenceTwice) => StoredSets::new(),
            _ => tables.stored_sets(sets),
        };
        if self.bug == Some(Bug::EvidenceClaimed) {
            let owned: Vec<(&Identifier, ContactId)> =
                tables.identifiers.iter().map(|(one, owner)| (one, root(&tables.contacts[owner]))).collect();
            for (place, (one, of_one)) in owned.iter().enumerate() {
                let others = owned[place..].iter().filter(|(_, of_other)| of_other == of_one);
                let keys = others.map(|(other, _)| SetKey::of(&[(*one).clone(), (*other).clone()]));
                stored.extend(keys.filter(|key| sets.contains(key)).map(|key| (key, Some(*of_one))));
            }
        }
        stored
    }

    /// The same in a transaction, and how many sets the identities of these roots have.
    pub(crate) fn evidence_in(
        &mut self,
        transaction: TransactionId,
        sets: &[SetKey],
        roots: &BTreeSet<ContactId>,
    ) -> Result<StoredEvidence, StoreError> {
        let replica = self.of(transaction)?.replica;
        let tables = self.seen_by(replica);
        let is_of =
            |row: &EvidenceRow, id: ContactId| tables.contacts.get(&row.contact).is_some_and(|row| root(row) == id);
        let count = |id: &ContactId| (*id, tables.evidence.iter().filter(|row| is_of(row, *id)).count());
        let stored = match self.bug {
            Some(Bug::EvidenceTwice) => StoredSets::new(),
            _ => tables.stored_sets(sets),
        };
        Ok(StoredEvidence { sets: stored, counts: roots.iter().map(count).collect() })
    }

    /// The notes of these sets.
    pub(crate) fn notes_of(&self, replica: usize, sets: &[SetName]) -> SetNotes {
        let tables = self.read_by(replica);
        let note = |set: &SetName| match set {
            SetName::Contact(contact) => tables.notes.get(contact),
            SetName::Stored(id) => tables.evidence.get(usize::try_from(id - 1).ok()?)?.note.as_ref(),
            SetName::Link(_) => None,
        };
        sets.iter().filter_map(|set| Some((*set, Note::clone(note(set)?)))).collect()
    }

    /// Whether the set has a committed row.
    pub(crate) fn has_set(&self, set: SetKey) -> bool {
        self.bug != Some(Bug::EvidenceTwice) && self.committed.evidence.iter().any(|row| row.key == set)
    }

    /// Whether a set of this origin is not written.
    pub(crate) fn forgets(&self, origin: EvidenceOrigin) -> bool {
        match origin {
            EvidenceOrigin::Match => self.bug == Some(Bug::EvidenceLost),
            EvidenceOrigin::Merge => self.bug == Some(Bug::MergeEvidenceLost),
        }
    }

    /// Whether a set is written without its root.
    pub(crate) fn leaves_roots_of_evidence(&self) -> bool {
        self.bug == Some(Bug::EvidenceUntouched)
    }

    /// The contacts that have one of these ids, or are linked to it.
    pub(crate) fn contacts_of(&mut self, replica: usize, roots: &[ContactId]) -> Vec<Contact> {
        let is_wanted = |row: &&Contact| roots.contains(&root(row)) || roots.contains(&row.id);
        let rows = self.read_by(replica).contacts.values().filter(is_wanted).cloned().collect();
        self.torn(rows)
    }

    /// The next roots after this one.
    pub(crate) fn roots_after(&self, replica: usize, after: Option<ContactId>, limit: usize) -> RootWindow {
        Self::window(&self.read_by(replica), after, limit)
    }

    /// The roots that a locking read of this range waits for: of each server, shown there or not.
    pub(crate) fn committed_roots_after(&self, after: Option<ContactId>, limit: usize) -> BTreeSet<ContactId> {
        Self::window(&self.committed, after, limit).roots.into_iter().collect()
    }

    fn window(tables: &Tables, after: Option<ContactId>, limit: usize) -> RootWindow {
        let (mut window, mut rows) = (RootWindow::default(), 0);
        for row in tables.contacts.values().filter(|row| Some(row.id) > after) {
            if rows == ROWS_OF_A_WINDOW || row.link == Link::Primary && window.roots.len() == limit {
                return window;
            }
            if row.link == Link::Primary {
                window.roots.push(row.id);
            }
            (window.next, rows) = (Some(row.id), rows + 1);
        }
        RootWindow { next: None, ..window }
    }

    pub(crate) fn root_rows(&mut self, replica: usize, roots: &[ContactId]) -> Vec<RootRow> {
        let rows = |tables: &Tables| roots.iter().filter_map(|id| tables.contacts.get(id)).cloned().collect();
        let rows = match self.past.front() {
            Some(past) if self.bug == Some(Bug::StaleVersions) => rows(past),
            _ => rows(&self.read_by(replica)),
        };
        self.torn(rows).iter().map(root_row).collect()
    }

    /// The rows of the identity of a contact.
    pub(crate) fn history_of(&mut self, replica: usize, contact: ContactId) -> Option<HistoryRows> {
        let tables = self.read_by(replica).into_owned();
        let root_id = tables.contacts.get(&contact).map_or(contact, root);
        let is_of = |row: &Contact| row.id == root_id || root(row) == root_id;
        let contacts = self.torn(tables.contacts.values().filter(|row| is_of(row)).cloned().collect());
        let lacks = usize::from(self.bug == Some(Bug::HistoryLacksSet));
        let kept = tables.evidence.len().saturating_sub(lacks);
        let sets = tables.evidence[..kept]
            .iter()
            .zip(1..)
            .filter(|(row, _)| tables.contacts.get(&row.contact).is_some_and(is_of));
        let stored = sets.map(|(row, id)| StoredSet {
            id,
            identifiers: row.identifiers.clone().into(),
            origin: row.origin,
            seen_at: row.created_at,
        });
        let rows = HistoryRows {
            root: root_id,
            contacts: contacts.into_iter().map(|contact| HistoryContact { contact, deleted_at: None }).collect(),
            stored: stored.collect(),
            links: Vec::new(), // Nothing was adopted.
        };
        Some(rows).filter(|rows| !rows.contacts.is_empty())
    }

    pub(crate) fn owner_rows(
        &mut self,
        replica: usize,
        identifiers: &[Identifier],
    ) -> Result<Vec<OwnerRow>, StoreError> {
        self.refuse(Poison::Read, identifiers)?;
        let roots_in = |tables: &Tables| -> Vec<(Identifier, ContactId, Contact)> {
            let root_of = |identifier: &Identifier| {
                let contact = tables.contacts.get(tables.identifiers.get(identifier)?)?;
                Some((identifier.clone(), contact.id, tables.contacts.get(&root(contact))?.clone()))
            };
            identifiers.iter().filter_map(root_of).collect()
        };
        let ignored = self.ignored_of(identifiers).into_iter();
        let rows = roots_in(&self.read_by(replica));
        let rows = rows.into_iter().map(|(identifier, contact, root)| {
            let root = self.torn(vec![root]).first().map(root_row);
            OwnerRow { identifier, contact, is_deleted: false, is_ignored: false, root }
        });
        let holder = ContactId(0);
        let ignored = ignored.map(|identifier| OwnerRow {
            identifier,
            contact: holder,
            is_deleted: true,
            is_ignored: true,
            root: None,
        });
        Ok(rows.chain(ignored).collect())
    }

    /// The same, but for some primaries.
    pub(super) fn torn(&mut self, mut rows: Vec<Contact>) -> Vec<Contact> {
        let torn_reads = self.conditions.torn_reads;
        rows.retain(|row| row.link != Link::Primary || torn_reads == 0 || self.random.u32(0..1_000) >= torn_reads);
        rows
    }

    /// Lets the rows that these changes write keep the versions that they have.
    pub(super) fn keep_versions(&self, changes: &mut [Change]) {
        for change in changes {
            if let Change::Touch(id, at) = change
                && let Some(row) = self.committed.contacts.get(id)
            {
                *at = row.updated_at;
            }
        }
    }

    /// Remembers what was committed before the commit that follows.
    pub(super) fn keep_past(&mut self) {
        self.past.push_back(self.committed.clone());
        if self.past.len() > STALE_BY {
            self.past.pop_front();
        }
    }
}

fn root_row(row: &Contact) -> RootRow {
    let linked_to = match row.link {
        Link::Primary => None,
        Link::SecondaryOf(primary) => Some(primary),
    };
    RootRow { id: row.id, updated_at: row.updated_at, is_deleted: false, linked_to }
}
