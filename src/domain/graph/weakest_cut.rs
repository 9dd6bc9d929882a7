use std::collections::VecDeque;

use super::incidence::Incidence;

/// Returns the fewest sets whose loss parts two identifiers, in order. Of several such choices it is the one next to
/// the first identifier. Empty if they are not connected.
///
/// It is the minimum cut of the graph in which each set lets one unit through (Menger; the flow by Dinic's algorithm).
pub(super) fn weakest_cut(graph: &Incidence, from: usize, to: usize) -> Vec<usize> {
    let mut flow = Flow::new(graph);
    while flow.find_levels(from, to) {
        while flow.send_one(from, to) {}
    }
    // What the first identifier still reaches. A set that it enters and cannot leave is in the cut.
    let is_cut = |set: &usize| flow.is_reached(flow.entry(*set)) && !flow.is_reached(flow.exit(*set));
    (0..graph.members.len()).filter(is_cut).collect()
}

/// Where an edge leads. Edges stand in pairs: the one at an even place, and the same back.
struct Edge {
    to: usize,
    room: u32,
}

/// The nodes are the identifiers, and an entry and an exit of each set.
struct Flow {
    identifiers: usize,
    edges: Vec<Edge>,
    of_node: Vec<Vec<usize>>,
    /// The distance of each node from the first identifier.
    levels: Vec<usize>,
    /// The next edge to try, of each node.
    next: Vec<usize>,
}

impl Flow {
    fn new(graph: &Incidence) -> Self {
        let identifiers = graph.identifiers.len();
        let nodes = identifiers + 2 * graph.members.len();
        let mut flow = Self {
            identifiers,
            edges: Vec::new(),
            of_node: vec![Vec::new(); nodes],
            levels: Vec::new(),
            next: Vec::new(),
        };
        for (set, members) in graph.members.iter().enumerate() {
            let (entry, exit) = (flow.entry(set), flow.exit(set));
            flow.add(entry, exit, 1);
            for identifier in members {
                flow.add(*identifier, entry, u32::MAX);
                flow.add(exit, *identifier, u32::MAX);
            }
        }
        flow
    }

    fn entry(&self, set: usize) -> usize {
        self.identifiers + 2 * set
    }

    fn exit(&self, set: usize) -> usize {
        self.entry(set) + 1
    }

    fn add(&mut self, from: usize, to: usize, room: u32) {
        self.of_node[from].push(self.edges.len());
        self.edges.push(Edge { to, room });
        self.of_node[to].push(self.edges.len());
        self.edges.push(Edge { to: from, room: 0 });
    }

    fn is_reached(&self, node: usize) -> bool {
        self.levels[node] != usize::MAX
    }

    /// Measures the distances. Returns whether the second identifier is reached.
    fn find_levels(&mut self, from: usize, to: usize) -> bool {
        self.levels = vec![usize::MAX; self.of_node.len()];
        self.next = vec![0; self.of_node.len()];
        self.levels[from] = 0;
        let mut waiting = VecDeque::from([from]);
        while let Some(node) = waiting.pop_front() {
            for edge in self.of_node[node].iter().map(|edge| &self.edges[*edge]).filter(|edge| edge.room > 0) {
                if self.levels[edge.to] == usize::MAX {
                    self.levels[edge.to] = self.levels[node] + 1;
                    waiting.push_back(edge.to);
                }
            }
        }
        self.is_reached(to)
    }

    /// Sends one unit along edges that lead one step further each. Returns whether there was a way.
    fn send_one(&mut self, from: usize, to: usize) -> bool {
        let mut way: Vec<usize> = Vec::new();
        let mut node = from;
        while node != to {
            let Some(&edge) = self.of_node[node].get(self.next[node]) else {
                // A dead end: back by one edge, which is not tried again.
                let Some(last) = way.pop() else { return false };
                node = self.edges[last ^ 1].to;
                self.next[node] += 1;
                continue;
            };
            let next = self.edges[edge].to;
            if self.edges[edge].room > 0 && self.levels[next] == self.levels[node] + 1 {
                way.push(edge);
                node = next;
            } else {
                self.next[node] += 1;
            }
        }
        for edge in way {
            // Every way passes a set, so no more than one unit each is ever in an edge that has room without end.
            self.edges[edge].room = self.edges[edge].room.saturating_sub(1);
            self.edges[edge ^ 1].room = self.edges[edge ^ 1].room.saturating_add(1);
        }
        true
    }
}
