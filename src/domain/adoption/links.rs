//! The links of the old table: where they lead, and which old identities they make.

use std::collections::BTreeSet;

use super::hub::{Hub, HubCause};
use super::sets::Sets;
use super::table::{NONE, OldIdentities, flag};

/// Where the link of each row leads.
#[derive(Debug)]
pub(super) struct Links {
    /// The index of the row that each row links to, or [`NONE`]. Rows that are missing have indexes behind the last.
    pub(super) targets: Vec<u32>,
    /// The ids of the missing rows.
    pub(super) missing: Vec<i64>,
}

impl Links {
    /// Resolves the links of the table, and marks rows in circles.
    pub(super) fn resolve(table: &mut OldIdentities) -> Self {
        let links = std::mem::take(&mut table.links);
        let is_missing = |id: &i64| *id != 0 && table.index_of(*id).is_none();
        let mut missing: Vec<i64> = links.iter().copied().filter(is_missing).collect();
        missing.sort_unstable();
        missing.dedup();
        let rows = table.count();
        let target = |(index, link): (usize, &i64)| {
            if *link == 0 || table.ids[index] == *link {
                return NONE;
            }
            table.index_of(*link).unwrap_or_else(|| {
                let place = missing.binary_search(link).ok().and_then(|place| u32::try_from(place).ok());
                place.map_or(NONE, |place| rows + place)
            })
        };
        let targets: Vec<u32> = links.iter().enumerate().map(target).collect();
        for (index, link) in links.iter().enumerate() {
            if table.ids[index] == *link {
                table.flags[index] |= flag::IN_CIRCLE;
            }
        }
        let resolved = Self { targets, missing };
        resolved.mark_circles(table);
        resolved
    }

    /// Returns the index of the row that this row links to.
    pub(super) fn target(&self, index: u32) -> Option<u32> {
        self.targets.get(index as usize).copied().filter(|target| *target != NONE)
    }

    /// Returns the number of indexes: rows, and missing rows.
    pub(super) fn indexes(&self) -> u32 {
        u32::try_from(self.targets.len() + self.missing.len()).unwrap_or(NONE)
    }

    /// Returns the missing rows to which more than `max_join` rows link.
    pub(super) fn missing_hubs(&self, max_join: usize, accepted: &BTreeSet<i64>) -> Vec<Hub> {
        let mut counts = vec![0_usize; self.missing.len()];
        for target in self.targets.iter().filter(|target| **target != NONE) {
            if let Some(count) = (*target as usize).checked_sub(self.targets.len()).and_then(|at| counts.get_mut(at)) {
                *count += 1;
            }
        }
        let missing = self.missing.iter().zip(counts).filter(|(_, count)| *count > max_join);
        let hub = |(id, count): (&i64, usize)| Hub {
            cause: HubCause::MissingRow,
            identities: count,
            contact: *id,
            is_accepted: accepted.contains(id),
        };
        missing.map(hub).collect()
    }

    /// Follows every link once.
    fn mark_circles(&self, table: &mut OldIdentities) {
        let mut seen = vec![false; self.targets.len()];
        let mut walk = Vec::new();
        for start in 0..table.count() {
            let mut next = Some(start);
            while let Some(index) = next.filter(|index| seen.get(*index as usize) == Some(&false)) {
                seen[index as usize] = true;
                walk.push(index);
                next = self.target(index);
            }
            // The walk ended at a row that was seen: one of this walk closes a circle.
            if let Some(begin) = next.and_then(|end| walk.iter().position(|index| *index == end)) {
                for index in &walk[begin..] {
                    table.flags[*index as usize] |= flag::IN_CIRCLE;
                }
            }
            walk.clear();
        }
    }

    /// Whether the old table shows a row as a primary: it calls it so, or it is linked to nothing.
    pub(super) fn is_old_primary(&self, table: &OldIdentities, index: u32) -> bool {
        table.has(index, flag::SAYS_PRIMARY) || self.target(index).is_none()
    }

    /// Returns the sets of rows that the old table shows as one customer: each row with the one that it links to, up to
    /// a primary.
    pub(super) fn old_sets(&self, table: &OldIdentities) -> Sets {
        let mut sets = Sets::singletons(self.indexes());
        for index in 0..table.count() {
            if !self.is_old_primary(table, index)
                && let Some(target) = self.target(index)
            {
                sets.unite(index, target);
            }
        }
        sets
    }

    /// Returns the id at an index, also of a missing row.
    pub(super) fn id(&self, table: &OldIdentities, index: u32) -> i64 {
        let index = index as usize;
        let missing = || self.missing[index - table.ids.len()];
        table.ids.get(index).copied().unwrap_or_else(missing)
    }
}

impl OldIdentities {
    /// Returns the number of rows.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(NONE)
    }
}
