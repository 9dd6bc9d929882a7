//! The binary `identity`.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use identity::commands;
use identity::settings::Stop;

/// A wrong setting or command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let invocation = match commands::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(Stop::Help(help)) => {
            // A reader who left early, as `| head` does, is no failure.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
        Err(stop @ (Stop::Invalid(_) | Stop::Usage(_))) => {
            complain(stop);
            return ExitCode::from(USAGE);
        }
    };
    match commands::run(invocation) {
        Ok(code) => code,
        Err(error) => {
            complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Says why the process ends, on one line.
fn complain(why: impl Display) {
    let line = why.to_string().replace('\n', " ");
    // When stderr is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "identity: {line}");
}
