use std::collections::HashMap;

use super::history::History;
use super::seen_set::SeenSet;
use crate::domain::contact::Timestamp;
use crate::domain::identifier::Identifier;

/// Which identifiers are in which sets.
pub(super) struct Incidence {
    /// The identifiers, in the order of the oldest contact that carries each.
    pub(super) identifiers: Vec<Identifier>,
    /// The indexes of the identifiers of each set.
    pub(super) members: Vec<Vec<usize>>,
    /// The indexes of the sets of each identifier, in order.
    pub(super) sets: Vec<Vec<usize>>,
    indexes: HashMap<Identifier, usize>,
}

impl Incidence {
    /// Returns the graph of these sets, and of the identifiers of the contacts that were there.
    pub(super) fn from_history(history: &History, sets: &[SeenSet], at: Option<Timestamp>) -> Self {
        let mut graph =
            Self { identifiers: Vec::new(), members: Vec::new(), sets: Vec::new(), indexes: HashMap::new() };
        let there = history.contacts.iter().filter(|row| row.is_there(at));
        for identifier in there.flat_map(|row| row.contact.identifiers.iter()) {
            graph.add(identifier);
        }
        for (place, set) in sets.iter().enumerate() {
            let mut members: Vec<usize> = set.identifiers.iter().map(|identifier| graph.add(identifier)).collect();
            members.sort_unstable();
            members.dedup();
            for index in &members {
                graph.sets[*index].push(place);
            }
            graph.members.push(members);
        }
        graph
    }

    /// Returns the index of an identifier, if it is one of these.
    pub(super) fn index(&self, identifier: &Identifier) -> Option<usize> {
        self.indexes.get(identifier).copied()
    }

    fn add(&mut self, identifier: &Identifier) -> usize {
        let next = self.identifiers.len();
        let index = *self.indexes.entry(identifier.clone()).or_insert(next);
        if index == next {
            self.identifiers.push(identifier.clone());
            self.sets.push(Vec::new());
        }
        index
    }

    /// Returns for each identifier the index of the first one that it is connected with, without some sets and some
    /// identifiers.
    pub(super) fn components(
        &self,
        is_set_removed: impl Fn(usize) -> bool,
        is_removed: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let mut component = vec![usize::MAX; self.identifiers.len()];
        let mut is_set_seen = vec![false; self.members.len()];
        for first in 0..self.identifiers.len() {
            if component[first] != usize::MAX {
                continue;
            }
            component[first] = first;
            let mut waiting = vec![first];
            while let Some(index) = waiting.pop().filter(|index| !is_removed(*index)) {
                for set in &self.sets[index] {
                    if is_set_removed(*set) || std::mem::replace(&mut is_set_seen[*set], true) {
                        continue;
                    }
                    for other in &self.members[*set] {
                        if component[*other] == usize::MAX && !is_removed(*other) {
                            component[*other] = first;
                            waiting.push(*other);
                        }
                    }
                }
            }
        }
        component
    }
}
