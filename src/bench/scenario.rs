//! Generates the requests of a scenario.
//!
//! To add a scenario: a variant of `ScenarioKind` in `args.rs`, and its mix of requests in `next_kind`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use chrono::Utc;
use fastrand::Rng;

use super::args::ScenarioKind;
use super::customer::{known_email, known_phone, new_email, new_phone};
use crate::proto::identity::v1::IdentifyRequest;

/// Number of customers that the scenario `hot` is about.
const HOT: usize = 10;

/// Of 100 requests about a hot customer, how many bring a new contact. Each makes all later answers longer, so there
/// are few: the scenario measures contention, not long answers.
const HOT_LINKS: u8 = 2;

/// Numbers of new customers for each millisecond since 1970. More than a run can use in a millisecond.
const NUMBERS_PER_MS: u64 = 1_000_000;

/// The customers of a run. All callers share it.
#[derive(Debug)]
pub(super) struct CustomerPool {
    known: u64,
    hot: [u64; HOT],
    /// The number of the next new customer. It starts above the numbers of all earlier runs.
    next: AtomicU64,
    first: u64,
    merge_candidates: OnceLock<u64>,
    merged: AtomicU64,
    seed: u64,
}

impl CustomerPool {
    pub(super) fn new(customers: u32, seed: u32) -> Self {
        let known = u64::from(customers);
        let first = Utc::now().timestamp_millis().unsigned_abs().wrapping_mul(NUMBERS_PER_MS);
        // Different customers in each run, because those of the last run have more contacts now.
        let mut random = Rng::with_seed(first ^ u64::from(seed));
        Self {
            known,
            hot: std::array::from_fn(|_| random.u64(0..known)),
            next: AtomicU64::new(first),
            first,
            merge_candidates: OnceLock::new(),
            merged: AtomicU64::new(0),
            seed: u64::from(seed),
        }
    }

    /// Makes the customers created so far available for merges, each once.
    pub(super) fn use_new_customers_for_merges(&self) {
        self.merge_candidates.get_or_init(|| self.next.load(Ordering::Relaxed) - self.first);
    }

    fn new_customer(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the next customer for a merge, or `None` when none is left.
    fn merge_candidate(&self) -> Option<u64> {
        let index = self.merged.fetch_add(1, Ordering::Relaxed);
        (index < *self.merge_candidates.get()?).then_some(self.first + index)
    }
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestKind {
    Known,
    HotKnown,
    Link,
    HotLink,
    New,
    Merge,
}

/// Generates the requests of one caller. The same seed and caller give the same kinds of requests.
#[derive(Debug)]
pub(super) struct RequestGenerator {
    scenario: ScenarioKind,
    pool: Arc<CustomerPool>,
    random: Rng,
}

impl RequestGenerator {
    pub(super) fn new(scenario: ScenarioKind, pool: &Arc<CustomerPool>, caller: u32) -> Self {
        let random = Rng::with_seed(pool.seed << 32 | u64::from(caller));
        Self { scenario, pool: Arc::clone(pool), random }
    }

    /// Returns the next request. `None` ends the run: no customer is left for a merge.
    pub(super) fn next(&mut self) -> Option<IdentifyRequest> {
        Some(match self.next_kind() {
            RequestKind::Known => known(self.any_customer()),
            RequestKind::HotKnown => known(self.hot_customer()),
            RequestKind::Link => self.link(Self::any_customer),
            RequestKind::HotLink => self.link(Self::hot_customer),
            RequestKind::New => {
                let number = self.pool.new_customer();
                request(new_email(number), new_phone(number))
            }
            // The known customer is older, so it survives the merge.
            RequestKind::Merge => request(new_email(self.pool.merge_candidate()?), known_phone(self.any_customer())),
        })
    }

    fn next_kind(&mut self) -> RequestKind {
        match self.scenario {
            ScenarioKind::Known | ScenarioKind::Health => RequestKind::Known,
            ScenarioKind::New => RequestKind::New,
            ScenarioKind::Mixed => self.mixed_kind(),
            ScenarioKind::Merge if self.random.bool() => RequestKind::Merge,
            ScenarioKind::Merge => RequestKind::Known,
            ScenarioKind::Hot if self.random.bool() => self.mixed_kind(),
            ScenarioKind::Hot if self.random.u8(0..100) < HOT_LINKS => RequestKind::HotLink,
            ScenarioKind::Hot => RequestKind::HotKnown,
        }
    }

    fn mixed_kind(&mut self) -> RequestKind {
        match self.random.u8(0..10) {
            0..7 => RequestKind::Known,
            7..9 => RequestKind::Link,
            _ => RequestKind::New,
        }
    }

    fn any_customer(&mut self) -> u64 {
        self.random.u64(0..self.pool.known)
    }

    fn hot_customer(&mut self) -> u64 {
        self.pool.hot[self.random.usize(0..HOT)]
    }

    /// Returns a request of a known customer with a new address or a new phone number.
    fn link(&mut self, pick: fn(&mut Self) -> u64) -> IdentifyRequest {
        let (customer, new) = (pick(self), self.pool.new_customer());
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
    IdentifyRequest { email: Some(email), phone_number: Some(phone), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const MANY: usize = 100_000;

    /// Returns how many of 100 requests of a scenario are of these kinds.
    fn percent(scenario: ScenarioKind, sorts: &[RequestKind]) -> f64 {
        let mut script = RequestGenerator::new(scenario, &Arc::new(CustomerPool::new(1_000, 1)), 0);
        let hits = (0..MANY).filter(|_| sorts.contains(&script.next_kind())).count();
        hits as f64 * 100.0 / MANY as f64
    }

    #[test]
    fn every_scenario_has_its_shares() {
        for (scenario, shares) in [
            (ScenarioKind::Known, &[(&[RequestKind::Known][..], 100.0)][..]),
            (ScenarioKind::New, &[(&[RequestKind::New], 100.0)]),
            (
                ScenarioKind::Mixed,
                &[(&[RequestKind::Known], 70.0), (&[RequestKind::Link], 20.0), (&[RequestKind::New], 10.0)],
            ),
            (ScenarioKind::Merge, &[(&[RequestKind::Known], 50.0), (&[RequestKind::Merge], 50.0)]),
            (
                ScenarioKind::Hot,
                &[
                    (&[RequestKind::HotKnown, RequestKind::HotLink], 50.0),
                    (&[RequestKind::HotLink], 1.0),
                    (&[RequestKind::Known], 35.0),
                    (&[RequestKind::Link], 10.0),
                    (&[RequestKind::New], 5.0),
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
            let mut script =
                RequestGenerator::new(ScenarioKind::Known, &Arc::new(CustomerPool::new(1_000_000, seed)), caller);
            (0..10).map(|_| script.next().unwrap().email.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(first(1, 1), first(1, 1));
        assert_ne!(first(1, 1), first(1, 2));
        assert_ne!(first(1, 1), first(2, 1));
    }

    #[test]
    fn each_new_customer_is_joined_once() {
        let pool = Arc::new(CustomerPool::new(1_000, 1));
        let mut made = RequestGenerator::new(ScenarioKind::New, &pool, 0);
        let stock: HashSet<_> = (0..100).filter_map(|_| made.next()?.email).collect();
        pool.use_new_customers_for_merges();
        let mut callers = [
            RequestGenerator::new(ScenarioKind::Merge, &pool, 0),
            RequestGenerator::new(ScenarioKind::Merge, &pool, 1),
        ];
        let requested: Vec<_> = std::iter::from_fn(|| {
            callers.rotate_left(1);
            callers[0].next()?.email
        })
        .collect();
        let joined: Vec<_> = requested.into_iter().filter(|email| email.ends_with("@new.example.com")).collect();
        assert_eq!(joined.len(), stock.len());
        assert_eq!(joined.into_iter().collect::<HashSet<_>>(), stock);
    }
}
