//! `identity bench`: what a running service can do, measured from a process of its own.
//!
//! A `Script` says what a caller asks next, a `Door` is how it asks, `load` is when, a `Tally` is what came
//! back. `docs/benchmarks.md` has the method and the figures.

mod args;
mod customer;
mod door;
mod fsync;
mod load;
mod pace;
mod report;
mod scenario;
mod seed;
mod tally;

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};

pub use args::{BenchCommand, DoorKind, Format, Fsync, Run, ScenarioKind, Seed};

use crate::settings::Settings;
use door::{Batch, Grpc, Health, Json, Stream, Target};
use load::Load;
use report::Report;
use scenario::Cast;
use tally::Tally;

/// Does what was asked for, and prints what came of it.
///
/// # Errors
/// One line for the operator.
pub fn run(command: &BenchCommand, settings: &Settings) -> anyhow::Result<()> {
    match command {
        BenchCommand::Seed(seed) => seed::run(seed, settings),
        BenchCommand::Run(run) => print(&measure(run, settings)?, run.format),
        BenchCommand::Fsync(fsync) => print(&fsync::measure(fsync)?, fsync.format),
    }
}

fn measure(run: &Run, settings: &Settings) -> anyhow::Result<Report> {
    ensure!(
        run.per_call == 1 || run.door.takes_many(),
        "--per-call: a call through this door has one request; --door batch and --door stream take more"
    );
    let target = Target::new(&settings.listen, run.connections)?;
    let cast = Arc::new(Cast::new(run.customers, run.seed));
    let load = Load::new(run);
    if run.scenario == ScenarioKind::Merge {
        // What is to be joined must be there first. Merges are a half of the requests that follow, and none
        // costs less than a new customer: as much time again makes enough.
        let made = go(run.door, ScenarioKind::New, &target, &load.in_a_closed_loop(), &cast)?;
        ensure!(made.errors() == 0, "customers to join could not be made: {}", made.error_names());
        cast.stock_up();
    }
    let tally = go(run.door, run.scenario, &target, &load, &cast)?;
    if tally.answers() + tally.errors() == 0 {
        bail!("nothing came back in {}", humantime::format_duration(run.duration));
    }
    Ok(Report::new(run, &load, &tally))
}

fn go(door: DoorKind, scenario: ScenarioKind, target: &Target, load: &Load, cast: &Arc<Cast>) -> anyhow::Result<Tally> {
    match (scenario, door) {
        (ScenarioKind::Health, DoorKind::Grpc) => load.run::<Health>(target, scenario, cast),
        (ScenarioKind::Health, _) => bail!("health is asked for over gRPC: --door grpc"),
        (_, DoorKind::Grpc) => load.run::<Grpc>(target, scenario, cast),
        (_, DoorKind::Json) => load.run::<Json>(target, scenario, cast),
        (_, DoorKind::Batch) => load.run::<Batch>(target, scenario, cast),
        (_, DoorKind::Stream) => load.run::<Stream>(target, scenario, cast),
    }
}

fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => report.table(),
        Format::Json => report.json()?,
    };
    writeln!(io::stdout(), "{text}").context("cannot print the result")
}
