//! `identity verify`: goes through a database of any size and reports every broken invariant.
//!
//! Each invariant is decided by one row and the rows that it points at (`check`), and those are read
//! together in one statement, a page at a time: memory is bounded, and a database that is written to
//! meanwhile raises no false alarm. What a page shows is read once more before it is reported, and mended
//! (`mending`, `repair`) in a transaction that takes the resolver's locks.

mod check;
mod finding;
mod repair;
mod repair_plan;
mod report;
mod subject;

use std::io::IsTerminal;

use anyhow::Context;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

pub use finding::Finding;
pub use repair_plan::Repair;

use crate::store::audit::Rows;
use crate::store::{Database, StoreError};
use report::Report;
use subject::Subject;

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, a line each
    Text,
    /// One JSON object
    Json,
}

/// Rows a statement: enough that a round trip is a small part of it, and a few MB at most.
const PAGE: u64 = 1_000;

/// Reads all tables and prints what is wrong. Returns whether nothing is wrong (any more).
///
/// # Errors
/// One line for the operator.
pub async fn verify(database: Database, is_repair: bool, format: Format) -> anyhow::Result<bool> {
    let report = Report::begin(format).context("cannot print the findings")?;
    let mut run = Run { database, is_repair, report, progress: ProgressBar::hidden() };
    run.contacts().await?;
    run.identifiers().await?;
    run.merges().await?;
    run.progress.finish_and_clear();
    let counts = run.report.end().context("cannot print the findings")?;
    Ok(counts.found == counts.mended)
}

struct Run {
    database: Database,
    is_repair: bool,
    report: Report,
    progress: ProgressBar,
}

impl Run {
    async fn contacts(&mut self) -> anyhow::Result<()> {
        let last = self.database.last_contact().await.map_err(unreadable)?;
        self.show("contacts", last.unsigned_abs())?;
        let mut after = i64::MIN;
        loop {
            let rows = self.database.audit_contacts(Rows::After(after, PAGE)).await.map_err(unreadable)?;
            let Some(newest) = rows.last() else { return Ok(()) };
            after = newest.contact.id.0;
            self.report.counts.contacts += rows.len() as u64;
            let suspects = rows.iter().filter(|row| !check::contact(row).is_empty());
            self.judge(suspects.map(|row| Subject::Contact(row.contact.id.0)).collect()).await?;
            self.progress.set_position(after.unsigned_abs());
        }
    }

    async fn identifiers(&mut self) -> anyhow::Result<()> {
        let count = if std::io::stderr().is_terminal() { self.database.count_identifiers().await } else { Ok(0) };
        self.show("identifiers", count.map_err(unreadable)?)?;
        let mut kind = String::new();
        while let Some(next) = self.database.next_kind(&kind).await.map_err(unreadable)? {
            self.identifiers_of(&next).await?;
            kind = next;
        }
        Ok(())
    }

    async fn identifiers_of(&mut self, kind: &str) -> anyhow::Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.database.audit_identifiers(kind, after.as_deref(), PAGE).await.map_err(unreadable)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.value.clone());
            self.report.counts.identifiers += rows.len() as u64;
            self.progress.set_position(self.report.counts.identifiers);
            let suspects = rows.into_iter().filter(|row| check::identifier(row).is_some());
            self.judge(suspects.map(|row| Subject::Identifier(row.kind, row.value)).collect()).await?;
        }
    }

    async fn merges(&mut self) -> anyhow::Result<()> {
        let mut after = i64::MIN;
        loop {
            let rows = self.database.audit_merges(Rows::After(after, PAGE)).await.map_err(unreadable)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            self.report.counts.merges += rows.len() as u64;
            let suspects = rows.iter().filter(|row| !check::merge(row).is_empty());
            self.judge(suspects.map(|row| Subject::Merge(row.id)).collect()).await?;
        }
    }

    /// Looks at suspects of a page once more, then mends and reports what is still wrong.
    async fn judge(&mut self, suspects: Vec<Subject>) -> anyhow::Result<()> {
        let mut confirmed = Vec::new();
        for subject in suspects {
            let findings = subject.findings(&self.database).await.map_err(unreadable)?;
            if !findings.is_empty() {
                confirmed.push((subject, findings));
            }
        }
        for (subject, findings) in confirmed {
            let (mut repairs, mut left) = (Vec::new(), findings.clone());
            if self.is_repair {
                let cannot = |error: StoreError| anyhow::anyhow!("cannot mend: {error}");
                repairs = subject.mend(&self.database).await.map_err(cannot)?;
                left = subject.findings(&self.database).await.map_err(unreadable)?;
            }
            let report = &mut self.report;
            let print = || {
                for finding in &findings {
                    report.finding(finding, !left.contains(finding), &std::mem::take(&mut repairs))?;
                }
                Ok::<(), std::io::Error>(())
            };
            self.progress.suspend(print).context("cannot print the findings")?;
        }
        Ok(())
    }

    /// Shows how far it is, on stderr and only if that is a terminal.
    fn show(&mut self, what: &'static str, length: u64) -> anyhow::Result<()> {
        self.progress.finish_and_clear();
        self.progress = ProgressBar::new(length);
        let style = ProgressStyle::with_template("{bar:40} {percent} % of {msg}, {eta} to go")?;
        self.progress.set_style(style);
        self.progress.set_message(what);
        Ok(())
    }
}

fn unreadable(error: StoreError) -> anyhow::Error {
    anyhow::anyhow!("cannot read the tables: {error}")
}
