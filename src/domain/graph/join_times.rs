use crate::domain::contact::Timestamp;

/// Since when two nodes belong together.
///
/// It is a union-find whose links keep the moment at which they were made. Paths are not shortened, so they are as long
/// as the logarithm of the number of nodes. Moments on the way to the root do not decrease, because unions come in the
/// order of time.
#[derive(Clone, Debug, Default)]
pub(super) struct JoinTimes {
    parents: Vec<usize>,
    ranks: Vec<u8>,
    /// When the node was linked to its parent. Nothing is read for a root.
    linked_at: Vec<Timestamp>,
}

impl JoinTimes {
    /// Returns so many nodes of which none is joined.
    pub(super) fn new(nodes: usize) -> Self {
        Self { parents: (0..nodes).collect(), ranks: vec![0; nodes], linked_at: vec![Timestamp(i64::MIN); nodes] }
    }

    /// Joins two nodes from this moment on. Moments are given in order.
    pub(super) fn join(&mut self, one: usize, other: usize, at: Timestamp) {
        let (one, other) = (self.root(one), self.root(other));
        if one == other {
            return;
        }
        let (parent, child) = if self.ranks[one] < self.ranks[other] { (other, one) } else { (one, other) };
        self.parents[child] = parent;
        self.linked_at[child] = at;
        if self.ranks[parent] == self.ranks[child] {
            self.ranks[parent] += 1;
        }
    }

    /// Returns the node that stands for all nodes that are joined with this one.
    pub(super) fn root(&self, node: usize) -> usize {
        self.root_at(node, Timestamp(i64::MAX))
    }

    /// Returns the node that stood for them at this moment.
    pub(super) fn root_at(&self, mut node: usize, at: Timestamp) -> usize {
        while self.parents[node] != node && self.linked_at[node] <= at {
            node = self.parents[node];
        }
        node
    }

    /// Returns since when two nodes are joined, or `None` if they are not.
    pub(super) fn joined_at(&self, mut one: usize, mut other: usize) -> Option<Timestamp> {
        let mut latest = Timestamp(i64::MIN);
        while one != other {
            // The path between them: the side whose next link was made earlier goes on.
            let [next, next_other] = [one, other].map(|node| self.parents[node] != node);
            let is_one = match (next, next_other) {
                (false, false) => return None,
                (true, true) => self.linked_at[one] <= self.linked_at[other],
                (next, _) => next,
            };
            let node = if is_one { &mut one } else { &mut other };
            latest = latest.max(self.linked_at[*node]);
            *node = self.parents[*node];
        }
        Some(latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_joined_since_the_last_union_between_them() {
        let mut times = JoinTimes::new(9);
        let at = Timestamp;
        for (one, other, moment) in [(0, 1, 1), (2, 3, 2), (4, 5, 2), (3, 5, 4), (1, 2, 7), (0, 4, 8)] {
            times.join(one, other, at(moment));
        }
        let pairs = [(0, 1, 1), (2, 3, 2), (2, 4, 4), (0, 2, 7), (1, 5, 7), (3, 3, i64::MIN)];
        for (one, other, moment) in pairs {
            assert_eq!(
                (times.joined_at(one, other), times.joined_at(other, one)),
                (Some(at(moment)), Some(at(moment)))
            );
            assert_eq!(times.root_at(one, at(moment)), times.root_at(other, at(moment)));
            if one != other {
                assert_ne!(times.root_at(one, at(moment - 1)), times.root_at(other, at(moment - 1)));
            }
        }
        assert_eq!((times.joined_at(0, 8), times.joined_at(8, 7)), (None, None));
    }
}
