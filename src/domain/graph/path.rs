use std::collections::VecDeque;

use super::incidence::Incidence;

/// Returns the fewest sets that lead from one identifier to another, in order. Each shares an identifier with the one
/// before. Of several such chains it is the one of the oldest sets, seen from the beginning. Empty if there is none.
pub(super) fn shortest_path(graph: &Incidence, from: usize, to: usize) -> Vec<usize> {
    // The set by which each identifier was reached, and the identifier before.
    let mut reached_by: Vec<Option<(usize, usize)>> = vec![None; graph.identifiers.len()];
    let mut is_set_seen = vec![false; graph.members.len()];
    let mut waiting = VecDeque::from([from]);
    while let Some(index) = waiting.pop_front() {
        if index == to {
            break;
        }
        for set in &graph.sets[index] {
            if std::mem::replace(&mut is_set_seen[*set], true) {
                continue;
            }
            for other in &graph.members[*set] {
                if *other != from && reached_by[*other].is_none() {
                    reached_by[*other] = Some((*set, index));
                    waiting.push_back(*other);
                }
            }
        }
    }
    let mut path = Vec::new();
    let mut index = to;
    while let Some((set, before)) = reached_by[index] {
        path.push(set);
        index = before;
    }
    path.reverse();
    path
}
