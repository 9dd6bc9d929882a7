//! Prints the findings while `verify` runs: there may be many.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::finding::Finding;
use super::repairs::Repair;

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FindingFormat {
    /// One line for each finding, for people
    Text,
    /// One JSON object
    Json,
}

/// What `verify` does about findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyMode {
    /// Reports them.
    Report,
    /// Reports what [`VerifyMode::Repair`] would do, joins first. Changes nothing.
    Plan,
    /// Repairs them.
    Repair,
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
    /// Broken invariants whose repair, or whose plan, failed.
    pub(super) failed: u64,
    /// With `--plan`: identities that would be joined with an older one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) joins_planned: Option<u64>,
}

/// Writes findings to stdout and counts them.
#[derive(Debug)]
pub(super) struct FindingWriter {
    format: FindingFormat,
    mode: VerifyMode,
    pub(super) counts: Counts,
}

/// What was done about the findings of a row.
#[derive(Debug, Default)]
pub(super) struct Treatment {
    /// The changes, made or planned.
    pub(super) repairs: Vec<Repair>,
    /// The findings that are left.
    pub(super) left: Vec<Finding>,
    /// Why the repair, or its plan, failed.
    pub(super) failure: Option<String>,
}

/// A finding in JSON.
#[derive(Serialize)]
struct JsonFinding<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    repaired: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    repairs: &'a [Repair],
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
}

impl FindingWriter {
    /// Prints the start of the output.
    pub(super) fn begin(format: FindingFormat, mode: VerifyMode) -> io::Result<Self> {
        if format == FindingFormat::Json {
            let first = if mode == VerifyMode::Plan { "joins" } else { "findings" };
            write!(io::stdout(), "{{\"{first}\":[")?;
        }
        let joins_planned = (mode == VerifyMode::Plan).then_some(0);
        Ok(Self { format, mode, counts: Counts { joins_planned, ..Counts::default() } })
    }

    /// Prints a join that a repair would make.
    pub(super) fn write_join(&mut self, join: &Repair) -> io::Result<()> {
        let count = self.counts.joins_planned.get_or_insert_default();
        match self.format {
            FindingFormat::Text => writeln!(io::stdout(), "{}", join.planned())?,
            FindingFormat::Json => {
                write!(io::stdout(), "{}\n{}", if *count == 0 { "" } else { "," }, serde_json::to_string(join)?)?;
            }
        }
        *count += 1;
        Ok(())
    }

    /// Prints what stands between the joins of a plan and its findings.
    pub(super) fn end_joins(&mut self) -> io::Result<()> {
        match self.format {
            FindingFormat::Text => Ok(()),
            FindingFormat::Json => write!(io::stdout(), "\n],\"findings\":["),
        }
    }

    /// Prints the findings of a row, and what was done about them. The changes are printed with the first finding.
    pub(super) fn write_findings(&mut self, findings: &[Finding], treatment: Treatment) -> io::Result<()> {
        let Treatment { repairs, left, failure } = treatment;
        for (number, finding) in findings.iter().enumerate() {
            let repairs = if number == 0 { &repairs[..] } else { &[] };
            let is_left = left.contains(finding);
            self.write_finding(finding, !is_left, repairs, failure.as_deref().filter(|_| is_left))?;
        }
        Ok(())
    }

    fn write_finding(
        &mut self,
        finding: &Finding,
        repaired: bool,
        repairs: &[Repair],
        failure: Option<&str>,
    ) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            FindingFormat::Text => {
                let is_planned = self.mode == VerifyMode::Plan;
                writeln!(out, "{finding}{}", if repaired { " (repaired)" } else { "" })?;
                for repair in repairs {
                    writeln!(out, "  {}", if is_planned { repair.planned() } else { repair.done() })?;
                }
                if let Some(failure) = failure {
                    writeln!(out, "  not {}: {failure}", if is_planned { "planned" } else { "repaired" })?;
                }
            }
            FindingFormat::Json => {
                let comma = if self.counts.found == 0 { "" } else { "," };
                let finding = JsonFinding { finding, repaired, repairs, failure };
                write!(out, "{comma}\n{}", serde_json::to_string(&finding)?)?;
            }
        }
        self.counts.found += 1;
        self.counts.repaired += u64::from(repaired);
        self.counts.failed += u64::from(failure.is_some());
        Ok(())
    }

    /// Prints the counts and the end of the output. Returns the counts.
    pub(super) fn end(self) -> io::Result<Counts> {
        let Counts { contacts, identifiers, merges, found, repaired, failed, joins_planned } = self.counts;
        let mut out = io::stdout().lock();
        match self.format {
            FindingFormat::Text => {
                let what = if found == 1 { "finding" } else { "findings" };
                let mut done = if repaired > 0 { format!(", {repaired} repaired") } else { String::new() };
                if failed > 0 {
                    done += &format!(", {failed} failed");
                }
                done.extend(joins_planned.map(|joins| format!(", joins planned: {joins}")));
                writeln!(
                    out,
                    "{found} {what}{done}, in {contacts} contacts, {identifiers} identifiers and {merges} merges"
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
