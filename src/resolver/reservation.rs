//! Places that calls get when their head arrives, before their body is read.
//!
//! A call that is let in by its head must not be refused when its body is there. So it gets its place at once, and
//! keeps it until its task has had a turn. A caller that sends heads and no bodies must not keep others out. So a call
//! that then waits for its body keeps its place for a while only, and asks for room again when its body is there.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::caller::Caller;

/// The places of calls that wait for their bodies, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    /// The number of the first one in the queue.
    first: u64,
    /// `None` for those that are used or given back.
    calls: VecDeque<Option<(Caller, Instant)>>,
}

impl Reservations {
    /// Adds one. Returns its number.
    pub(super) fn add(&mut self, caller: Caller, now: Instant) -> u64 {
        self.calls.push_back(Some((caller, now)));
        self.first + (self.calls.len() as u64 - 1)
    }

    /// Takes one out. Returns its caller, or `None` if it was late.
    pub(super) fn take(&mut self, number: u64) -> Option<Caller> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let (caller, _) = self.calls.get_mut(index)?.take()?;
        while let Some(None) = self.calls.front() {
            self.remove_first();
        }
        Some(caller)
    }

    /// Takes the oldest one out if it was made before this moment. Returns its caller.
    pub(super) fn take_late(&mut self, before: Instant) -> Option<Caller> {
        // The first one is never used: `take` removes those.
        let (caller, made) = (*self.calls.front()?)?;
        (made < before).then(|| {
            self.take(self.first);
            caller
        })
    }

    fn remove_first(&mut self) {
        self.calls.pop_front();
        self.first += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn caller(number: u32) -> Caller {
        Caller::Address(Ipv4Addr::from_bits(number).into())
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_taken_once_in_any_order_and_no_trace_stays() {
        let now = Instant::now();
        let mut reservations = Reservations::default();
        let numbers: Vec<u64> = (0..4).map(|number| reservations.add(caller(number), now)).collect();
        for index in [2, 0, 1] {
            assert_eq!(reservations.take(numbers[index]), Some(caller(index as u32)));
            assert_eq!(reservations.take(numbers[index]), None, "once");
        }
        assert_eq!(reservations.calls.len(), 1, "the used ones before it are gone");
        let next = reservations.add(caller(4), now);
        assert_eq!(reservations.take(numbers[3]), Some(caller(3)));
        assert_eq!(reservations.take(next), Some(caller(4)));
        assert!(reservations.calls.is_empty());
        assert_eq!(reservations.take(next + 1), None, "there never was such a one");
    }

    #[tokio::test(start_paused = true)]
    async fn the_late_ones_are_those_that_are_older() {
        let now = Instant::now();
        let mut reservations = Reservations::default();
        let numbers: Vec<u64> =
            (0..3).map(|at| reservations.add(caller(at), now + Duration::from_millis(at.into()))).collect();
        reservations.take(numbers[0]);
        assert_eq!(reservations.take_late(now + Duration::from_millis(1)), None);
        assert_eq!(reservations.take_late(now + Duration::from_millis(2)), Some(caller(1)));
        assert_eq!(reservations.take_late(now + Duration::from_millis(2)), None);
        assert_eq!(reservations.take(numbers[1]), None, "it was late");
        assert_eq!(reservations.take(numbers[2]), Some(caller(2)));
        assert_eq!(reservations.take_late(now + Duration::from_secs(1)), None);
    }
}
