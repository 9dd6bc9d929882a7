//! `identity bench`: measures a running service. See [`crate::bench`].

use crate::bench::{self, BenchCommand};
use crate::settings::Settings;

/// Runs a benchmark and prints its result. It starts its own runtimes, one for each thread.
///
/// # Errors
/// One line for the operator.
pub fn bench(command: &BenchCommand, settings: &Settings) -> anyhow::Result<()> {
    bench::run(command, settings)
}
