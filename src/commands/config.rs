//! `identity config`: prints the settings in force.

use std::io::{self, Write};

use anyhow::Context;

/// Prints the settings as a TOML file, each with its origin, without secrets.
///
/// # Errors
/// When stdout cannot be written.
pub fn config(report: &str) -> anyhow::Result<()> {
    io::stdout().write_all(report.as_bytes()).context("cannot print the settings")
}
