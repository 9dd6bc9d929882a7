//! Things that were joined, step by step.

use std::collections::HashMap;
use std::hash::Hash;

/// Disjoint groups, each with its members.
pub struct Groups<T> {
    group_of: HashMap<T, usize>,
    members: Vec<Vec<T>>,
}

impl<T: Clone + Eq + Hash> Groups<T> {
    pub fn new() -> Self {
        Self { group_of: HashMap::new(), members: Vec::new() }
    }

    pub fn knows(&self, one: &T) -> bool {
        self.group_of.contains_key(one)
    }

    pub fn group(&self, one: &T) -> Option<usize> {
        self.group_of.get(one).copied()
    }

    /// The groups that these are in, each once.
    pub fn groups(&self, these: &[T]) -> Vec<usize> {
        let mut groups: Vec<usize> = these.iter().filter_map(|one| self.group(one)).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    pub fn in_group(&self, group: usize) -> &[T] {
        &self.members[group]
    }

    /// Makes one group of these and of all that they are in groups with.
    pub fn join(&mut self, these: &[T]) {
        let groups = self.groups(these);
        let target = groups.iter().copied().max_by_key(|group| self.members[*group].len()).unwrap_or_else(|| {
            self.members.push(Vec::new());
            self.members.len() - 1
        });
        for group in groups.into_iter().filter(|group| *group != target) {
            for one in std::mem::take(&mut self.members[group]) {
                self.group_of.insert(one.clone(), target);
                self.members[target].push(one);
            }
        }
        for one in these {
            if !self.group_of.contains_key(one) {
                self.group_of.insert(one.clone(), target);
                self.members[target].push(one.clone());
            }
        }
    }
}
