//! `identity verify`: checks a database of any size, reports every broken invariant, and repairs it if asked to.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `finding` | the kinds of broken invariants, and how to add one |
//! | `check` | decides each invariant by one row and the rows that it points at |
//! | `subject` | one row that may be damaged |
//! | `repair_plan` | what a repair changes |
//! | `repair` | the transaction of a repair, under the resolver's locks |
//! | `report` | the output |
//!
//! `verify` reads a page of rows, and the rows that they point at, in one statement. So memory is limited. Writes of a
//! running service cause no false alarm: each damaged row is read once more before it is reported.

mod check;
mod finding;
mod repair;
mod repair_plan;
mod report;
mod subject;

use std::io::IsTerminal;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

pub use finding::Finding;
pub use repair_plan::Repair;
pub use report::FindingFormat;

use crate::store::audit::Rows;
use crate::store::{Database, StoreError};
use check::{check_contact, check_identifier, check_merge};
use report::FindingWriter;
use subject::Subject;

/// Rows in one statement. So many that the round trip costs little, and a few MB at most.
const PAGE_SIZE: u64 = 1_000;

/// Checks all tables and prints the findings. Returns whether nothing is wrong, or everything was repaired.
///
/// # Errors
/// One line for the operator.
pub async fn verify(database: Database, is_repair: bool, format: FindingFormat) -> anyhow::Result<bool> {
    let report = FindingWriter::begin(format).context("cannot print the findings")?;
    let mut verification = Verification { database, is_repair, report, progress: ProgressBar::hidden() };
    verification.check_contacts().await?;
    verification.check_identifiers().await?;
    verification.check_merges().await?;
    verification.progress.finish_and_clear();
    let counts = verification.report.end().context("cannot print the findings")?;
    Ok(counts.found == counts.repaired)
}

/// A run of `identity verify`.
struct Verification {
    database: Database,
    is_repair: bool,
    report: FindingWriter,
    progress: ProgressBar,
}

impl Verification {
    async fn check_contacts(&mut self) -> anyhow::Result<()> {
        let last = self.database.last_contact().await.map_err(read_error)?;
        self.show_progress("contacts", last.unsigned_abs())?;
        let mut after = i64::MIN;
        loop {
            let rows = self.database.audit_contacts(Rows::After(after, PAGE_SIZE)).await.map_err(read_error)?;
            let Some(newest) = rows.last() else { return Ok(()) };
            after = newest.contact.id.0;
            self.report.counts.contacts += rows.len() as u64;
            let suspects = rows.iter().filter(|row| !check_contact(row).is_empty());
            self.confirm_and_report(suspects.map(|row| Subject::Contact(row.contact.id.0)).collect()).await?;
            self.progress.set_position(after.unsigned_abs());
        }
    }

    async fn check_identifiers(&mut self) -> anyhow::Result<()> {
        let count = if std::io::stderr().is_terminal() { self.database.count_identifiers().await } else { Ok(0) };
        self.show_progress("identifiers", count.map_err(read_error)?)?;
        let mut kind = String::new();
        while let Some(next) = self.database.next_kind(&kind).await.map_err(read_error)? {
            self.check_identifiers_of(&next).await?;
            kind = next;
        }
        Ok(())
    }

    async fn check_identifiers_of(&mut self, kind: &str) -> anyhow::Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.database.audit_identifiers(kind, after.as_deref(), PAGE_SIZE).await.map_err(read_error)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.value.clone());
            self.report.counts.identifiers += rows.len() as u64;
            self.progress.set_position(self.report.counts.identifiers);
            let suspects = rows.into_iter().filter(|row| check_identifier(row).is_some());
            self.confirm_and_report(suspects.map(|row| Subject::Identifier(row.kind, row.value)).collect()).await?;
        }
    }

    async fn check_merges(&mut self) -> anyhow::Result<()> {
        let mut after = i64::MIN;
        loop {
            let rows = self.database.audit_merges(Rows::After(after, PAGE_SIZE)).await.map_err(read_error)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            self.report.counts.merges += rows.len() as u64;
            let suspects = rows.iter().filter(|row| !check_merge(row).is_empty());
            self.confirm_and_report(suspects.map(|row| Subject::Merge(row.id)).collect()).await?;
        }
    }

    /// Reads the suspects of a page once more, then repairs (if asked to) and reports those that are still damaged.
    async fn confirm_and_report(&mut self, suspects: Vec<Subject>) -> anyhow::Result<()> {
        let mut confirmed = Vec::new();
        for subject in suspects {
            let findings = subject.findings(&self.database).await.map_err(read_error)?;
            if !findings.is_empty() {
                confirmed.push((subject, findings));
            }
        }
        for (subject, findings) in confirmed {
            let (mut repairs, mut left) = (Vec::new(), findings.clone());
            if self.is_repair {
                let cannot = |error: StoreError| anyhow::anyhow!("cannot repair: {error}");
                repairs = subject.repair(&self.database).await.map_err(cannot)?;
                left = subject.findings(&self.database).await.map_err(read_error)?;
            }
            let report = &mut self.report;
            let print = || {
                for finding in &findings {
                    report.write_finding(finding, !left.contains(finding), &std::mem::take(&mut repairs))?;
                }
                Ok::<(), std::io::Error>(())
            };
            self.progress.suspend(print).context("cannot print the findings")?;
        }
        Ok(())
    }

    /// Starts a progress bar on stderr, which appears only on a terminal.
    fn show_progress(&mut self, what: &'static str, length: u64) -> anyhow::Result<()> {
        self.progress.finish_and_clear();
        self.progress = ProgressBar::new(length);
        let style = ProgressStyle::with_template("{bar:40} {percent} % of {msg}, {eta} to go")?;
        self.progress.set_style(style);
        self.progress.set_message(what);
        Ok(())
    }
}

fn read_error(error: StoreError) -> anyhow::Error {
    anyhow::anyhow!("cannot read the tables: {error}")
}
