//! Which caller may put a request into the queue: fair shares, weighted by items.
//!
//! A caller may take all room that is free. Without room, a caller that holds less than its share (the limit divided by
//! the callers) still gets in, and a caller that holds more is refused.
//!
//! A batch weighs as much as its items. Single requests take each free place at once, so a thousand places are never
//! free together. So a caller with no request in the service puts its batch in as soon as there is room for one item,
//! and then pays for it: it gets nothing more out of turn until its share of the answers has made up for the batch.
//! (Deficit round robin, in the variant that lets a packet go first and pay later: Shreedhar and Varghese, SIGCOMM
//! 1995; Adiseshu, Parulkar and Varghese, SIGCOMM 1996.)
//!
//! A debt stays until it is paid, also while the caller sends nothing. An empty service admits every caller.
//!
//! Streams wait instead of being refused, so they always have more to send. Calls and streams have half of the limit
//! each for themselves, and may use what the others leave.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::caller::Caller;

/// A caller counts as competing for so long after it was refused.
const COMPETES_FOR: Duration = Duration::from_secs(1);

/// The shortest time between two searches for callers that do not compete any more.
const FORGET_EVERY: Duration = Duration::from_millis(100);

/// Maximum debts that are kept for callers that do not compete. More are forgotten.
const MOST_DEBTS: usize = 4_096;

/// Returns the half of a limit that calls and streams have each for themselves.
pub(super) fn half(limit: usize) -> usize {
    (limit / 2).max(1)
}

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As a call, which is refused if there is no room.
    Call,
    /// In a stream, which waits.
    Stream,
}

/// What a caller holds and owes.
#[derive(Debug)]
struct Account {
    /// Items in the service.
    held: usize,
    /// Of these, the places of calls whose bodies are still to be read.
    reserved: usize,
    /// Items that it got out of turn and has not made up for yet.
    debt: f64,
    /// When it last found no room.
    last_without_room: Instant,
    /// Whether it found no room since it was made.
    competes: bool,
}

/// What a caller owes that does not compete now.
#[derive(Clone, Copy, Debug)]
struct Debt {
    items: f64,
    /// Since when nothing of it was taken off.
    since: Instant,
}

impl Debt {
    /// Returns what is left of it, with so many answers a second for its caller.
    fn left(&self, fair_rate: f64, now: Instant) -> f64 {
        (self.items - fair_rate * now.saturating_duration_since(self.since).as_secs_f64()).max(0.0)
    }
}

/// What the callers hold.
#[derive(Debug)]
pub(super) struct FairShare {
    /// Of the callers that hold something or compete.
    accounts: HashMap<Caller, Account>,
    /// Of other callers.
    debts: HashMap<Caller, Debt>,
    /// Items of all callers.
    held: usize,
    /// Items that came in streams.
    streamed: usize,
    forgot: Instant,
}

impl FairShare {
    pub(super) fn new(now: Instant) -> Self {
        Self { accounts: HashMap::new(), debts: HashMap::new(), held: 0, streamed: 0, forgot: now }
    }

    /// Returns how many items are in the service.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes items in, if they fit under the limit or if the caller is entitled to it. `rate` is the answers a second
    /// that the service is capable of, if that is known. Returns whether it did.
    pub(super) fn try_enter(
        &mut self,
        caller: Caller,
        items: usize,
        way: Way,
        (limit, rate): (usize, Option<f64>),
        now: Instant,
    ) -> bool {
        let of_way = if way == Way::Stream { self.streamed } else { self.held - self.streamed };
        let fits = self.held + items <= limit || of_way + items <= half(limit);
        if !fits && !self.is_entitled(caller, items, (limit, rate), now) {
            return false;
        }
        let account = self.account(caller, now);
        account.held += items;
        self.held += items;
        self.streamed += if way == Way::Stream { items } else { 0 };
        true
    }

    /// The last place of a caller is for a call whose body is still to be read.
    pub(super) fn reserve(&mut self, caller: Caller) {
        if let Some(account) = self.accounts.get_mut(&caller) {
            account.reserved += 1;
        }
    }

    /// The body of such a call is read, or its place is to be given back.
    pub(super) fn end_reservation(&mut self, caller: Caller) {
        if let Some(account) = self.accounts.get_mut(&caller) {
            account.reserved -= 1;
        }
    }

    /// Gives places back.
    pub(super) fn leave(&mut self, caller: Caller, items: usize, way: Way) {
        self.held -= items;
        self.streamed -= if way == Way::Stream { items } else { 0 };
        let Some(account) = self.accounts.get_mut(&caller) else { return };
        account.held -= items;
        if account.held == 0 && !account.competes {
            self.accounts.remove(&caller);
        }
    }

    /// Returns whether a caller gets in although there is no room for all of its items.
    fn is_entitled(&mut self, caller: Caller, items: usize, (limit, rate): (usize, Option<f64>), now: Instant) -> bool {
        self.forget(rate, now);
        let held = self.held;
        self.account(caller, now);
        let competing = self.accounts.len();
        let account = self.account(caller, now);
        let debt = Debt { items: account.debt, since: account.last_without_room };
        account.debt = rate.map_or(0.0, |rate| debt.left(rate / competing as f64, now));
        (account.last_without_room, account.competes) = (now, true);
        if account.held + items <= limit / competing && held + items <= 2 * limit {
            return true;
        }
        if held == 0 {
            return true;
        }
        let goes_first = account.held == account.reserved && account.debt <= 0.0 && held < limit;
        if goes_first {
            account.debt = items as f64;
        }
        goes_first
    }

    fn account(&mut self, caller: Caller, now: Instant) -> &mut Account {
        let debts = &mut self.debts;
        self.accounts.entry(caller).or_insert_with(|| {
            let debt = debts.remove(&caller);
            let (items, last_without_room) = debt.map_or((0.0, now), |debt| (debt.items, debt.since));
            Account { held: 0, reserved: 0, debt: items, last_without_room, competes: debt.is_some() }
        })
    }

    /// Forgets the callers that do not compete any more, and the debts that are paid.
    fn forget(&mut self, rate: Option<f64>, now: Instant) {
        if now.saturating_duration_since(self.forgot) < FORGET_EVERY {
            return;
        }
        self.forgot = now;
        let is_idle = |account: &Account| {
            account.held == 0 && now.saturating_duration_since(account.last_without_room) >= COMPETES_FOR
        };
        for (caller, account) in self.accounts.extract_if(|_, account| is_idle(account)) {
            if account.debt > 0.0 && self.debts.len() < MOST_DEBTS {
                self.debts.insert(caller, Debt { items: account.debt, since: account.last_without_room });
            }
        }
        let fair_rate = rate.map(|rate| rate / (self.accounts.len() + 1) as f64);
        self.debts.retain(|_, debt| fair_rate.is_some_and(|rate| debt.left(rate, now) > 0.0));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LIMIT: usize = 1_000;

    fn caller(number: u32) -> Caller {
        Caller::Address(Ipv4Addr::from_bits(number).into())
    }

    /// How many single items a caller gets in, of so many.
    fn enter(share: &mut FairShare, number: u32, items: usize, now: Instant) -> usize {
        (0..items).filter(|_| share.try_enter(caller(number), 1, Way::Call, (LIMIT, None), now)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_caller_may_take_everything() {
        let now = Instant::now();
        let mut share = FairShare::new(now);
        assert_eq!(enter(&mut share, 1, 5_000, now), LIMIT);
        share.leave(caller(1), 10, Way::Call);
        assert_eq!(enter(&mut share, 1, 5_000, now), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_with_little_gets_in_beside_one_with_everything() {
        let now = Instant::now();
        let mut share = FairShare::new(now);
        assert_eq!(enter(&mut share, 1, 5_000, now), LIMIT);
        assert_eq!(enter(&mut share, 2, 10, now), 10);
        assert_eq!(enter(&mut share, 2, 5_000, now), LIMIT / 2 - 10, "its share");
        assert_eq!(enter(&mut share, 1, 1, now), 0, "it has more than its share");
        share.leave(caller(1), LIMIT / 2, Way::Call);
        assert_eq!(enter(&mut share, 1, 1, now), 0, "half, while the other competes");
        share.leave(caller(2), LIMIT / 2, Way::Call);
        assert_eq!(enter(&mut share, 1, 5_000, now), LIMIT / 2, "and the rest again when it is free");
    }

    #[tokio::test(start_paused = true)]
    async fn shares_follow_the_callers_that_compete() {
        let mut now = Instant::now();
        let mut share = FairShare::new(now);
        assert_eq!(enter(&mut share, 1, 5_000, now), LIMIT);
        for number in 2..=10 {
            assert_eq!(enter(&mut share, number, LIMIT / 10, now), LIMIT / 10, "{number}");
        }
        (2..=10).for_each(|number| share.leave(caller(number), share.accounts[&caller(number)].held, Way::Call));
        now += COMPETES_FOR;
        assert_eq!(share.held(), LIMIT);
        assert_eq!(enter(&mut share, 11, 5_000, now), LIMIT / 2, "only two compete now");
    }

    /// Single requests take each free place at once, and a batch needs a thousand.
    #[tokio::test(start_paused = true)]
    async fn a_batch_gets_in_beside_single_requests_and_then_has_to_wait() {
        let mut now = Instant::now();
        let mut share = FairShare::new(now);
        let rate = Some(10_000.0);
        let single = |share: &mut FairShare, now| share.try_enter(caller(1), 1, Way::Call, (LIMIT, rate), now);
        let batch = |share: &mut FairShare, now| share.try_enter(caller(2), 1_000, Way::Call, (LIMIT, rate), now);
        while single(&mut share, now) {}
        assert!(!batch(&mut share, now), "there is no room at all");
        share.leave(caller(1), 1, Way::Call);
        assert!(batch(&mut share, now));
        assert_eq!(share.held(), 2 * LIMIT - 1);
        assert!(!single(&mut share, now));
        share.leave(caller(2), 1_000, Way::Call);
        assert!(!batch(&mut share, now), "it owes a thousand");
        now += Duration::from_millis(100);
        assert!(!batch(&mut share, now), "half of a thousand");
        now += Duration::from_millis(101);
        assert!(batch(&mut share, now), "its share of 10,000 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn who_stays_away_for_a_while_still_owes() {
        let mut now = Instant::now();
        let mut share = FairShare::new(now);
        let rate = Some(500.0);
        let single = |share: &mut FairShare, now| share.try_enter(caller(1), 1, Way::Call, (LIMIT, rate), now);
        let batch = |share: &mut FairShare, now| share.try_enter(caller(2), 1_000, Way::Call, (LIMIT, rate), now);
        while single(&mut share, now) {}
        share.leave(caller(1), 1, Way::Call);
        assert!(batch(&mut share, now));
        share.leave(caller(2), 1_000, Way::Call);
        now += COMPETES_FOR;
        while single(&mut share, now) {}
        assert!(!share.accounts.contains_key(&caller(2)), "it does not compete any more");
        share.leave(caller(1), 1, Way::Call);
        assert!(!batch(&mut share, now), "it owes 750");
        now += Duration::from_millis(2_900);
        assert!(!batch(&mut share, now), "it owes 25");
        now += Duration::from_millis(200);
        assert!(batch(&mut share, now));
    }

    #[tokio::test(start_paused = true)]
    async fn the_debts_of_absent_callers_are_bounded_and_end() {
        let mut now = Instant::now();
        let mut share = FairShare::new(now);
        let request = |share: &mut FairShare, number, items, rate, now| {
            share.try_enter(caller(number), items, Way::Call, (LIMIT, rate), now)
        };
        assert!(request(&mut share, 0, LIMIT - 1, Some(1.0), now));
        for number in 1..=2 * u32::try_from(MOST_DEBTS).unwrap() {
            assert!(request(&mut share, number, LIMIT, Some(1.0), now), "{number}");
            share.leave(caller(number), LIMIT, Way::Call);
        }
        now += COMPETES_FOR;
        request(&mut share, 0, LIMIT, Some(1.0), now);
        assert_eq!((share.accounts.len(), share.debts.len()), (1, MOST_DEBTS));
        now += FORGET_EVERY;
        request(&mut share, 0, LIMIT, None, now);
        assert_eq!(share.debts.len(), 0, "the overload is over");
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_service_takes_anyone_in() {
        let now = Instant::now();
        let mut share = FairShare::new(now);
        for _ in 0..3 {
            assert!(share.try_enter(caller(1), 2 * LIMIT, Way::Call, (LIMIT, Some(1.0)), now));
            share.leave(caller(1), 2 * LIMIT, Way::Call);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_and_streams_leave_each_other_half() {
        let now = Instant::now();
        let mut share = FairShare::new(now);
        let stream = |share: &mut FairShare| share.try_enter(caller(1), 1, Way::Stream, (LIMIT, None), now);
        assert_eq!(std::iter::from_fn(|| stream(&mut share).then_some(())).count(), LIMIT, "alone");
        assert_eq!(enter(&mut share, 1, 5_000, now), LIMIT / 2, "one caller, both ways");
        share.leave(caller(1), LIMIT, Way::Stream);
        assert_eq!(enter(&mut share, 1, 5_000, now), LIMIT / 2);
        assert_eq!(std::iter::from_fn(|| stream(&mut share).then_some(())).count(), LIMIT / 2);
    }
}
