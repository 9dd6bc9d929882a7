//! What is kept in memory of each row of the old table.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::fingerprint::{Evidence, Fingerprints};
use super::mark_list::Marks;
use super::old_contact::{AdoptionRules, OldContact, ValueChanges};
use crate::domain::contact::Timestamp;
use crate::domain::identifier::IdentifierKind;

/// Stands for "no row".
pub(super) const NONE: u32 = u32::MAX;

/// What is known of a row beside its id: bits.
pub(super) mod flag {
    /// It is not deleted.
    pub(in super::super) const LIVE: u16 = 1;
    /// The old table calls it primary.
    pub(in super::super) const SAYS_PRIMARY: u16 = 2;
    /// Its e-mail address joins old identities.
    pub(in super::super) const EMAIL_JOINS: u16 = 4;
    /// Its phone number joins old identities.
    pub(in super::super) const PHONE_JOINS: u16 = 8;
    /// Its link leads back to itself.
    pub(in super::super) const IN_CIRCLE: u16 = 16;
    /// The old table calls it secondary.
    pub(in super::super) const SAYS_SECONDARY: u16 = 32;
    /// It carries an identifier.
    pub(in super::super) const HAS_IDENTIFIER: u16 = 64;
    /// It links to 0 or to a negative number, which is no row, or its link is ignored.
    pub(in super::super) const LINKS_TO_NOTHING: u16 = 128;
    /// Its link cannot be read.
    pub(in super::super) const LINK_UNREADABLE: u16 = 256;

    /// The bit that says that a value of this kind joins old identities.
    pub(in super::super) fn joins(kind: crate::domain::identifier::IdentifierKind) -> u16 {
        match kind {
            crate::domain::identifier::IdentifierKind::Email => EMAIL_JOINS,
            crate::domain::identifier::IdentifierKind::Phone => PHONE_JOINS,
        }
    }
}

/// Why a table cannot be adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitTable {
    /// The ids do not rise from row to row.
    #[error("the ids of the old table do not rise: {0} comes after {1}")]
    Order(i64, i64),
    /// It has more rows than can be counted here.
    #[error("the old table has more than 4 billion rows")]
    TooLong,
}

/// The rows of the old table, in the order of their ids, without their values.
#[derive(Debug)]
pub struct OldIdentities {
    pub(super) rules: AdoptionRules,
    pub(super) fingerprints: Fingerprints,
    pub(super) ids: Vec<i64>,
    /// `createdAt`, in microseconds; of a row without it, the one that it gets.
    pub(super) created: Vec<i64>,
    /// The id that each row links to, 0 for none.
    pub(super) links: Vec<i64>,
    pub(super) flags: Vec<u16>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) marks: Marks,
    /// Whether `evidence` stays after the identities are decided, sorted.
    pub(super) keeps_carriers: bool,
    /// How many values were changed.
    pub(super) changes: ValueChanges,
    /// How many values are too long to be kept as they were.
    pub(super) shortened: u64,
    /// How many rows at the beginning have no date yet.
    undated: usize,
    content: DefaultHasher,
}

/// The bytes of memory that a row needs at most, with two identifiers: 50 for what is kept here and their evidence, and
/// 15 while links are followed and identities are decided.
const BYTES_A_ROW: u64 = 65;

/// The same beside, if the carriers of its identifiers are kept.
const BYTES_OF_CARRIERS: u64 = 32;

impl OldIdentities {
    /// For a table of about so many rows. The key is secret and random.
    pub fn new(rules: AdoptionRules, rows: usize, key: [u8; 16]) -> Self {
        Self {
            rules,
            fingerprints: Fingerprints::new(key),
            ids: Vec::with_capacity(rows),
            created: Vec::with_capacity(rows),
            links: Vec::with_capacity(rows),
            flags: Vec::with_capacity(rows),
            evidence: Vec::with_capacity(rows.saturating_mul(2)),
            marks: Marks::default(),
            keeps_carriers: false,
            changes: ValueChanges::new(),
            shortened: 0,
            undated: 0,
            content: DefaultHasher::new(),
        }
    }

    /// Returns the bytes of memory that a row needs, if the carriers of its identifiers are kept or not.
    pub fn bytes_a_row(keeps_carriers: bool) -> u64 {
        if keeps_carriers { BYTES_A_ROW + BYTES_OF_CARRIERS } else { BYTES_A_ROW }
    }

    /// Keeps what [`AdoptedIdentities::place`](super::AdoptedIdentities::place) needs.
    pub fn keep_carriers(&mut self) {
        self.keeps_carriers = true;
    }

    /// Adds the row with the next id.
    ///
    /// # Errors
    /// [`UnfitTable`].
    pub fn add(&mut self, row: &OldContact) -> Result<(), UnfitTable> {
        if let Some(last) = self.ids.last().filter(|last| **last >= row.id) {
            return Err(UnfitTable::Order(row.id, *last));
        }
        // The rows that links miss are counted too, so half of the numbers is the limit.
        let index = u32::try_from(self.ids.len()).ok().filter(|index| *index < NONE / 2).ok_or(UnfitTable::TooLong)?;
        row.hash(&mut self.content);
        self.reserve();
        let mut flags = if row.is_live() { flag::LIVE } else { 0 };
        flags |= match row.says_primary {
            Some(true) => flag::SAYS_PRIMARY,
            Some(false) => flag::SAYS_SECONDARY,
            None => 0,
        };
        let link = row.linked_id.filter(|id| *id > 0 && !self.rules.ignored_links.contains(id));
        if row.linked_id.is_some() && link.is_none() {
            flags |= flag::LINKS_TO_NOTHING;
        }
        if row.unreadable.link {
            flags |= flag::LINK_UNREADABLE;
        }
        for (kind, value) in self.rules.clean_values(row) {
            flags |= if value.identifier.is_some() { flag::HAS_IDENTIFIER } else { 0 };
            if let Some(identifier) = value.carried().filter(|_| row.is_live()) {
                self.evidence.push(Evidence { fingerprint: self.fingerprints.fingerprint(identifier), row: index });
            }
            if let Some(identifier) = self.rules.only_marked(&value) {
                self.marks.add(Evidence { fingerprint: self.fingerprints.fingerprint(identifier), row: index });
            }
            self.shortened += u64::from(row.is_long(kind));
            if let Some(change) = value.change {
                *self.changes.entry((kind, change)).or_default() += 1;
            }
        }
        self.ids.push(row.id);
        self.links.push(link.unwrap_or(0));
        self.flags.push(flags);
        self.date(row);
        Ok(())
    }

    /// Makes place for a few more rows than were counted: a list that doubles would need twice the memory.
    fn reserve(&mut self) {
        let rows = self.ids.len() / 16 + 1_000;
        if self.ids.len() == self.ids.capacity() {
            self.ids.reserve_exact(rows);
            self.created.reserve_exact(rows);
            self.links.reserve_exact(rows);
            self.flags.reserve_exact(rows);
        }
        if self.evidence.len() + 2 > self.evidence.capacity() {
            self.evidence.reserve_exact(2 * rows);
        }
    }

    /// Sets the date of the row that was added last: `createdAt`, else `updatedAt`, else that of the nearest lower id.
    /// Rows before the first date get that one.
    fn date(&mut self, row: &OldContact) {
        let own = row.created_at.or(row.updated_at).map(|at| at.0);
        if let Some(first) = own
            && self.undated > 0
            && self.undated == self.created.len()
        {
            self.created.fill(first);
            self.undated = 0;
        }
        let before = self.created.last().copied();
        if own.is_none() && self.undated == self.created.len() {
            self.undated += 1;
        }
        self.created.push(own.or(before).unwrap_or(0));
    }

    /// Returns how many rows were added.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Returns a number that stands for all rows that were added: two reads with the same number read the same rows.
    pub fn content(&self) -> u64 {
        self.content.finish()
    }

    /// Returns the index of the row with this id.
    pub(super) fn index_of(&self, id: i64) -> Option<u32> {
        self.ids.binary_search(&id).ok().and_then(|index| u32::try_from(index).ok())
    }

    /// What rows are sorted by, the oldest first. A number of no row comes last.
    pub(super) fn age(&self, index: u32) -> (Timestamp, u32) {
        (Timestamp(self.created.get(index as usize).copied().unwrap_or(i64::MAX)), index)
    }

    /// Whether a row has this flag. A number of no row has none.
    pub(super) fn has(&self, index: u32, flag: u16) -> bool {
        self.flags.get(index as usize).is_some_and(|flags| flags & flag != 0)
    }
}

/// The value kinds whose evidence is `flag`ged, for a row.
pub(super) fn joining_kinds(flags: u16) -> impl Iterator<Item = IdentifierKind> {
    IdentifierKind::ALL.into_iter().filter(move |kind| flags & flag::joins(*kind) != 0)
}
