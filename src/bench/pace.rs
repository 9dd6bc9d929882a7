//! Decides when a caller sends its next request.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

/// How long after the end a caller may still send a request that was due before the end. The caller may just have
/// woken.
const GRACE: Duration = Duration::from_millis(100);

/// The times of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// When the first request is due.
    pub(super) begin: Instant,
    /// When the measurement starts.
    pub(super) from: Instant,
    /// When the measurement ends. No request is due after it.
    pub(super) until: Instant,
}

impl Window {
    pub(super) fn new(warmup: Duration, duration: Duration) -> Self {
        let begin = Instant::now();
        Self { begin, from: begin + warmup, until: begin + warmup + duration }
    }
}

/// What triggers the next request of a caller.
#[derive(Debug)]
pub(super) enum Pace {
    /// The answer to its last request.
    Closed,
    /// The clock: a request is due at each of these moments. A free caller sends it.
    Open(Mutex<mpsc::UnboundedReceiver<Instant>>),
}

/// What a caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Send now. The latency counts from the send.
    Now,
    /// Send now. The latency counts from this moment, because a slow service also delays requests that wait for a free
    /// caller.
    Due(Instant),
    /// The request was due in time, but now it is too late.
    Missed(Instant),
    /// The run is over.
    Over,
}

impl Pace {
    /// Waits for the next request.
    pub(super) async fn turn(&self, window: &Window) -> Turn {
        match self {
            Self::Closed if Instant::now() < window.until => Turn::Now,
            Self::Closed => Turn::Over,
            Self::Open(moments) => match moments.lock().await.recv().await {
                Some(due) if Instant::now() < window.until + GRACE => Turn::Due(due),
                Some(due) => Turn::Missed(due),
                None => Turn::Over,
            },
        }
    }

    /// Returns a pace with a call every `interval`, the first at `first`, until the window ends.
    ///
    /// It uses a thread of its own. The timers of tokio are up to a millisecond late, which is longer than an answer
    /// takes.
    pub(super) fn every(interval: Duration, first: Instant, window: Window) -> Self {
        let (send, moments) = mpsc::unbounded_channel();
        thread::spawn(move || {
            let mut calls: u32 = 0;
            loop {
                let due = first + interval * calls;
                if due >= window.until {
                    return;
                }
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if send.send(due).is_err() {
                    return; // All callers have ended.
                }
                calls += 1;
            }
        });
        Self::Open(Mutex::new(moments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn moments_keep_their_distance_when_callers_are_late() {
        let window = Window::new(Duration::ZERO, Duration::from_millis(100));
        let pace = Pace::every(Duration::from_millis(10), window.begin, window);
        let mut due = Vec::new();
        loop {
            match pace.turn(&window).await {
                Turn::Due(moment) => {
                    assert!(moment <= Instant::now(), "asked before it is due");
                    due.push(moment);
                    if due.len() == 2 {
                        thread::sleep(Duration::from_millis(35)); // A service that hangs.
                    }
                }
                Turn::Missed(moment) => due.push(moment),
                Turn::Now | Turn::Over => break,
            }
        }
        let expected: Vec<_> = (0..10).map(|n| window.begin + Duration::from_millis(10) * n).collect();
        assert_eq!(due, expected);
    }

    #[tokio::test]
    async fn what_is_not_asked_by_the_end_is_missed() {
        let window = Window::new(Duration::ZERO, Duration::from_millis(20));
        let pace = Pace::every(Duration::from_millis(1), window.begin, window);
        thread::sleep(GRACE + Duration::from_millis(30));
        let mut missed = 0;
        while let Turn::Missed(_) = pace.turn(&window).await {
            missed += 1;
        }
        assert_eq!(missed, 20);
    }
}
