//! What must work when nothing else does: the second signal, the limit of a drain, panics without a log.
//!
//! Each test starts this binary again, for a test whose name begins with `process_`, as a process of its own.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use identity::commands::Signals;
use identity::settings::Settings;
use identity::telemetry;

/// Set in such a process.
const IS_PROCESS: &str = "TEST_SIGNALS_PROCESS";

fn is_process() -> bool {
    std::env::var_os(IS_PROCESS).is_some()
}

/// A process that runs a test of this file, and is ended with the test that started it.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(test: &str, stderr: Stdio) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(IS_PROCESS, "1").stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits until it prints a line with this text.
    fn until(&mut self, text: &str) {
        assert!(self.lines.by_ref().map_while(Result::ok).any(|line| line.contains(text)), "it does not say {text}");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Its exit status.
    fn end(&mut self) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Blocks every thread of a runtime, and says when a drain was asked for.
fn blocked_runtime(limit: Duration) {
    let signals = Signals::handle().unwrap();
    let shutdown = signals.drain_within(limit).unwrap();
    std::thread::spawn(move || {
        while !shutdown.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("draining");
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.spawn(async { std::thread::sleep(Duration::from_secs(3_600)) });
    runtime.block_on(async {
        println!("blocked");
        std::thread::sleep(Duration::from_secs(3_600));
    });
}

#[test]
fn process_with_a_short_limit() {
    if is_process() {
        blocked_runtime(Duration::from_millis(200));
    }
}

#[test]
fn a_drain_has_a_limit_when_the_runtime_is_blocked() {
    let mut running = Running::start("process_with_a_short_limit", Stdio::null());
    running.until("blocked");
    running.signal("-TERM");
    assert_eq!(running.end(), Some(3));
}

#[test]
fn process_with_a_long_limit() {
    if is_process() {
        blocked_runtime(Duration::from_secs(3_600));
    }
}

#[test]
fn a_second_signal_ends_a_blocked_process() {
    for (first, second) in [("-TERM", "-INT"), ("-INT", "-TERM"), ("-TERM", "-TERM")] {
        let mut running = Running::start("process_with_a_long_limit", Stdio::null());
        running.until("blocked");
        running.signal(first);
        running.until("draining");
        running.signal(second);
        assert_eq!(running.end(), Some(3));
    }
}

#[test]
fn process_that_panics() {
    if !is_process() {
        return;
    }
    let settings = Settings::from_flags(["--log", "trace"]).unwrap();
    telemetry::init(&settings.logging).unwrap();
    for _ in 0..100 {
        tracing::error!("a line");
    }
    std::thread::spawn(|| panic!("on purpose")).join().unwrap_err();
    telemetry::flush(Duration::from_secs(20));
    std::thread::spawn(|| panic!("on purpose")).join().unwrap_err();
    println!("alive");
}

#[test]
fn a_panic_without_a_log_ends_its_thread_alone() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut running = Running::start("process_that_panics", writer.into());
    running.until("alive");
}
