//! When a request is due.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc};

/// How long after the end a request still goes out that was due before it: its caller may just have woken.
const GRACE: Duration = Duration::from_millis(100);

/// The time of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The first request.
    pub(super) begin: Instant,
    /// From here on requests count.
    pub(super) from: Instant,
    /// No request is due after this.
    pub(super) until: Instant,
}

impl Window {
    pub(super) fn new(warmup: Duration, duration: Duration) -> Self {
        let begin = Instant::now();
        Self { begin, from: begin + warmup, until: begin + warmup + duration }
    }
}

/// What makes a caller ask again.
#[derive(Debug)]
pub(super) enum Pace {
    /// Its answer.
    Closed,
    /// The clock: a request is due at each of these moments, and whoever is free takes it.
    Open(Mutex<mpsc::UnboundedReceiver<Instant>>),
}

/// A caller's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask now, and count the time from when it is sent.
    Now,
    /// Ask now, and count the time from this moment: a service that is slow makes those wait too who have
    /// not asked yet.
    Due(Instant),
    /// It was due in time, and is too late now.
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

    /// A pace of a call every `interval`, the first at `first`, until the window ends.
    ///
    /// A thread of its own: the timers of tokio come up to a millisecond late, which is longer than an
    /// answer takes.
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
                    return; // Nobody asks any more.
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
    async fn moments_keep_their_distance_whoever_is_late() {
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
