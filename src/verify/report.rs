//! Prints the findings while `verify` runs: there may be many.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::finding::Finding;
use super::handled::Failure;
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
    /// Rows of `Evidence`.
    pub(super) evidence: u64,
    /// Broken invariants.
    pub(super) found: u64,
    /// Broken invariants that were repaired.
    pub(super) repaired: u64,
    /// Broken invariants that are left because their repair, or their plan, failed.
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
    pub(super) failure: Option<Failure>,
    /// Changes that may have been made although the repair failed.
    pub(super) possible: Vec<Repair>,
}

/// A finding, and what was done about it.
#[derive(Serialize)]
struct PrintedFinding<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    repaired: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    repairs: &'a [Repair],
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    possible_repairs: &'a [Repair],
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
            FindingFormat::Text => writeln!(io::stdout(), "{}", join.describe_planned())?,
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
        let mut out = io::stdout().lock();
        for printed in printed(findings, &treatment) {
            match self.format {
                FindingFormat::Text => out.write_all(as_text(&printed, self.mode).as_bytes())?,
                FindingFormat::Json => {
                    let comma = if self.counts.found == 0 { "" } else { "," };
                    write!(out, "{comma}\n{}", serde_json::to_string(&printed)?)?;
                }
            }
            self.counts.found += 1;
            self.counts.repaired += u64::from(printed.repaired);
            self.counts.failed += u64::from(printed.failure.is_some() && !printed.repaired);
        }
        Ok(())
    }

    /// Prints the counts and the end of the output. Returns the counts.
    pub(super) fn end(self) -> io::Result<Counts> {
        let Counts { contacts, identifiers, merges, evidence, found, repaired, failed, joins_planned } = self.counts;
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
                    "{found} {what}{done}, in {contacts} contacts, {identifiers} identifiers, {merges} merges and \
                     {evidence} sets of evidence"
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

/// Returns what is printed for each finding. A failure is printed with a finding that is left, and also with one that
/// is gone if nobody knows whether the repair was carried out.
fn printed<'a>(findings: &'a [Finding], treatment: &'a Treatment) -> impl Iterator<Item = PrintedFinding<'a>> {
    let Treatment { repairs, left, failure, possible } = treatment;
    findings.iter().enumerate().map(move |(number, finding)| {
        let repaired = !left.contains(finding);
        let failure = failure.as_ref().filter(|failure| failure.is_doubtful || !repaired);
        let [repairs, possible_repairs] = if number == 0 { [&repairs[..], &possible[..]] } else { [&[][..], &[][..]] };
        PrintedFinding {
            finding,
            repaired,
            repairs,
            failure: failure.map(|failure| &failure.reason[..]),
            possible_repairs,
        }
    })
}

/// Returns the lines of a finding.
fn as_text(printed: &PrintedFinding<'_>, mode: VerifyMode) -> String {
    let is_planned = mode == VerifyMode::Plan;
    let mut text = format!("{}{}\n", printed.finding, if printed.repaired { " (repaired)" } else { "" });
    for repair in printed.repairs {
        text += &format!("  {}\n", if is_planned { repair.describe_planned() } else { repair.describe_done() });
    }
    if let Some(failure) = printed.failure {
        let what = match (is_planned, printed.repaired) {
            (true, _) => "not planned",
            (false, false) => "not repaired",
            (false, true) => "the repair failed",
        };
        text += &format!("  {what}: {failure}\n");
    }
    for repair in printed.possible_repairs {
        text += &format!("  may have been carried out: {}\n", repair.describe_done());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_that_is_gone_after_a_doubtful_failure_says_so() {
        let finding = Finding::Precedence { contact: 1, linked_to: None };
        let failure = |is_doubtful| Some(Failure { reason: "gone".to_owned(), is_doubtful });
        let possible = vec![Repair::Promoted { contact: 1 }];
        let mut treatment = Treatment { failure: failure(true), possible, ..Treatment::default() };
        let lines = |treatment: &Treatment| {
            let findings = [finding.clone()];
            let text: String = printed(&findings, treatment).map(|one| as_text(&one, VerifyMode::Repair)).collect();
            text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        let possible = "  may have been carried out: made 1 the primary";
        assert_eq!(lines(&treatment), ["  the repair failed: gone", possible]);
        let json = serde_json::to_value(printed(std::slice::from_ref(&finding), &treatment).next().unwrap()).unwrap();
        assert_eq!((&json["repaired"], &json["failure"]), (&true.into(), &"gone".into()));
        assert_eq!(json["possible_repairs"][0]["repair"], "promoted");
        treatment.left = vec![finding.clone()];
        assert_eq!(lines(&treatment), ["  not repaired: gone", possible]);
        treatment = Treatment { failure: failure(false), ..Treatment::default() };
        assert_eq!(lines(&treatment), Vec::<String>::new(), "others repaired it");
    }
}
