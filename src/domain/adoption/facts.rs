//! The numbers of a report about the identities of an old table.

use std::collections::BTreeMap;

use super::adopted::{AdoptedIdentities, LinkChange};
use super::old_contact::ValueChanges;
use super::table::flag;

/// What happened to the links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// They lead to the primary now, and led to another row.
    pub flattened: u64,
    /// They named a row that does not exist.
    pub broken: u64,
    /// They were part of a circle, or led to their own row.
    pub circular: u64,
    /// Their row is the primary now.
    pub removed: u64,
    /// Their row had none.
    pub added: u64,
    /// They could not be read.
    pub unreadable: u64,
}

/// An identity that the old table shows as several customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinedIdentity {
    /// The id of its primary.
    pub primary: i64,
    /// How many identities of the old table it has.
    pub old_identities: u64,
    /// How many live contacts it has.
    pub contacts: u64,
}

/// The numbers of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptionFacts {
    /// Rows.
    pub rows: u64,
    /// Rows that are deleted.
    pub deleted: u64,
    /// Identities with a live row.
    pub identities: u64,
    /// Identities of deleted rows alone.
    pub deleted_identities: u64,
    /// Live rows without an identifier.
    pub without_identifier: u64,
    /// Identities with more live contacts than the limit of the service.
    pub too_large: u64,
    /// The live contacts of the largest identity.
    pub largest: u64,
    /// Values that were changed.
    pub values: ValueChanges,
    /// Values of which `AdoptedContact` has only the beginning.
    pub shortened: u64,
    /// The links.
    pub links: LinkFacts,
    /// Rows whose precedence was corrected.
    pub precedences: u64,
    /// The joins that the old table does not have, by cause.
    pub joins: BTreeMap<String, u64>,
    /// Joined identities by how many of the old table they have.
    pub joined_by_size: BTreeMap<u64, u64>,
    /// Those of the most old identities, at most ten.
    pub largest_joins: Vec<JoinedIdentity>,
}

/// How many of the largest joins a report has.
const LARGEST: usize = 10;

impl AdoptedIdentities {
    /// Returns the numbers. `max_contacts` is the limit of live contacts in an identity.
    pub fn facts(&self, max_contacts: u64) -> AdoptionFacts {
        let values = self.table.changes.clone();
        let (rows, shortened) = (u64::from(self.table.count()), self.table.shortened);
        let mut facts = AdoptionFacts { rows, values, shortened, ..AdoptionFacts::default() };
        let mut contacts = vec![0_u32; self.primaries.len()];
        for index in 0..self.table.count() {
            let primary = self.primaries[index as usize];
            let is_live = self.table.has(index, flag::LIVE);
            contacts[primary as usize] += u32::from(is_live);
            facts.deleted += u64::from(!is_live);
            facts.without_identifier += u64::from(is_live && !self.table.has(index, flag::HAS_IDENTIFIER));
            let wrong = if primary == index { flag::SAYS_SECONDARY } else { flag::SAYS_PRIMARY };
            facts.precedences += u64::from(self.table.has(index, wrong));
            facts.links.count(self.link_change(index, self.stored_link(index)));
        }
        for index in (0..self.table.count()).filter(|index| self.primaries[*index as usize] == *index) {
            let contacts = u64::from(contacts[index as usize]);
            facts.identities += u64::from(contacts > 0);
            facts.deleted_identities += u64::from(contacts == 0);
            facts.too_large += u64::from(contacts > max_contacts);
            facts.largest = facts.largest.max(contacts);
        }
        self.add_joins(&mut facts, &contacts);
        facts
    }

    /// The link of a row as it was stored; 0 for each that can be no row.
    fn stored_link(&self, index: u32) -> Option<i64> {
        if self.table.has(index, flag::LINKS_TO_NOTHING) {
            return Some(0);
        }
        let target = self.links.target(index).map(|target| self.links.id(&self.table, target));
        let is_own = target.is_none() && self.table.has(index, flag::IN_CIRCLE);
        target.or(is_own.then(|| self.table.ids[index as usize]))
    }

    fn add_joins(&self, facts: &mut AdoptionFacts, contacts: &[u32]) {
        let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
        for join in self.joins.all() {
            *facts.joins.entry(join.causes.name()).or_default() += 1;
            *sizes.entry(join.survivor).or_insert(1) += 1;
        }
        for (primary, old_identities) in sizes {
            *facts.joined_by_size.entry(old_identities).or_default() += 1;
            facts.largest_joins.push(JoinedIdentity {
                primary: self.table.ids[primary as usize],
                old_identities,
                contacts: u64::from(contacts[primary as usize]),
            });
        }
        facts.largest_joins.sort_by_key(|joined| (std::cmp::Reverse(joined.old_identities), joined.primary));
        facts.largest_joins.truncate(LARGEST);
    }
}

impl LinkFacts {
    fn count(&mut self, change: Option<LinkChange>) {
        match change {
            None => {}
            Some(LinkChange::Flattened) => self.flattened += 1,
            Some(LinkChange::Broken) => self.broken += 1,
            Some(LinkChange::Circular) => self.circular += 1,
            Some(LinkChange::Promoted) => self.removed += 1,
            Some(LinkChange::Joined) => self.added += 1,
            Some(LinkChange::Unreadable) => self.unreadable += 1,
        }
    }
}
