//! What is left of observations without the identifiers that are ignored.

use std::collections::BTreeSet;

use identity::domain::{Identifier, Observation};

use super::Item;

/// Takes the ignored identifiers from the observations. The second are the items that had no other.
pub(super) fn split_off_ignored(items: Vec<Item>, ignored: &BTreeSet<Identifier>) -> (Vec<Item>, Vec<Item>) {
    let (mut of_somebody, mut of_nobody) = (Vec::new(), Vec::new());
    for mut item in items {
        let all = item.observation.identifiers().to_vec();
        let (left_out, joining): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| ignored.contains(one));
        item.ignored = left_out;
        match Observation::new(joining) {
            Ok(observation) => of_somebody.push(Item { observation, ..item }),
            Err(_) => of_nobody.push(item),
        }
    }
    (of_somebody, of_nobody)
}
