//! `identity bench`: a load generator that measures a running service from its own process.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `args` | the command line |
//! | `scenario` | which request a caller sends next |
//! | `client` | how a caller sends it |
//! | `pace` | when a caller sends it |
//! | `load` | threads and callers |
//! | `measurement`, `report` | counts, latencies, and their output |
//! | `seed` | customers for an empty database |
//! | `explain` | how long the explanation of a large customer takes |
//! | `fsync` | the speed of the disk |
//!
//! `docs/benchmarks.md` has the method and the figures. The module is part of the cargo feature `bench`.

mod args;
mod client;
mod customer;
mod explain;
mod fsync;
mod load;
mod measurement;
mod pace;
mod report;
mod scenario;
mod seed;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

pub use args::{
    ApiKind, BenchCommand, ConnectionArgs, ExplainArgs, FsyncArgs, ResultFormat, RunArgs, ScenarioKind, SeedArgs,
};

use crate::settings::Settings;
use crate::tls::{ClientTls, WithoutAuthority};
use client::{BatchClient, GrpcClient, HealthCheckClient, JsonClient, LookUpClient, ServiceAddress, StreamClient};
use load::Load;
use measurement::Measurement;
use report::BenchReport;
use scenario::CustomerPool;

/// Runs a command of `identity bench` and prints the result.
///
/// # Errors
/// One line for the operator.
pub fn run(command: &BenchCommand, settings: &Settings) -> anyhow::Result<()> {
    match command {
        BenchCommand::Seed(seed) => seed::run(seed, settings),
        BenchCommand::Run(run) => print(&measure(run, settings)?, run.format),
        BenchCommand::Explain(explain) => {
            let address = address(&explain.connection, settings, 1)?;
            print(&explain::measure(explain, &address)?, explain.format)
        }
        BenchCommand::Fsync(fsync) => print(&fsync::measure(fsync)?, fsync.format),
    }
}

fn measure(run: &RunArgs, settings: &Settings) -> anyhow::Result<BenchReport> {
    ensure!(
        run.per_call == 1 || run.api.takes_several(),
        "--per-call: a call of this API has one request; --api batch and --api stream take several"
    );
    let address = address(&run.connection, settings, run.connections)?;
    let pool = Arc::new(CustomerPool::new(run.customers, run.seed));
    let load = Load::new(run);
    if run.scenario == ScenarioKind::Merge {
        // Creates the customers to merge first, for the same time. That gives enough: half of the requests are merges,
        // and a merge takes at least as long as a new customer.
        let created = run_load(run.api, ScenarioKind::New, &address, &load.in_a_closed_loop(), &pool)?;
        ensure!(created.errors() == 0, "cannot create the customers to merge: {}", created.error_names());
        pool.use_new_customers_for_merges();
    }
    let measurement = run_load(run.api, run.scenario, &address, &load, &pool)?;
    if measurement.answers() + measurement.errors() == 0 {
        bail!("the service sent no answer within {}", humantime::format_duration(run.duration));
    }
    Ok(BenchReport::new(run, &load, &measurement))
}

/// Returns the address of the service, with so many connections.
fn address(flags: &ConnectionArgs, settings: &Settings, connections: u32) -> anyhow::Result<ServiceAddress> {
    let tls = ClientTls::new(&flags.tls, &settings.tls, WithoutAuthority::Own)?;
    let authorization = flags.token_file.as_deref().map(authorization).transpose()?;
    ServiceAddress::new(&settings.listen, connections, tls, authorization)
}

/// Returns the value of `Authorization` for the token in a file.
fn authorization(path: &Path) -> anyhow::Result<HeaderValue> {
    let token =
        SecretString::from(fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?);
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret().trim()))
        .map_err(|_| anyhow!("{} is no file of a token", path.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn run_load(
    api: ApiKind,
    scenario: ScenarioKind,
    address: &ServiceAddress,
    load: &Load,
    pool: &Arc<CustomerPool>,
) -> anyhow::Result<Measurement> {
    match (scenario, api) {
        (ScenarioKind::Health, ApiKind::Grpc) => load.run::<HealthCheckClient>(address, scenario, pool),
        (ScenarioKind::Health, _) => bail!("--scenario health works only with --api grpc"),
        (ScenarioKind::Known, ApiKind::LookUp) => load.run::<LookUpClient>(address, scenario, pool),
        (_, ApiKind::LookUp) => bail!("--api look-up works only with --scenario known: it writes nothing"),
        (_, ApiKind::Grpc) => load.run::<GrpcClient>(address, scenario, pool),
        (_, ApiKind::Json) => load.run::<JsonClient>(address, scenario, pool),
        (_, ApiKind::Batch) => load.run::<BatchClient>(address, scenario, pool),
        (_, ApiKind::Stream) => load.run::<StreamClient>(address, scenario, pool),
    }
}

fn print(report: &BenchReport, format: ResultFormat) -> anyhow::Result<()> {
    let text = match format {
        ResultFormat::Table => report.table(),
        ResultFormat::Json => report.json()?,
    };
    writeln!(io::stdout(), "{text}").context("cannot print the result")
}
