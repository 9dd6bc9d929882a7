//! The thread that writes the log.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::line::{Field, LineStyle};
use super::queue::LineQueue;

/// How long lines gather while many come: one call of the system then writes all of them.
const GATHER: Duration = Duration::from_millis(10);

/// How long to wait before a sink is tried again that has no room now (a pipe in non-blocking mode).
const RETRY_EVERY: Duration = Duration::from_millis(10);

/// The buffer that is kept after a burst, in bytes.
const KEPT: usize = 256 * 1024;

/// Starts the thread. It writes to stderr until the process ends.
///
/// # Errors
/// If the thread cannot be started.
pub(super) fn start(queue: Arc<LineQueue>, style: LineStyle) -> io::Result<()> {
    // A file descriptor of its own: a thread that waits in `io::stderr()` holds a lock that others would wait for.
    let sink: Box<dyn Write + Send> = match io::stderr().as_fd().try_clone_to_owned() {
        Ok(stderr) => Box::new(File::from(stderr)),
        Err(_) => Box::new(io::stderr()),
    };
    thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&queue, &mut LogSink::new(sink), style))?;
    Ok(())
}

/// Writes what comes, for ever. After a loss it says how many lines were lost, as soon as lines can be written again,
/// and once more as the last line of the log.
fn write_lines<W: Write>(queue: &LineQueue, sink: &mut LogSink<W>, style: LineStyle) -> ! {
    let mut chunk = Vec::new();
    loop {
        let flush = write_chunk(queue, sink, style, &mut chunk);
        if let Some(flush) = flush {
            queue.finish_flush(flush);
        } else {
            queue.let_lines_gather(GATHER);
        }
    }
}

/// Writes the lines that wait. Returns the number of the flush that asked for them.
fn write_chunk<W: Write>(
    queue: &LineQueue,
    sink: &mut LogSink<W>,
    style: LineStyle,
    chunk: &mut Vec<u8>,
) -> Option<u64> {
    let taken = queue.take(chunk);
    let lost_before = sink.lost;
    sink.write(chunk);
    queue.count_lost(sink.lost - lost_before);
    sink.count_lost(taken.dropped);
    if chunk.capacity() > KEPT {
        *chunk = Vec::new();
    }
    chunk.clear();
    if sink.unreported > 0 || (taken.flush.is_some() && sink.lost > 0) {
        let fields = [("lost_lines", Field::Number(sink.unreported)), ("lost_lines_total", Field::Number(sink.lost))];
        let line = style.line(tracing::Level::WARN, "lines of the log were lost", &fields);
        sink.report(line.as_bytes());
    }
    taken.flush
}

/// Where the log goes. Its errors are no errors of the service: lines that cannot be written are counted.
#[derive(Debug)]
struct LogSink<W> {
    writer: W,
    /// A write broke off within a line.
    is_line_cut: bool,
    /// Lines that were lost.
    lost: u64,
    /// Lost lines that the log does not mention yet.
    unreported: u64,
}

impl<W: Write> LogSink<W> {
    fn new(writer: W) -> Self {
        Self { writer, is_line_cut: false, lost: 0, unreported: 0 }
    }

    /// Writes complete lines. What cannot be written is lost.
    fn write(&mut self, lines: &[u8]) {
        let rest = self.write_all(lines);
        let lost = rest.iter().filter(|byte| **byte == b'\n').count();
        self.count_lost(u64::try_from(lost).unwrap_or(u64::MAX));
    }

    /// Writes the line about the lost ones, which may be lost itself.
    fn report(&mut self, line: &[u8]) {
        if self.write_all(line).is_empty() {
            self.unreported = 0;
        }
    }

    fn count_lost(&mut self, lines: u64) {
        self.lost = self.lost.saturating_add(lines);
        self.unreported = self.unreported.saturating_add(lines);
    }

    /// Returns what could not be written.
    fn write_all<'a>(&mut self, lines: &'a [u8]) -> &'a [u8] {
        if lines.is_empty() || (self.is_line_cut && !self.write_some(b"\n").is_empty()) {
            return lines;
        }
        self.is_line_cut = false;
        let rest = self.write_some(lines);
        let written = lines.len() - rest.len();
        self.is_line_cut = !rest.is_empty() && written > 0 && lines[written - 1] != b'\n';
        rest
    }

    fn write_some<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while !bytes.is_empty() {
            match self.writer.write(bytes) {
                Ok(0) => break,
                Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_EVERY),
                Err(_) => break, // The reader is gone, or the disk is full.
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::LogFormat;

    /// A disk with room for so many bytes, which takes a few at a time.
    struct Disk {
        room: usize,
        written: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room).min(5);
            if taken == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn text(sink: &LogSink<Disk>) -> &str {
        std::str::from_utf8(&sink.writer.written).unwrap()
    }

    #[test]
    fn a_full_disk_loses_lines_and_says_how_many() {
        let style = LineStyle::new(LogFormat::Json);
        let queue = LineQueue::new(1_000);
        let mut sink = LogSink::new(Disk { room: 10, written: Vec::new() });
        let mut chunk = Vec::new();
        queue.push(b"one two\nthree four\nfive\n");
        assert_eq!(write_chunk(&queue, &mut sink, style, &mut chunk), None);
        assert_eq!((text(&sink), sink.lost, queue.lost()), ("one two\nth", 2, 2));

        queue.push(b"six\n");
        write_chunk(&queue, &mut sink, style, &mut chunk);
        assert_eq!((text(&sink), sink.lost), ("one two\nth", 3));

        sink.writer.room = 10_000;
        queue.push(b"seven\n");
        write_chunk(&queue, &mut sink, style, &mut chunk);
        let lines: Vec<_> = text(&sink).lines().collect();
        assert_eq!(lines[..3], ["one two", "th", "seven"]);
        let report: serde_json::Value = serde_json::from_str(lines[3]).unwrap();
        assert_eq!((&report["lost_lines"], &report["lost_lines_total"]), (&3.into(), &3.into()));

        queue.push(b"eight\n");
        write_chunk(&queue, &mut sink, style, &mut chunk);
        assert!(text(&sink).ends_with("}\neight\n"), "said once: {}", text(&sink));

        queue.push(b"nine\n");
        queue.flush(Duration::ZERO);
        assert_eq!(write_chunk(&queue, &mut sink, style, &mut chunk), Some(1));
        let last: serde_json::Value = serde_json::from_str(text(&sink).lines().last().unwrap()).unwrap();
        assert_eq!((&last["lost_lines"], &last["lost_lines_total"]), (&0.into(), &3.into()));
    }

    #[test]
    fn a_log_without_a_loss_does_not_mention_one() {
        let queue = LineQueue::new(1_000);
        let mut sink = LogSink::new(Disk { room: 10_000, written: Vec::new() });
        queue.push(b"one\n");
        queue.flush(Duration::ZERO);
        assert_eq!(write_chunk(&queue, &mut sink, LineStyle::new(LogFormat::Json), &mut Vec::new()), Some(1));
        assert_eq!(text(&sink), "one\n");
    }
}
