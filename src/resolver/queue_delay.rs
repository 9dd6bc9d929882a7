//! How many requests the service takes in, by how long they wait: controlled delay (CoDel).
//!
//! A queue that is long for a moment is a burst, and does no harm. A queue that *stays* long delays every request
//! without answering more of them. The least wait within an interval tells the two apart: in a burst some request soon
//! waits little, in a standing queue none does. That measure needs no guess of how fast the database is, and nothing to
//! warm up. (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012; RFC 8289.) Each queue is measured by
//! itself: look-ups that wait little say nothing about writes.
//!
//! CoDel drops what leaves the queue. Here the caller gets the refusal at once, so the length of the queue is limited:
//! from the first standing queue until nobody has to be refused any more, the service takes in as many requests as it
//! answers within the target (Little's law). Afterwards the limit rises a little with each interval. The target is a
//! twentieth of the longest wait, as in Facebook's variant (Maurer, "Fail at Scale", ACM Queue 2015).
//!
//! While the queue stands, the answers a second are what the service is capable of. Otherwise they may be only what
//! callers sent, so they raise the limit and never lower it.
//!
//! An interval without an answer says nothing. So an outage of the database, during which all wait, is no overload. Nor
//! does an interval that ended late: nothing came for a while.

use std::time::Duration;

use tokio::time::Instant;

/// This part of the longest wait is what requests may wait in a queue that stays long.
const TARGET_PART: u32 = 20;

/// This part of the longest wait is the interval in which a burst must have ended.
const INTERVAL_PART: u32 = 10;

/// The limit is never below: two full transactions, so that both write lanes always have work. So many requests are no
/// queue, however slow the database is: it answers them together.
const LEAST_LIMIT: usize = 512;

/// A queue whose waits are measured.
#[derive(Clone, Copy, Debug)]
pub(super) enum Queue {
    Read,
    Write,
}

/// The limit for requests in the service.
#[derive(Debug)]
pub(super) struct QueueDelay {
    longest_wait: Duration,
    /// The limit without a standing queue.
    most: usize,
    limit: f64,
    /// Answers a second in the latest intervals of an overload; `None` before the first one.
    rate: Option<f64>,
    interval: Interval,
}

/// What was measured since a moment.
#[derive(Debug)]
struct Interval {
    began: Instant,
    /// The least time that a request waited, of those that left a [`Queue`]. One for each queue.
    least_waits: [Option<Duration>; 2],
    answered: usize,
    is_any_refused: bool,
}

impl Interval {
    fn begin(now: Instant) -> Self {
        Self { began: now, least_waits: [None; 2], answered: 0, is_any_refused: false }
    }
}

impl QueueDelay {
    /// `most` is the limit without a standing queue, `longest_wait` the longest that a request may have to wait.
    pub(super) fn new(most: usize, longest_wait: Duration, now: Instant) -> Self {
        Self { longest_wait, most, limit: most as f64, rate: None, interval: Interval::begin(now) }
    }

    /// Records how long a request waited that leaves its queue now. `held` is how many are in the service.
    pub(super) fn record_wait(&mut self, now: Instant, queue: Queue, wait: Duration, held: usize) {
        self.end_interval(now);
        let wait = if held > LEAST_LIMIT { wait } else { Duration::ZERO };
        let least = &mut self.interval.least_waits[queue as usize];
        *least = Some(least.map_or(wait, |least| least.min(wait)));
    }

    /// Records an answer.
    pub(super) fn record_answer(&mut self, now: Instant) {
        self.end_interval(now);
        self.interval.answered += 1;
    }

    /// Records that a request was refused.
    pub(super) fn record_refusal(&mut self, now: Instant) {
        self.end_interval(now);
        self.interval.is_any_refused = true;
    }

    /// Returns how many requests the service may hold now.
    pub(super) fn limit(&mut self, now: Instant) -> usize {
        self.end_interval(now);
        self.limit as usize
    }

    /// Returns whether a request would wait for too long behind so many others: longer than any may wait, or than
    /// `patience`. Without a standing queue lately, nobody knows, and it does not.
    pub(super) fn would_wait_too_long(&self, held: usize, patience: Duration) -> bool {
        let Some(rate) = self.rate().filter(|_| held > LEAST_LIMIT) else { return false };
        held as f64 / rate > self.longest_wait.min(patience).as_secs_f64()
    }

    /// Returns the answers a second that the service is capable of, if there was a standing queue lately.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate.filter(|_| self.limit < self.most as f64)
    }

    fn end_interval(&mut self, now: Instant) {
        let length = self.longest_wait / INTERVAL_PART;
        let elapsed = now.saturating_duration_since(self.interval.began);
        if elapsed < length {
            return;
        }
        let ended = std::mem::replace(&mut self.interval, Interval::begin(now));
        let target = self.longest_wait / TARGET_PART;
        let is_recent = elapsed < 2 * length;
        let is_standing = ended.least_waits.into_iter().flatten().any(|least| least > target);
        if is_recent && (is_standing || (ended.is_any_refused && self.limit < self.most as f64)) {
            if ended.answered > 0 {
                let latest = ended.answered as f64 / elapsed.as_secs_f64();
                let average = |rate| if is_standing { f64::midpoint(rate, latest) } else { latest.max(rate) };
                let rate = self.rate().map_or(latest, average);
                let least = if is_standing { LEAST_LIMIT as f64 } else { self.limit };
                self.rate = Some(rate);
                self.limit = (rate * target.as_secs_f64()).max(least).min(self.most as f64);
            }
        } else {
            let intervals = elapsed.as_secs_f64() / length.as_secs_f64().max(f64::MIN_POSITIVE);
            self.limit = (self.limit * 1.1_f64.powf(intervals.min(100.0))).min(self.most as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 4_096;
    const LONGEST: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Requests that leave their queue after `wait`, one each millisecond for `time`, and are answered at once.
    fn run(delay: &mut QueueDelay, from: Instant, time: u64, wait: Duration) -> Instant {
        for at in 0..time {
            delay.record_wait(from + ms(at), Queue::Read, wait, MOST);
            delay.record_answer(from + ms(at));
        }
        from + ms(time)
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_no_overload_and_a_standing_queue_is() {
        let now = Instant::now();
        let mut delay = QueueDelay::new(MOST, LONGEST, now);
        assert_eq!(delay.limit(now), MOST, "a cold start");
        let now = run(&mut delay, now, 99, ms(900));
        let now = run(&mut delay, now, 2, ms(10));
        assert_eq!(delay.limit(now), MOST, "a burst that is over within the interval");
        let now = run(&mut delay, now, 250, ms(60));
        // A thousand answers a second: 50 within the target, and always two full transactions.
        assert_eq!(delay.limit(now), LEAST_LIMIT);
        assert!(!delay.would_wait_too_long(900, LONGEST));
        assert!(delay.would_wait_too_long(900, ms(800)), "its deadline is sooner");
        assert!(delay.would_wait_too_long(1_100, LONGEST * 9));
        assert!(!delay.would_wait_too_long(LEAST_LIMIT, ms(1)), "so few are answered together");
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_what_is_answered_within_the_target() {
        let now = Instant::now();
        let mut delay = QueueDelay::new(MOST, LONGEST, now);
        for at in 0..250 {
            delay.record_wait(now + ms(at), Queue::Read, ms(200), MOST);
            (0..20).for_each(|_| delay.record_answer(now + ms(at)));
        }
        let limit = delay.limit(now + ms(250));
        assert!((990..=1_010).contains(&limit), "20,000 a second for 50 ms: {limit}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_no_overload() {
        let now = Instant::now();
        let mut delay = QueueDelay::new(MOST, LONGEST, now);
        for at in 0..100 {
            delay.record_wait(now + ms(at * 100), Queue::Read, Duration::from_secs(3), MOST);
        }
        assert_eq!(delay.limit(now + ms(10_000)), MOST, "nothing was answered");
        assert!(!delay.would_wait_too_long(4_000, LONGEST));
    }

    /// A slow database: each waits for the transaction before its own.
    #[tokio::test(start_paused = true)]
    async fn few_requests_are_no_queue_however_long_they_wait() {
        let now = Instant::now();
        let mut delay = QueueDelay::new(MOST, LONGEST, now);
        for at in 0..500 {
            delay.record_wait(now + ms(at), Queue::Read, ms(400), 256);
            delay.record_answer(now + ms(at));
        }
        assert_eq!(delay.limit(now + ms(500)), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_stays_while_requests_are_refused() {
        let now = Instant::now();
        let mut delay = QueueDelay::new(MOST, LONGEST, now);
        let now = run(&mut delay, now, 300, ms(60));
        for at in 0..3_000 {
            delay.record_wait(now + ms(at), Queue::Read, ms(40), MOST);
            delay.record_answer(now + ms(at));
            delay.record_refusal(now + ms(at));
        }
        assert_eq!(delay.limit(now + ms(3_000)), LEAST_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_standing_queue_is_seen_beside_one_that_is_short() {
        let now = Instant::now();
        let mut delay = QueueDelay::new(MOST, LONGEST, now);
        for at in 0..250 {
            delay.record_wait(now + ms(at), Queue::Read, ms(5), MOST);
            delay.record_wait(now + ms(at), Queue::Write, ms(2_000), MOST);
            delay.record_answer(now + ms(at));
        }
        assert_eq!(delay.limit(now + ms(250)), LEAST_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_before_an_idle_time_is_no_standing_queue() {
        let now = Instant::now();
        let mut delay = QueueDelay::new(MOST, LONGEST, now);
        delay.record_wait(now, Queue::Read, ms(60), MOST);
        delay.record_answer(now);
        let now = now + Duration::from_secs(3_600);
        assert_eq!(delay.limit(now), MOST);
        assert_eq!(delay.rate(), None);
    }

    /// One is refused now and then, perhaps because it has more than its share, and the others ask for little.
    #[tokio::test(start_paused = true)]
    async fn few_answers_without_a_standing_queue_do_not_lower_the_limit() {
        let now = Instant::now();
        let mut delay = QueueDelay::new(MOST, LONGEST, now);
        for at in 0..250 {
            delay.record_wait(now + ms(at), Queue::Read, ms(200), MOST);
            (0..20).for_each(|_| delay.record_answer(now + ms(at)));
        }
        let now = now + ms(250);
        let (limit, rate) = (delay.limit(now), delay.rate().unwrap());
        for at in 0..3_000 {
            delay.record_wait(now + ms(at), Queue::Read, ms(1), MOST);
            delay.record_answer(now + ms(at));
            delay.record_refusal(now + ms(at));
        }
        assert_eq!(delay.limit(now + ms(3_000)), limit);
        assert!(delay.rate().unwrap() >= rate, "{rate}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_recovers_little_by_little_and_with_time() {
        let now = Instant::now();
        let mut delay = QueueDelay::new(MOST, LONGEST, now);
        let now = run(&mut delay, now, 300, ms(60));
        assert_eq!(delay.limit(now), LEAST_LIMIT);
        let now = run(&mut delay, now, 300, ms(1));
        let limit = delay.limit(now);
        assert!((LEAST_LIMIT + 1..MOST / 2).contains(&limit), "{limit}");
        assert_eq!(delay.limit(now + Duration::from_secs(5)), MOST, "nothing happened for a while");
        assert_eq!(delay.rate(), None, "what the service was capable of then may be wrong now");
    }
}
