//! Lists in pieces, for statements of few different lengths.

use super::traits::MAX_LOOKUP;

/// Splits a list into pieces of 128, 96, 64, 48, … 4, 3, 2, 1, so that a connection prepares few different statements
/// and sends few for each list.
///
/// Larger pieces would not fit into a TLS record (16 KiB), and the second of two records waits 40 ms
/// (docs/decisions/0009-nagles-algorithm.md).
pub(super) fn pieces<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let power = (rest.len() + 1).next_power_of_two() / 2;
        let size = if power + power / 2 <= rest.len() { power + power / 2 } else { power };
        let size = MAX_LOOKUP.min(size);
        let (piece, later) = rest.split_at(size);
        rest = later;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pieces_are_few_and_of_few_sizes_and_leave_nothing_out() {
        let sizes = |count: usize| pieces(&vec![(); count]).map(<[()]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(0), [0; 0]);
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(127), [96, 24, 6, 1]);
        assert_eq!(sizes(300), [128, 128, 32, 12]);
        let mut distinct = BTreeSet::new();
        for count in 0..2_000 {
            assert_eq!(sizes(count).iter().sum::<usize>(), count);
            distinct.extend(sizes(count));
        }
        assert_eq!(distinct.len(), 14);
    }
}
