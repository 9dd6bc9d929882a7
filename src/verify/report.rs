//! What was found, as it is found.

use std::io::{self, Write};

use serde::Serialize;

use super::repair_plan::Repair;
use super::{Finding, Format};

/// How much was looked at, and what came of it.
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
    /// Those of them that hold again.
    pub(super) mended: u64,
}

/// Writes to stdout while it goes on: findings may be many.
#[derive(Debug)]
pub(super) struct Report {
    format: Format,
    pub(super) counts: Counts,
}

/// A finding in JSON.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    mended: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    repairs: &'a [Repair],
}

impl Report {
    pub(super) fn begin(format: Format) -> io::Result<Self> {
        if format == Format::Json {
            write!(io::stdout(), "{{\"findings\":[")?;
        }
        Ok(Self { format, counts: Counts::default() })
    }

    /// A finding, whether it was mended, and what was done on the way.
    pub(super) fn finding(&mut self, finding: &Finding, mended: bool, repairs: &[Repair]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Text => {
                writeln!(out, "{finding}{}", if mended { " (mended)" } else { "" })?;
                for repair in repairs {
                    writeln!(out, "  {repair}")?;
                }
            }
            Format::Json => {
                let comma = if self.counts.found == 0 { "" } else { "," };
                write!(out, "{comma}\n{}", serde_json::to_string(&Line { finding, mended, repairs })?)?;
            }
        }
        self.counts.found += 1;
        self.counts.mended += u64::from(mended);
        Ok(())
    }

    pub(super) fn end(self) -> io::Result<Counts> {
        let Counts { contacts, identifiers, merges, found, mended } = self.counts;
        let mut out = io::stdout().lock();
        match self.format {
            Format::Text => {
                let what = if found == 1 { "finding" } else { "findings" };
                let mended = if mended > 0 { format!(", {mended} mended") } else { String::new() };
                writeln!(
                    out,
                    "{found} {what}{mended}, in {contacts} contacts, {identifiers} identifiers and {merges} merges"
                )?;
            }
            Format::Json => {
                let counts = serde_json::to_string(&self.counts)?;
                writeln!(out, "\n],{}", counts.trim_start_matches('{'))?;
            }
        }
        out.flush()?;
        Ok(self.counts)
    }
}
