//! The binary `identity`.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use identity::cli::{self, Command, Invocation};
use identity::healthcheck::healthcheck;
use identity::settings::Stop;
use identity::verify::verify;
use identity::{app, bench, telemetry};

/// A wrong setting or command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
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
    match run(invocation) {
        Ok(code) => code,
        Err(error) => {
            complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(Invocation { command, settings, report }: Invocation) -> anyhow::Result<ExitCode> {
    if let Command::Config = command {
        io::stdout().write_all(report.as_bytes()).context("cannot print the settings")?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Bench(command) = command {
        telemetry::init(&settings.logging)?;
        bench::run(&command, &settings)?; // It has runtimes of its own, a thread each.
        return Ok(ExitCode::SUCCESS);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(async {
        match command {
            Command::Serve => {
                telemetry::init(&settings.logging)?;
                app::serve(settings).await?;
            }
            Command::Migrate(command) => {
                telemetry::init(&settings.logging)?;
                app::migrate(settings, command).await?;
            }
            Command::Healthcheck(ask) => healthcheck(&settings.listen.grpc_addr, ask.timeout).await?,
            Command::Verify(args) => {
                telemetry::init(&settings.logging)?;
                if !verify(args, &settings).await? {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Command::Bench(_) | Command::Config => {}
        }
        Ok(ExitCode::SUCCESS)
    });
    // A look-up of a host's name cannot be cancelled: do not wait for it.
    runtime.shutdown_background();
    result
}

/// Says why the process ends, on one line.
fn complain(why: impl Display) {
    let line = why.to_string().replace('\n', " ");
    // When stderr is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "identity: {line}");
}
