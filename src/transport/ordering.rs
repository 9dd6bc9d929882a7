//! The order of the items of a stream.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::domain::{Identifier, Observation};

/// Keeps the order of the observations of a stream that share an identifier, and of no others.
///
/// Observations that may be handled at once come out as an [`OrderedGroup`]. Groups under way never share an
/// identifier. Observations that have to wait for a group come out together, as one group, when that group is done. So
/// a customer who comes up often does not cost one round trip for each observation.
#[derive(Debug)]
pub struct IdentifierOrder<T> {
    /// The identifiers of all groups under way.
    busy: HashSet<Identifier>,
    /// Waiting observations, in order of arrival. Each shares an identifier with a group under way or with one before
    /// it.
    waiting: VecDeque<(Observation, T)>,
    /// How many waiting observations have each identifier.
    awaited: HashMap<Identifier, usize>,
}

/// Observations to handle in this order, each with its item. Never empty.
pub type OrderedGroup<T> = Vec<(Observation, T)>;

impl<T> Default for IdentifierOrder<T> {
    fn default() -> Self {
        Self { busy: HashSet::new(), waiting: VecDeque::new(), awaited: HashMap::new() }
    }
}

impl<T> IdentifierOrder<T> {
    /// Takes the next observation of the stream. Returns a group of one, unless it has to wait.
    pub fn push(&mut self, observation: Observation, item: T) -> Option<OrderedGroup<T>> {
        let identifiers = observation.identifiers();
        if identifiers.iter().any(|one| self.busy.contains(one) || self.awaited.contains_key(one)) {
            identifiers.iter().for_each(|one| *self.awaited.entry(one.clone()).or_default() += 1);
            self.waiting.push_back((observation, item));
            return None;
        }
        self.busy.extend(identifiers.iter().cloned());
        Some(vec![(observation, item)])
    }

    /// Marks a group as done. Returns the group that waited for it, if there is one.
    pub fn finish<'a>(&mut self, group: impl IntoIterator<Item = &'a Observation>) -> Option<OrderedGroup<T>> {
        let mut is_awaited = false;
        for identifier in group.into_iter().flat_map(Observation::identifiers) {
            self.busy.remove(identifier);
            is_awaited |= self.awaited.contains_key(identifier);
        }
        if !is_awaited {
            return None;
        }
        let mut next = Vec::new();
        let mut waiting = VecDeque::new();
        let mut before = HashSet::new();
        for (observation, item) in self.waiting.drain(..) {
            let mut identifiers = observation.identifiers().iter();
            if identifiers.any(|one| self.busy.contains(one) || before.contains(one)) {
                before.extend(observation.identifiers().iter().cloned());
                waiting.push_back((observation, item));
            } else {
                next.push((observation, item));
            }
        }
        self.waiting = waiting;
        for identifier in next.iter().flat_map(|(observation, _)| observation.identifiers()) {
            self.busy.insert(identifier.clone());
            if let Some(count) = self.awaited.get_mut(identifier) {
                *count -= 1;
                if *count == 0 {
                    self.awaited.remove(identifier);
                }
            }
        }
        (!next.is_empty()).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::IdentifierKind;

    fn observation(phones: &[u32]) -> Observation {
        let identifier = |phone: &u32| Identifier::from_stored(IdentifierKind::Phone, phone.to_string());
        Observation::new(phones.iter().map(identifier)).unwrap()
    }

    fn items(run: Option<&OrderedGroup<usize>>) -> Vec<usize> {
        run.into_iter().flatten().map(|(_, item)| *item).collect()
    }

    fn done(order: &mut IdentifierOrder<usize>, run: &OrderedGroup<usize>) -> Option<OrderedGroup<usize>> {
        order.finish(run.iter().map(|(observation, _)| observation))
    }

    #[test]
    fn strangers_go_at_once_and_the_same_customer_in_groups() {
        let mut order = IdentifierOrder::default();
        let first = order.push(observation(&[1]), 0).unwrap();
        assert!(order.push(observation(&[1, 2]), 1).is_none());
        assert!(order.push(observation(&[2, 3]), 2).is_none(), "shares with one that waits");
        let other = order.push(observation(&[4]), 3).unwrap();
        assert!(order.push(observation(&[3, 4]), 4).is_none());
        assert!(order.push(observation(&[4]), 5).is_none());
        assert!(order.push(observation(&[1]), 6).is_none());

        let second = done(&mut order, &first).unwrap();
        assert_eq!(items(Some(&second)), [1, 2, 6], "4 waits for 3 as well");
        assert!(done(&mut order, &other).is_none(), "and 5 for 4");
        let third = done(&mut order, &second).unwrap();
        assert_eq!(items(Some(&third)), [4, 5]);
        assert!(done(&mut order, &third).is_none());
        assert!(order.busy.is_empty() && order.waiting.is_empty() && order.awaited.is_empty());
    }

    #[test]
    fn whatever_comes_order_holds_and_nothing_is_lost() {
        let mut random = fastrand::Rng::with_seed(1885);
        for _ in 0..200 {
            let (mut order, mut running) = (IdentifierOrder::default(), Vec::<OrderedGroup<usize>>::new());
            let (mut sent, mut begun) = (Vec::new(), Vec::new());
            while sent.len() < 60 || !running.is_empty() {
                let run = if sent.len() < 60 && random.bool() {
                    let observation = observation(&[random.u32(0..12), random.u32(0..12)]);
                    sent.push(observation.clone());
                    order.push(observation, sent.len() - 1)
                } else if running.is_empty() {
                    continue;
                } else {
                    let run = running.swap_remove(random.usize(0..running.len()));
                    done(&mut order, &run)
                };
                begun.extend(items(run.as_ref()));
                running.extend(run);
                let under_way = running
                    .iter()
                    .map(|run| run.iter().flat_map(|(one, _)| one.identifiers().to_vec()).collect::<HashSet<_>>());
                let under_way: Vec<_> = under_way.collect();
                let all: HashSet<_> = under_way.iter().flatten().collect();
                assert_eq!(all.len(), under_way.iter().map(HashSet::len).sum::<usize>(), "two groups share one");
            }
            assert_eq!(begun.len(), 60);
            for (at, later) in begun.iter().enumerate() {
                let overtaken = begun[at..].iter().filter(|earlier| *earlier < later);
                for earlier in overtaken {
                    let shares =
                        sent[*later].identifiers().iter().any(|one| sent[*earlier].identifiers().contains(one));
                    assert!(!shares, "{later} overtook {earlier}");
                }
            }
        }
    }
}
