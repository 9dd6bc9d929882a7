//! SIGTERM and SIGINT, on threads of their own: they work whatever the async runtime does.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level;
use tokio_util::sync::CancellationToken;

use crate::telemetry;

/// Exit status when a drain was broken off: by a second signal, or at its limit.
const BROKEN_OFF: i32 = 3;

/// Exit status of a process that a signal ended, without the number of the signal. Shells report the same.
const SIGNALLED: i32 = 128;

/// How long the last lines of the log may take before the process ends at once.
const LAST_LINES: Duration = Duration::from_millis(100);

/// What the process does at SIGTERM and SIGINT.
///
/// It handles them in every command: process 1 of a container gets no signal that it does not handle. Not the signals
/// of tokio: they need a runtime that runs. And not the exit of the standard library: it runs code that can block.
#[derive(Debug)]
pub struct Signals {
    mode: Arc<Mutex<Mode>>,
}

#[derive(Debug)]
enum Mode {
    /// A signal ends the process.
    End,
    /// A signal begins a drain.
    Drain { shutdown: CancellationToken, limit: Sender<()> },
    /// A drain has begun. A signal ends the process.
    Draining,
}

impl Signals {
    /// Handles the signals from now on. The first one ends the process.
    ///
    /// # Errors
    /// If the signals cannot be handled, or a thread cannot be started.
    pub fn handle() -> io::Result<Self> {
        let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
        let mode = Arc::new(Mutex::new(Mode::End));
        let handled = Arc::clone(&mode);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                on_signal(&handled, signal);
            }
        })?;
        Ok(Self { mode })
    }

    /// From now on the first signal cancels the token. The process ends `limit` later, if it has not ended by then, or
    /// at the second signal.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn drain_within(&self, limit: Duration) -> io::Result<CancellationToken> {
        let shutdown = CancellationToken::new();
        let (begin, begun) = mpsc::channel();
        // Started now: when the drain begins, there may be no room for a thread.
        thread::Builder::new().name("drain-limit".to_owned()).spawn(move || {
            if begun.recv().is_ok() {
                thread::sleep(limit);
                tracing::error!(limit_s = limit.as_secs_f64(), "the drain does not end: the process ends without it");
                end(BROKEN_OFF);
            }
        })?;
        *lock(&self.mode) = Mode::Drain { shutdown: shutdown.clone(), limit: begin };
        Ok(shutdown)
    }
}

fn on_signal(mode: &Mutex<Mode>, signal: i32) {
    let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
    let before = std::mem::replace(&mut *lock(mode), Mode::Draining);
    match before {
        Mode::End => end(SIGNALLED + signal),
        Mode::Drain { shutdown, limit } => {
            // The receiver waits in its thread.
            let _ = limit.send(());
            tracing::info!(signal = name, "draining");
            shutdown.cancel();
        }
        Mode::Draining => {
            tracing::warn!(signal = name, "second signal: the process ends without draining");
            end(BROKEN_OFF);
        }
    }
}

/// Ends the process at once.
fn end(status: i32) {
    telemetry::flush(LAST_LINES);
    low_level::exit(status);
}

fn lock(mode: &Mutex<Mode>) -> std::sync::MutexGuard<'_, Mode> {
    mode.lock().unwrap_or_else(PoisonError::into_inner)
}
