//! `identity bench`: what a running service can do, measured from a process of its own.
//!
//! A `Script` says what a caller asks next, a `Client` is how it asks, `load` is when, a `Tally` is what came
//! back. `docs/benchmarks.md` has the method and the figures.

mod args;
mod client;
mod customer;
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

pub use args::{ApiKind, BenchCommand, Format, Fsync, Run, ScenarioKind, Seed};

use crate::settings::Settings;
use client::{Batch, Grpc, Health, Json, Stream, Target};
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
        run.per_call == 1 || run.api.takes_many(),
        "--per-call: a call through this api has one request; --api batch and --api stream take more"
    );
    let target = Target::new(&settings.listen, run.connections)?;
    let cast = Arc::new(Cast::new(run.customers, run.seed));
    let load = Load::new(run);
    if run.scenario == ScenarioKind::Merge {
        // What is to be joined must be there first. Merges are a half of the requests that follow, and none
        // costs less than a new customer: as much time again makes enough.
        let made = go(run.api, ScenarioKind::New, &target, &load.in_a_closed_loop(), &cast)?;
        ensure!(made.errors() == 0, "customers to join could not be made: {}", made.error_names());
        cast.stock_up();
    }
    let tally = go(run.api, run.scenario, &target, &load, &cast)?;
    if tally.answers() + tally.errors() == 0 {
        bail!("nothing came back in {}", humantime::format_duration(run.duration));
    }
    Ok(Report::new(run, &load, &tally))
}

fn go(api: ApiKind, scenario: ScenarioKind, target: &Target, load: &Load, cast: &Arc<Cast>) -> anyhow::Result<Tally> {
    match (scenario, api) {
        (ScenarioKind::Health, ApiKind::Grpc) => load.run::<Health>(target, scenario, cast),
        (ScenarioKind::Health, _) => bail!("health is asked for over gRPC: --api grpc"),
        (_, ApiKind::Grpc) => load.run::<Grpc>(target, scenario, cast),
        (_, ApiKind::Json) => load.run::<Json>(target, scenario, cast),
        (_, ApiKind::Batch) => load.run::<Batch>(target, scenario, cast),
        (_, ApiKind::Stream) => load.run::<Stream>(target, scenario, cast),
    }
}

fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => report.table(),
        Format::Json => report.json()?,
    };
    writeln!(io::stdout(), "{text}").context("cannot print the result")
}
