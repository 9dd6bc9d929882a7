//! The binary `identity`.

use std::process::ExitCode;
use std::time::Duration;

use identity::commands::{self, Signals};
use identity::settings::Stop;
use identity::telemetry;

/// The C library's allocator took a tenth of the service's time: identities in memory live long between what a request
/// needs for a moment.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the last lines of the log may take. A reader that is stalled must not keep the process.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Writes the last lines of the log, also after a panic.
struct FlushLog;

impl Drop for FlushLog {
    fn drop(&mut self) {
        telemetry::flush(LAST_LINES);
    }
}

fn main() -> ExitCode {
    let _flush = FlushLog;
    // First of all: process 1 of a container would never end otherwise.
    let signals = match Signals::handle() {
        Ok(signals) => signals,
        Err(error) => {
            telemetry::print_fatal(&format!("signals cannot be handled: {error}"));
            return ExitCode::from(commands::FAILURE);
        }
    };
    let invocation = match commands::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(Stop::Help(help)) => {
            // A closed stdout, as with `| head`, is not a failure.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
        Err(stop @ (Stop::Invalid(_) | Stop::Usage(_))) => {
            telemetry::print_fatal(&stop.to_string());
            return ExitCode::from(commands::USAGE);
        }
    };
    match commands::run(invocation, &signals) {
        Ok(code) => code,
        Err(error) => {
            telemetry::print_fatal(&commands::one_line(&error));
            commands::exit_status(&error)
        }
    }
}
