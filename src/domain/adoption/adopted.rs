//! The identities of an old table: what each row becomes, and which joins are new.

use super::hub::Hub;
use super::joins::{AdoptedMerge, Join, Joins};
use super::links::Links;
use super::old_contact::{AdoptionRules, CleanValue, OldContact};
use super::table::{OldIdentities, flag, joining_kinds};
use crate::domain::contact::Timestamp;
use crate::domain::identifier::{Identifier, IdentifierKind};

/// What happened to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkChange {
    /// It named a row that does not exist.
    Broken,
    /// It was part of a circle, or led to its own row.
    Circular,
    /// It leads to the primary now, and led to another row.
    Flattened,
    /// The row is the primary now.
    Promoted,
    /// The row had no link.
    Joined,
    /// It could not be read. The row counts as linked to nothing.
    Unreadable,
}

impl LinkChange {
    /// Returns its name in `AdoptedContact.reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Circular => "circular",
            Self::Flattened => "flattened",
            Self::Promoted => "removed",
            Self::Joined => "added",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The reason that `AdoptedContact.reason` has for a live row without any identifier. It comes last.
pub const NO_IDENTIFIER: &str = "no identifier";

/// A row as it is adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedRow {
    /// Its id.
    pub id: i64,
    /// Its canonical e-mail address.
    pub email: Option<Identifier>,
    /// Its canonical phone number.
    pub phone_number: Option<Identifier>,
    /// The id of its primary; `None` on a primary.
    pub linked_to: Option<i64>,
    /// The kinds of its values that it shows only: they are ignored.
    pub ignored: Vec<IdentifierKind>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
    /// What was changed, in words; `None` if nothing was.
    pub reason: Option<String>,
}

/// The bytes of memory that a row needs after the identities are decided: id, date, flags, where its link leads, its
/// old identity and its primary.
const BYTES_OF_DECIDED_ROW: usize = 30;

/// The bytes of memory that a missing row needs then, if others link to it.
const BYTES_OF_MISSING_ROW: usize = 16;

/// The identities of an old table.
#[derive(Debug)]
pub struct AdoptedIdentities {
    pub(super) table: OldIdentities,
    pub(super) links: Links,
    /// The number of the old identity of each row, also of missing rows.
    pub(super) old: Vec<u32>,
    /// The index of the primary of each row.
    pub(super) primaries: Vec<u32>,
    pub(super) joins: Joins,
    hubs: Vec<Hub>,
}

impl AdoptedIdentities {
    pub(super) fn new(
        table: OldIdentities,
        links: Links,
        old: Vec<u32>,
        primaries: Vec<u32>,
        joins: Vec<Join>,
        hubs: Vec<Hub>,
    ) -> Self {
        let mut joins = Joins::new(joins);
        for (flags, identity) in table.flags.iter().zip(&old) {
            let causes = joining_kinds(*flags).count();
            if causes > 0 {
                joins.expect(*identity, causes);
            }
        }
        Self { table, links, old, primaries, joins, hubs }
    }

    /// Returns about so many bytes of memory that the identities need, with what [`Self::adopt`] will note.
    pub fn bytes(&self) -> u64 {
        let carriers = size_of_val(self.table.evidence.as_slice());
        let missing = self.links.missing.len() * BYTES_OF_MISSING_ROW;
        (self.table.len() * BYTES_OF_DECIDED_ROW + missing + carriers + self.joins.bytes()) as u64
    }

    /// Returns the identifiers that alone join more identities of the old table than is usual, the worst first.
    pub fn hubs(&self) -> &[Hub] {
        &self.hubs
    }

    /// Returns the rules by which values are read.
    pub fn rules(&self) -> &AdoptionRules {
        &self.table.rules
    }

    /// Returns [`OldIdentities::content`].
    pub fn content(&self) -> u64 {
        self.table.content()
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.table.len()
    }

    /// Returns the greatest id.
    pub fn last_id(&self) -> Option<i64> {
        self.table.ids.last().copied()
    }

    /// Returns a row as it is adopted. `None` if the row was not there when the identities were decided.
    ///
    /// It also notes the identifiers that cause joins, for [`Self::merges`]: give it each row once.
    pub fn adopt(&mut self, row: &OldContact) -> Option<AdoptedRow> {
        let index = self.table.index_of(row.id)?;
        let primary = self.primaries[index as usize];
        let is_primary = primary == index;
        let linked_to = (!is_primary).then(|| self.table.ids[primary as usize]);
        let values = self.table.settled_values(row);
        self.note_causes(index, &values);
        let created_at = row.created_at.unwrap_or(Timestamp(self.table.created[index as usize]));
        let updated_at = row.updated_at.unwrap_or(created_at);
        let mut reasons = Vec::new();
        for (kind, value) in &values {
            reasons.extend(value.change.map(|change| format!("{} {}", kind.name(), change.name())));
        }
        let link_change = self.link_change(index, row.linked_id);
        reasons.extend(link_change.map(|change| format!("link {}", change.name())));
        if row.says_primary.is_some_and(|says| says != is_primary) {
            reasons.push("precedence corrected".to_owned());
        }
        for (date, at, is_unreadable) in [
            ("createdAt", row.created_at, row.unreadable.created_at),
            ("updatedAt", row.updated_at, row.unreadable.updated_at),
        ] {
            let wrong = if is_unreadable { "unreadable" } else { "missing" };
            reasons.extend(at.is_none().then(|| format!("{date} {wrong}")));
        }
        if !reasons.is_empty() {
            reasons.extend(row.long_parts().map(|part| format!("{part} shortened")));
        }
        if row.is_live() && values.iter().all(|(_, value)| value.identifier.is_none()) {
            reasons.push(NO_IDENTIFIER.to_owned());
        }
        let ignored = values.iter().filter(|(_, value)| value.is_ignored()).map(|(kind, _)| *kind).collect();
        let [(_, email), (_, phone)] = values;
        Some(AdoptedRow {
            id: row.id,
            email: email.identifier,
            phone_number: phone.identifier,
            linked_to,
            ignored,
            created_at,
            updated_at,
            deleted_at: row.deleted_at,
            reason: (!reasons.is_empty()).then(|| reasons.join(", ")),
        })
    }

    fn note_causes(&mut self, index: u32, values: &[(IdentifierKind, CleanValue); 2]) {
        let flags = self.table.flags[index as usize];
        if flags & (flag::EMAIL_JOINS | flag::PHONE_JOINS) == 0 {
            return;
        }
        let Some(position) = self.joins.position(self.old[index as usize]) else { return };
        for kind in joining_kinds(flags) {
            let of_kind = values.iter().find(|(one, _)| *one == kind);
            if let Some(identifier) = of_kind.and_then(|(_, value)| value.carried()) {
                self.joins.note(position, identifier.clone());
            }
        }
    }

    /// Returns what happened to the link of a row. `stored` is its link as it was stored.
    pub(super) fn link_change(&self, index: u32, stored: Option<i64>) -> Option<LinkChange> {
        let primary = self.primaries[index as usize];
        if self.table.has(index, flag::LINK_UNREADABLE) {
            return Some(LinkChange::Unreadable);
        }
        let Some(stored) = stored else { return (primary != index).then_some(LinkChange::Joined) };
        let target = self.links.target(index);
        if target == Some(primary) && primary != index && stored == self.table.ids[primary as usize] {
            None
        } else if self.table.has(index, flag::IN_CIRCLE) {
            Some(LinkChange::Circular)
        } else if target.is_none_or(|target| target >= self.table.count()) {
            Some(LinkChange::Broken)
        } else if primary == index {
            Some(LinkChange::Promoted)
        } else {
            Some(LinkChange::Flattened)
        }
    }

    /// Returns how many merges there are.
    pub fn count_merges(&self) -> usize {
        self.joins.all().len()
    }

    /// Returns the joins that the old table does not have, by the id that is absorbed, with the identifiers of the rows
    /// that [`Self::adopt`] has had.
    pub fn merges(&self) -> impl Iterator<Item = AdoptedMerge> {
        let id = |index: u32| self.table.ids[index as usize];
        self.joins.with_identifiers().map(move |(join, identifiers)| AdoptedMerge {
            survivor: id(join.survivor),
            absorbed: id(join.absorbed),
            identifiers,
            by_link: join.causes.by_link,
        })
    }

    /// Returns each id by which the old table names a customer and that is not the primary's: old id, new id. Rows of
    /// other tables that refer to the old id are to refer to the new one.
    pub fn changed_primaries(&self) -> Vec<(i64, i64)> {
        let mut changed = Vec::new();
        let mut seen = vec![false; self.old.len()];
        for index in (0..self.table.count()).filter(|index| self.table.has(*index, flag::LIVE)) {
            let primary = self.primaries[index as usize];
            let is_own = self.links.is_old_primary(&self.table, index);
            let link = self.links.target(index).filter(|_| !is_own);
            for named in [is_own.then_some(index), link].into_iter().flatten() {
                if named != primary && !std::mem::replace(&mut seen[named as usize], true) {
                    changed.push((self.links.id(&self.table, named), self.table.ids[primary as usize]));
                }
            }
        }
        changed.sort_unstable();
        changed
    }
}
