//! Disjoint sets of rows, by index: union-find with four bytes a row.

/// Disjoint sets of the numbers below a limit.
#[derive(Clone, Debug)]
pub(super) struct Sets(Vec<u32>);

impl Sets {
    /// Each number in a set of its own.
    pub(super) fn singletons(count: u32) -> Self {
        Self((0..count).collect())
    }

    /// Returns the number that stands for the set. It is one of the set, and changes when sets are united.
    pub(super) fn find(&mut self, mut index: u32) -> u32 {
        loop {
            let parent = self.parent(index);
            if parent == index {
                return index;
            }
            // Each second step of the way becomes shorter, so that later ways are short.
            let grandparent = self.parent(parent);
            self.0[index as usize] = grandparent;
            index = grandparent;
        }
    }

    /// Unites two sets. Returns whether they were two.
    pub(super) fn unite(&mut self, one: u32, other: u32) -> bool {
        let (one, other) = (self.find(one), self.find(other));
        let (low, high) = (one.min(other), one.max(other));
        self.0[high as usize] = low;
        low != high
    }

    fn parent(&self, index: u32) -> u32 {
        self.0[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_that_are_united_have_one_number() {
        let mut sets = Sets::singletons(6);
        assert!(sets.unite(5, 3));
        assert!(sets.unite(3, 1));
        assert!(!sets.unite(1, 5));
        let found: Vec<u32> = (0..6).map(|index| sets.find(index)).collect();
        assert_eq!(found, [0, 1, 2, 1, 4, 1]);
    }
}
