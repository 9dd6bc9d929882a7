//! What is written to a terminal, and to a log.

use std::io;
use std::sync::{Arc, Mutex};

use indicatif::TermLike;

use super::*;

/// Keeps what is written to it.
#[derive(Clone, Debug, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn terminal(&self) -> ProgressDrawTarget {
        ProgressDrawTarget::term_like_with_hz(Box::new(self.clone()), 100)
    }
}

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TermLike for Paper {
    fn width(&self) -> u16 {
        120
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        io::Write::write_all(&mut self.clone(), text.as_bytes())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write_str("\r<cleared>")
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that this logs, without their date.
fn logged(work: impl FnOnce()) -> Vec<String> {
    let paper = Paper::default();
    let to = paper.clone();
    let log = tracing_subscriber::fmt().with_writer(move || to.clone()).without_time().with_ansi(false);
    tracing::subscriber::with_default(log.with_target(false).with_level(false).finish(), work);
    paper.text().lines().map(str::to_owned).collect()
}

#[test]
fn a_log_gets_a_line_every_ten_seconds_with_the_rate_and_the_remaining_time() {
    let lines = logged(|| {
        let mut progress = Progress::begin_with("contacts", 1_000, None);
        let at = |seconds| progress.begun + Duration::from_secs(seconds);
        let [early, first, soon, second, end] = [9, 10, 19, 20, 25].map(at);
        for (rows, now) in [(90, early), (10, first), (50, soon), (250, second), (600, end)] {
            progress.add_at(rows, now);
        }
        progress.end_at(end);
    });
    assert_eq!(
        lines,
        [
            r#"a step begins step="contacts" of=1000"#,
            r#"in progress step="contacts" done=100 of=1000 rate=10 remaining_s=90"#,
            r#"in progress step="contacts" done=400 of=1000 rate=20 remaining_s=30"#,
            r#"a step is done step="contacts" rows=1000 rate=40 seconds=25.0"#,
        ]
    );
}

#[test]
fn a_rate_is_of_whole_rows_and_divides_by_no_zero() {
    assert_eq!(rate(0, 100, Duration::ZERO), (0, 100));
    assert_eq!(rate(5, 100, Duration::from_millis(100)), (50, 1));
    assert_eq!(rate(200, 100, Duration::from_secs(2)), (100, 0), "the table grew");
}

#[test]
fn a_terminal_gets_a_bar_that_is_gone_at_the_end() {
    let paper = Paper::default();
    let lines = logged(|| {
        let mut progress = Progress::begin_with("contacts", 2_000, Some(paper.terminal()));
        progress.add(1_500);
        if let Some(bar) = &progress.bar {
            bar.tick();
        }
        progress.add_at(1, progress.begun + 2 * LINE_EVERY);
        progress.end();
    });
    let drawn = paper.text();
    assert!(drawn.contains("contacts") && drawn.contains("of 2,000,") && drawn.contains("/s, "), "{drawn:?}");
    assert!(drawn.contains("to go") && drawn.trim_end().ends_with("<cleared>"), "{drawn:?}");
    assert!(!lines.iter().any(|line| line.contains("in progress")), "the bar says it: {lines:?}");
}

#[test]
fn a_step_without_a_count_says_that_it_goes_on() {
    let lines = logged(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let work = async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            7
        };
        assert_eq!(runtime.block_on(during_with("statistics", work, None)), 7);
    });
    assert_eq!(
        lines,
        [
            r#"a step begins step="statistics""#,
            r#"in progress step="statistics" seconds=10.0"#,
            r#"in progress step="statistics" seconds=20.0"#,
            r#"a step is done step="statistics" seconds=25.0"#,
        ]
    );
    let paper = Paper::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let work = async { tokio::time::sleep(DRAW_EVERY * 3).await };
    runtime.block_on(async { during_with("statistics", work, Some(paper.terminal())).await });
    let drawn = paper.text();
    assert!(drawn.matches("statistics").count() > 1 && drawn.trim_end().ends_with("<cleared>"), "{drawn:?}");
}
