//! Prints the findings while `verify` runs: there may be many.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::finding::Finding;
use super::repair_plan::Repair;

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FindingFormat {
    /// One line for each finding, for people
    Text,
    /// One JSON object
    Json,
}

/// How many rows were checked, and how many invariants were broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Rows of `Contact`.
    pub(super) contacts: u64,
    /// Rows of `Identifier`.
    pub(super) identifiers: u64,
    /// Rows of `ContactMerge`.
    pub(super) merges: u64,
    /// Broken invariants.
    pub(super) found: u64,
    /// Broken invariants that were repaired.
    pub(super) repaired: u64,
}

/// Writes findings to stdout and counts them.
#[derive(Debug)]
pub(super) struct FindingWriter {
    format: FindingFormat,
    pub(super) counts: Counts,
}

/// A finding in JSON.
#[derive(Serialize)]
struct JsonFinding<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    repaired: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    repairs: &'a [Repair],
}

impl FindingWriter {
    /// Prints the start of the output.
    pub(super) fn begin(format: FindingFormat) -> io::Result<Self> {
        if format == FindingFormat::Json {
            write!(io::stdout(), "{{\"findings\":[")?;
        }
        Ok(Self { format, counts: Counts::default() })
    }

    /// Prints a finding, whether it was repaired, and the changes of the repair.
    pub(super) fn write_finding(&mut self, finding: &Finding, repaired: bool, repairs: &[Repair]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            FindingFormat::Text => {
                writeln!(out, "{finding}{}", if repaired { " (repaired)" } else { "" })?;
                for repair in repairs {
                    writeln!(out, "  {repair}")?;
                }
            }
            FindingFormat::Json => {
                let comma = if self.counts.found == 0 { "" } else { "," };
                write!(out, "{comma}\n{}", serde_json::to_string(&JsonFinding { finding, repaired, repairs })?)?;
            }
        }
        self.counts.found += 1;
        self.counts.repaired += u64::from(repaired);
        Ok(())
    }

    /// Prints the counts and the end of the output. Returns the counts.
    pub(super) fn end(self) -> io::Result<Counts> {
        let Counts { contacts, identifiers, merges, found, repaired } = self.counts;
        let mut out = io::stdout().lock();
        match self.format {
            FindingFormat::Text => {
                let what = if found == 1 { "finding" } else { "findings" };
                let repaired = if repaired > 0 { format!(", {repaired} repaired") } else { String::new() };
                writeln!(
                    out,
                    "{found} {what}{repaired}, in {contacts} contacts, {identifiers} identifiers and {merges} merges"
                )?;
            }
            FindingFormat::Json => {
                let counts = serde_json::to_string(&self.counts)?;
                writeln!(out, "\n],{}", counts.trim_start_matches('{'))?;
            }
        }
        out.flush()?;
        Ok(self.counts)
    }
}
