//! Which rows are one customer, and which joins the old table did not have.

use std::collections::{BTreeSet, HashMap};

use super::adopted::AdoptedIdentities;
use super::hub::{Hub, HubCause};
use super::joins::{Join, JoinCauses};
use super::links::Links;
use super::sets::Sets;
use super::table::{NONE, OldIdentities, flag};
use crate::domain::identifier::Identifier;

impl OldIdentities {
    /// Decides about all rows. An identifier that alone joins more than `max_join` identities of the old table needs a
    /// decision, unless it is accepted. So does a missing row to which more rows link.
    pub fn decide(
        mut self,
        max_join: usize,
        accepted: &BTreeSet<Identifier>,
        accepted_links: &BTreeSet<i64>,
    ) -> AdoptedIdentities {
        self.settle_marks();
        let links = Links::resolve(&mut self);
        let mut sets = links.old_sets(&self);
        let old: Vec<u32> = (0..links.indexes()).map(|index| sets.find(index)).collect();
        let accepted = accepted.iter().map(|identifier| self.fingerprints.fingerprint(identifier)).collect();
        let mut causes = vec![JoinCauses::default(); old.len()];
        let mut hubs = self.unite_by_identifiers(&mut sets, &old, max_join, &accepted, &mut causes);
        hubs.extend(links.missing_hubs(max_join, accepted_links));
        hubs.sort_by_key(|hub| (std::cmp::Reverse(hub.identities), hub.contact, hub.cause));
        let primaries = self.unite_by_links(&links, &mut sets, &old, &mut causes);
        let joins = self.joins(&links, &old, &primaries, &causes);
        AdoptedIdentities::new(self, links, old, primaries, joins, hubs)
    }

    /// Unites rows that carry the same identifier. Notes by which kinds each old identity is joined with others.
    fn unite_by_identifiers(
        &mut self,
        sets: &mut Sets,
        old: &[u32],
        max_join: usize,
        accepted: &BTreeSet<[u8; 12]>,
        causes: &mut [JoinCauses],
    ) -> Vec<Hub> {
        let mut evidence = std::mem::take(&mut self.evidence);
        evidence.sort_unstable();
        let mut hubs = Vec::new();
        for carriers in evidence.chunk_by(|one, other| one.fingerprint == other.fingerprint) {
            let [first, _, ..] = carriers else { continue };
            let mut joined: Vec<u32> = carriers.iter().map(|one| old[one.row as usize]).collect();
            joined.sort_unstable();
            joined.dedup();
            if joined.len() < 2 {
                continue;
            }
            let kind = first.kind();
            for one in carriers {
                self.flags[one.row as usize] |= flag::joins(kind);
                sets.unite(first.row, one.row);
            }
            for identity in &joined {
                causes[*identity as usize].add(kind);
            }
            if joined.len() > max_join {
                hubs.push(Hub {
                    cause: HubCause::Identifier(kind),
                    identities: joined.len(),
                    contact: self.ids[first.row as usize],
                    is_accepted: accepted.contains(&first.fingerprint),
                });
            }
        }
        if self.keeps_carriers {
            self.evidence = evidence;
        }
        hubs
    }

    /// Unites the rows that links join although the old table calls both primaries. Returns the primary of each row.
    /// Notes which old identities are joined with the others by links alone.
    fn unite_by_links(&self, links: &Links, sets: &mut Sets, old: &[u32], causes: &mut [JoinCauses]) -> Vec<u32> {
        let mut joining = Vec::new();
        for index in (0..self.count()).filter(|index| links.is_old_primary(self, *index)) {
            joining.extend(links.target(index).map(|target| (index, target)));
        }
        // What identifiers alone make of both ends.
        let ends = joining.iter().flat_map(|(one, other)| [*one, *other]);
        let classes: BTreeSet<u32> = ends.map(|index| sets.find(index)).collect();
        let mut oldest: HashMap<u32, u32> = HashMap::new();
        if !classes.is_empty() {
            for index in (0..self.count()).filter(|index| self.has(*index, flag::LIVE)) {
                let class = sets.find(index);
                if classes.contains(&class) {
                    let best = oldest.entry(class).or_insert(index);
                    *best = self.older(*best, index);
                }
            }
        }
        for (one, other) in joining {
            sets.unite(one, other);
        }
        let primaries = self.primaries(links, sets);
        for best in oldest.into_values().filter(|best| primaries[*best as usize] != *best) {
            causes[old[best as usize] as usize].by_link = true;
        }
        primaries
    }

    /// Returns the primary of each row: the oldest live one of its set. A set without a live row keeps its oldest.
    fn primaries(&self, links: &Links, sets: &mut Sets) -> Vec<u32> {
        let mut best = vec![NONE; links.indexes() as usize];
        for index in 0..self.count() {
            let best = &mut best[sets.find(index) as usize];
            *best = if *best == NONE { index } else { self.preferred(*best, index) };
        }
        (0..self.count()).map(|index| best[sets.find(index) as usize]).collect()
    }

    /// Returns the joins that the old table does not have, by the id that is absorbed.
    fn joins(&self, links: &Links, old: &[u32], primaries: &[u32], causes: &[JoinCauses]) -> Vec<Join> {
        // The contact that stands for each old identity: its primary, else its oldest live row.
        let mut stands_for = vec![NONE; old.len()];
        for index in (0..self.count()).filter(|index| self.has(*index, flag::LIVE)) {
            let best = &mut stands_for[old[index as usize] as usize];
            let rank = |index: u32| (!links.is_old_primary(self, index), self.age(index));
            if *best == NONE || rank(index) < rank(*best) {
                *best = index;
            }
        }
        let mut joins = Vec::new();
        for (identity, absorbed) in (0..).zip(stands_for).filter(|(_, best)| *best != NONE) {
            let survivor = primaries[absorbed as usize];
            if old[survivor as usize] != identity {
                let causes = causes[identity as usize];
                joins.push(Join { survivor, absorbed, old_identity: identity, causes });
            }
        }
        joins.sort_by_key(|join| join.absorbed);
        joins
    }

    fn older(&self, one: u32, other: u32) -> u32 {
        if self.age(other) < self.age(one) { other } else { one }
    }

    /// The oldest, but a live one before each deleted one.
    fn preferred(&self, one: u32, other: u32) -> u32 {
        let rank = |index| (!self.has(index, flag::LIVE), self.age(index));
        if rank(other) < rank(one) { other } else { one }
    }
}
