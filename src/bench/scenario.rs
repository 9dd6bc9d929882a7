//! What is asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use chrono::Utc;
use fastrand::Rng;

use super::ScenarioKind;
use super::customer::{known_email, known_phone, new_email, new_phone};
use crate::proto::identity::v1::IdentifyRequest;

/// How many customers `hot` is about.
const HOT: usize = 10;

/// Of 100 requests about a hot customer, how many bring it a new contact. Few: each makes every later
/// answer longer, and what is to be measured is the crowd, not the length.
const HOT_LINKS: u8 = 2;

/// Numbers of new customers for each millisecond since 1970: more than a millisecond can use up.
const NUMBERS_PER_MS: u64 = 1_000_000;

/// Who takes part in a run, for all callers.
#[derive(Debug)]
pub(super) struct Cast {
    known: u64,
    hot: [u64; HOT],
    /// The number of the next new customer. It starts where no earlier run came.
    next: AtomicU64,
    first: u64,
    stocked: OnceLock<u64>,
    joined: AtomicU64,
    seed: u64,
}

impl Cast {
    pub(super) fn new(customers: u32, seed: u32) -> Self {
        let known = u64::from(customers);
        let first = Utc::now().timestamp_millis().unsigned_abs().wrapping_mul(NUMBERS_PER_MS);
        // Others in each run: those of the last have grown.
        let mut random = Rng::with_seed(first ^ u64::from(seed));
        Self {
            known,
            hot: std::array::from_fn(|_| random.u64(0..known)),
            next: AtomicU64::new(first),
            first,
            stocked: OnceLock::new(),
            joined: AtomicU64::new(0),
            seed: u64::from(seed),
        }
    }

    /// From here on, the new customers so far are there to be joined to others, each once.
    pub(super) fn stock_up(&self) {
        self.stocked.get_or_init(|| self.next.load(Ordering::Relaxed) - self.first);
    }

    fn new_customer(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A customer made before, who was not joined yet.
    fn to_join(&self) -> Option<u64> {
        let index = self.joined.fetch_add(1, Ordering::Relaxed);
        (index < *self.stocked.get()?).then_some(self.first + index)
    }
}

/// The sort of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Known,
    HotKnown,
    Link,
    HotLink,
    New,
    Merge,
}

/// What one caller asks for, request after request: the same sorts for the same seed and caller.
#[derive(Debug)]
pub(super) struct Script {
    scenario: ScenarioKind,
    cast: Arc<Cast>,
    random: Rng,
}

impl Script {
    pub(super) fn new(scenario: ScenarioKind, cast: &Arc<Cast>, caller: u32) -> Self {
        let random = Rng::with_seed(cast.seed << 32 | u64::from(caller));
        Self { scenario, cast: Arc::clone(cast), random }
    }

    /// The next request; `None` when nobody is left to be joined, which ends the run.
    pub(super) fn next(&mut self) -> Option<IdentifyRequest> {
        Some(match self.sort() {
            Sort::Known => known(self.anybody()),
            Sort::HotKnown => known(self.somebody_hot()),
            Sort::Link => self.link(Self::anybody),
            Sort::HotLink => self.link(Self::somebody_hot),
            Sort::New => {
                let number = self.cast.new_customer();
                request(new_email(number), new_phone(number))
            }
            // The known customer is the older one and stays, so that it has one contact more, not one less.
            Sort::Merge => request(new_email(self.cast.to_join()?), known_phone(self.anybody())),
        })
    }

    fn sort(&mut self) -> Sort {
        match self.scenario {
            ScenarioKind::Known | ScenarioKind::Health => Sort::Known,
            ScenarioKind::New => Sort::New,
            ScenarioKind::Mixed => self.mixed(),
            ScenarioKind::Merge if self.random.bool() => Sort::Merge,
            ScenarioKind::Merge => Sort::Known,
            ScenarioKind::Hot if self.random.bool() => self.mixed(),
            ScenarioKind::Hot if self.random.u8(0..100) < HOT_LINKS => Sort::HotLink,
            ScenarioKind::Hot => Sort::HotKnown,
        }
    }

    fn mixed(&mut self) -> Sort {
        match self.random.u8(0..10) {
            0..7 => Sort::Known,
            7..9 => Sort::Link,
            _ => Sort::New,
        }
    }

    fn anybody(&mut self) -> u64 {
        self.random.u64(0..self.cast.known)
    }

    fn somebody_hot(&mut self) -> u64 {
        self.cast.hot[self.random.usize(0..HOT)]
    }

    /// A known customer with a new address or a new phone number.
    fn link(&mut self, who: fn(&mut Self) -> u64) -> IdentifyRequest {
        let (customer, new) = (who(self), self.cast.new_customer());
        if self.random.bool() {
            request(known_email(customer), new_phone(new))
        } else {
            request(new_email(new), known_phone(customer))
        }
    }
}

fn known(customer: u64) -> IdentifyRequest {
    request(known_email(customer), known_phone(customer))
}

fn request(email: String, phone: String) -> IdentifyRequest {
    IdentifyRequest { email: Some(email), phone_number: Some(phone) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const MANY: usize = 100_000;

    /// How many of 100 requests of a scenario are of these sorts.
    fn percent(scenario: ScenarioKind, sorts: &[Sort]) -> f64 {
        let mut script = Script::new(scenario, &Arc::new(Cast::new(1_000, 1)), 0);
        let hits = (0..MANY).filter(|_| sorts.contains(&script.sort())).count();
        hits as f64 * 100.0 / MANY as f64
    }

    #[test]
    fn every_scenario_has_its_shares() {
        for (scenario, shares) in [
            (ScenarioKind::Known, &[(&[Sort::Known][..], 100.0)][..]),
            (ScenarioKind::New, &[(&[Sort::New], 100.0)]),
            (ScenarioKind::Mixed, &[(&[Sort::Known], 70.0), (&[Sort::Link], 20.0), (&[Sort::New], 10.0)]),
            (ScenarioKind::Merge, &[(&[Sort::Known], 50.0), (&[Sort::Merge], 50.0)]),
            (
                ScenarioKind::Hot,
                &[
                    (&[Sort::HotKnown, Sort::HotLink], 50.0),
                    (&[Sort::HotLink], 1.0),
                    (&[Sort::Known], 35.0),
                    (&[Sort::Link], 10.0),
                    (&[Sort::New], 5.0),
                ],
            ),
        ] {
            for (sorts, share) in shares {
                let found = percent(scenario, sorts);
                assert!((found - share).abs() < 0.5, "{scenario:?}: {found} % {sorts:?}, not {share}");
            }
        }
    }

    #[test]
    fn a_script_repeats_with_its_seed_and_differs_between_callers() {
        let first = |seed, caller| {
            let mut script = Script::new(ScenarioKind::Known, &Arc::new(Cast::new(1_000_000, seed)), caller);
            (0..10).map(|_| script.next().unwrap().email.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(first(1, 1), first(1, 1));
        assert_ne!(first(1, 1), first(1, 2));
        assert_ne!(first(1, 1), first(2, 1));
    }

    #[test]
    fn each_new_customer_is_joined_once() {
        let cast = Arc::new(Cast::new(1_000, 1));
        let mut made = Script::new(ScenarioKind::New, &cast, 0);
        let stock: HashSet<_> = (0..100).filter_map(|_| made.next()?.email).collect();
        cast.stock_up();
        let mut callers = [Script::new(ScenarioKind::Merge, &cast, 0), Script::new(ScenarioKind::Merge, &cast, 1)];
        let asked: Vec<_> = std::iter::from_fn(|| {
            callers.rotate_left(1);
            callers[0].next()?.email
        })
        .collect();
        let joined: Vec<_> = asked.into_iter().filter(|email| email.ends_with("@new.example.com")).collect();
        assert_eq!(joined.len(), stock.len());
        assert_eq!(joined.into_iter().collect::<HashSet<_>>(), stock);
    }
}
