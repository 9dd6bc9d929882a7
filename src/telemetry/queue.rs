//! The queue between the threads that log and the thread that writes the log.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Lines that wait to be written, up to a number of bytes.
///
/// A thread that logs never waits for the reader of the log: a line that finds no room is dropped and counted. Not
/// `tracing-appender`: its queue counts lines and not bytes, allocates for each line, writes each with a call of its
/// own, and does not count the lines that the sink refuses.
#[derive(Debug)]
pub(super) struct LineQueue {
    capacity: usize,
    state: Mutex<State>,
    wake_writer: Condvar,
    flushed: Condvar,
    /// Lines that were lost: they found no room, or could not be written.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Lines that found no room since the writer looked last.
    dropped: u64,
    /// The writer waits, and has to be woken for the next line.
    is_writer_idle: bool,
    /// How often a flush was asked for, and how many of them are done.
    flushes_asked: u64,
    flushes_done: u64,
}

/// What the writer got from the queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Lines that found no room since the last time.
    pub(super) dropped: u64,
    /// Whether somebody waits until everything is written. Then this is its number.
    pub(super) flush: Option<u64>,
}

impl LineQueue {
    /// A queue with room for so many bytes.
    pub(super) fn new(capacity: usize) -> Self {
        let (wake_writer, flushed) = (Condvar::new(), Condvar::new());
        Self { capacity, state: Mutex::default(), wake_writer, flushed, lost: AtomicU64::new(0) }
    }

    /// Adds a complete line, or counts it as dropped. Never blocks, and never panics.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if line.len() > self.capacity - state.lines.len().min(self.capacity) {
            state.dropped += 1;
            self.count_lost(1);
            return; // The writer has work already.
        }
        state.lines.extend_from_slice(line);
        if std::mem::take(&mut state.is_writer_idle) {
            drop(state);
            self.wake_writer.notify_one();
        }
    }

    /// Counts lines that were lost.
    pub(super) fn count_lost(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    /// Returns how many lines were lost. A line is counted at once, also while the reader of the log is stalled.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits for lines, and moves all of them into `chunk`, which must be empty.
    pub(super) fn take(&self, chunk: &mut Vec<u8>) -> Taken {
        let mut state = self.lock();
        while state.lines.is_empty() && state.dropped == 0 && state.flushes_asked == state.flushes_done {
            state.is_writer_idle = true;
            state = self.wake_writer.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writer_idle = false;
        std::mem::swap(&mut state.lines, chunk);
        let flush = (state.flushes_asked != state.flushes_done).then_some(state.flushes_asked);
        Taken { dropped: std::mem::take(&mut state.dropped), flush }
    }

    /// Lets lines gather for this long, so that one call writes many of them. A flush ends it.
    pub(super) fn let_lines_gather(&self, time: Duration) {
        let no_flush = |state: &mut State| state.flushes_asked == state.flushes_done;
        drop(self.wake_writer.wait_timeout_while(self.lock(), time, no_flush));
    }

    /// Everything up to this flush is written.
    pub(super) fn finish_flush(&self, flush: u64) {
        self.lock().flushes_done = flush;
        self.flushed.notify_all();
    }

    /// Waits until all lines are written, but not longer than this. Returns whether they are.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let mut state = self.lock();
        state.flushes_asked += 1;
        let mine = state.flushes_asked;
        self.wake_writer.notify_one();
        let not_done = |state: &mut State| state.flushes_done < mine;
        let waited = self.flushed.wait_timeout_while(state, within, not_done);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each write is one line: `tracing_subscriber` writes a line at a time.
impl io::Write for &LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_line_without_room_is_counted_and_not_waited_for() {
        let queue = LineQueue::new(8);
        for line in ["one\n", "two\n", "three\n", "\n"] {
            queue.push(line.as_bytes());
        }
        let mut chunk = Vec::new();
        assert_eq!(queue.take(&mut chunk), Taken { dropped: 2, flush: None });
        assert_eq!((&chunk[..], queue.lost()), (&b"one\ntwo\n"[..], 2));
        queue.push(b"longer than the queue\n");
        chunk.clear();
        assert_eq!(queue.take(&mut chunk), Taken { dropped: 1, flush: None });
    }

    #[test]
    fn a_flush_waits_for_the_writer_but_not_for_ever() {
        let queue = Arc::new(LineQueue::new(100));
        queue.push(b"one\n");
        assert!(!queue.flush(Duration::from_millis(1)), "nobody writes");
        let writer = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                // The flush that was given up, and then the one that waits.
                let mut chunk = Vec::new();
                while queue.take(&mut chunk).flush != Some(2) {}
                queue.let_lines_gather(Duration::from_secs(600));
                queue.finish_flush(2);
            }
        });
        assert!(queue.flush(Duration::from_secs(60)));
        writer.join().unwrap();
    }
}
