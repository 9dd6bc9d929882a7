use super::incidence::Incidence;

/// Returns the sets of which the loss of each one alone splits what is connected, in order: also those that part a
/// single identifier from the rest.
///
/// They are the articulation points among the sets, in the graph whose nodes are identifiers and sets (Tarjan 1972).
/// The search keeps its own stack: a chain can have 10,000 sets.
pub(super) fn bridges(graph: &Incidence) -> Vec<usize> {
    let identifiers = graph.identifiers.len();
    let count = identifiers + graph.members.len();
    let neighbours = |node: usize| match node.checked_sub(identifiers) {
        None => &graph.sets[node],
        Some(set) => &graph.members[set],
    };
    let neighbour = |node: usize, position: usize| {
        let offset = if node < identifiers { identifiers } else { 0 };
        neighbours(node).get(position).map(|index| index + offset)
    };
    // When each node was met first, and the earliest node that it reaches around its parent.
    let (mut met, mut earliest) = (vec![usize::MAX; count], vec![usize::MAX; count]);
    let mut is_bridge = vec![false; graph.members.len()];
    let mut clock = 0;
    for first in 0..identifiers {
        if met[first] != usize::MAX {
            continue;
        }
        (met[first], earliest[first]) = (clock, clock);
        clock += 1;
        let mut stack = vec![(first, usize::MAX, 0)];
        while let Some((node, parent, position)) = stack.last_mut() {
            let (node, parent) = (*node, *parent);
            if let Some(other) = neighbour(node, *position) {
                *position += 1;
                if met[other] == usize::MAX {
                    (met[other], earliest[other]) = (clock, clock);
                    clock += 1;
                    stack.push((other, node, 0));
                } else if other != parent {
                    earliest[node] = earliest[node].min(met[other]);
                }
                continue;
            }
            stack.pop();
            if parent != usize::MAX {
                earliest[parent] = earliest[parent].min(earliest[node]);
                // The search begins at an identifier, so a set always has a parent itself.
                if let Some(set) = parent.checked_sub(identifiers)
                    && earliest[node] >= met[parent]
                {
                    is_bridge[set] = true;
                }
            }
        }
    }
    (0..is_bridge.len()).filter(|set| is_bridge[*set]).collect()
}
