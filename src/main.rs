//! The binary `identity`.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use identity::commands;
use identity::settings::Stop;

/// Exit status of a wrong setting or command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let invocation = match commands::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(Stop::Help(help)) => {
            // A closed stdout, as with `| head`, is not a failure.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
        Err(stop @ (Stop::Invalid(_) | Stop::Usage(_))) => {
            print_error(stop);
            return ExitCode::from(USAGE);
        }
    };
    match commands::run(invocation) {
        Ok(code) => code,
        Err(error) => {
            print_error(format_args!("{error:#}"));
            commands::exit_status(&error)
        }
    }
}

/// Prints the reason on one line of stderr.
fn print_error(reason: impl Display) {
    let line = reason.to_string().replace('\n', " ");
    // A failure to write to stderr cannot be reported.
    let _ = writeln!(io::stderr(), "identity: {line}");
}
