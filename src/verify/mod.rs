//! `identity verify`: checks a database of any size, reports every broken invariant, and repairs it if asked to.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `finding` | the kinds of broken invariants, and how to add one |
//! | `check` | decides each invariant by one row and the rows that it points at |
//! | `subject` | one row that may be damaged |
//! | `run_state` | what a run knows beside the tables |
//! | `handled` | which identities are repaired or planned already |
//! | `connected` | the contacts that belong together, with canonical identifiers |
//! | `repair_plan`, `steps` | what a repair changes |
//! | `repair` | the transaction of a repair, under the resolver's locks |
//! | `attempts` | what happens after a transaction that did not commit |
//! | `doubt` | the changes of commits whose answer did not come |
//! | `preview` | what a plan of all repairs remembers |
//! | `repairs`, `report` | the output |
//!
//! `verify` reads a page of rows, and the rows that they point at, in one statement. So memory is limited. Writes of a
//! running service cause no false alarm: each damaged row is read once more before it is reported.

mod attempts;
mod check;
mod connected;
mod doubt;
mod finding;
mod handled;
mod preview;
mod repair;
mod repair_plan;
mod repairs;
mod report;
mod run_state;
mod steps;
mod subject;

use std::io::IsTerminal;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

pub use finding::Finding;
pub use repairs::Repair;
pub use report::{FindingFormat, VerifyMode};

use crate::domain::{ContactId, Region, StoredForm};
use crate::store::audit::{ContactRow, Rows};
use crate::store::{Database, IgnoredIdentifier, Store, StoreError};
use attempts::RepairError;
use check::{check_contact, check_evidence, check_identifier, check_merge};
use handled::Failure;
use report::{FindingWriter, Treatment};
use run_state::RunState;
use subject::Subject;

/// Rows in one statement. So many that the round trip costs little, and a few MB at most.
const PAGE_SIZE: u64 = 1_000;

/// Checks all tables and prints the findings. Returns whether nothing is wrong, or everything was repaired.
///
/// `region` is the phone region in force: it decides which phone numbers are canonical.
///
/// # Errors
/// One line for the operator.
pub async fn verify(
    database: Database,
    region: Option<Region>,
    mode: VerifyMode,
    format: FindingFormat,
) -> anyhow::Result<bool> {
    let report = FindingWriter::begin(format, mode).context("cannot print the findings")?;
    let mut verification = Verification {
        database,
        run: RunState { region, ..RunState::default() },
        mode,
        report,
        progress: ProgressBar::hidden(),
        last_contact: None,
    };
    verification.find_holders().await?;
    if mode == VerifyMode::Plan {
        verification.plan_joins().await?;
    }
    verification.check_holders().await?;
    verification.check_contacts().await?;
    verification.check_identifiers().await?;
    verification.check_merges().await?;
    verification.check_evidence().await?;
    verification.progress.finish_and_clear();
    let counts = verification.report.end().context("cannot print the findings")?;
    Ok(counts.found == counts.repaired)
}

/// A run of `identity verify`.
struct Verification {
    database: Database,
    run: RunState,
    mode: VerifyMode,
    report: FindingWriter,
    progress: ProgressBar,
    /// The id up to which contacts were read.
    last_contact: Option<i64>,
}

impl Verification {
    /// Prints the joins that a repair would make, before anything else: a join cannot be undone.
    async fn plan_joins(&mut self) -> anyhow::Result<()> {
        self.show_progress("joins", self.database.last_contact().await.map_err(read_error)?.unsigned_abs())?;
        while let Some(rows) = self.next_contacts().await? {
            let subjects = self.suspects(&rows);
            self.run.handled.begin_page(subjects.iter().filter_map(Subject::about));
            for subject in &subjects {
                if self.run.handled.failure(subject.root()).is_some() {
                    continue;
                }
                let joins = match subject.joins(&self.database, &mut self.run).await {
                    Ok(joins) => joins,
                    // The finding will say so.
                    Err(error) => self.go_on_after(error.into(), subject).await.map(|_| Vec::new())?,
                };
                for join in joins {
                    let report = &mut self.report;
                    let printed = self.progress.suspend(|| report.write_join(&join));
                    printed.context("cannot print the findings")?;
                }
            }
        }
        self.report.end_joins().context("cannot print the findings")
    }

    /// Finds the holders of ignored identifiers that do not hold them, or not in the canonical form. Before anything
    /// else: what they should hold joins nobody, in no repair and no plan.
    async fn find_holders(&mut self) -> anyhow::Result<()> {
        let mut after = i64::MIN;
        while let Some((page, end)) = self.database.ignored_identifiers(after).await.map_err(read_error)? {
            for IgnoredIdentifier { identifier, holder, is_in_force, .. } in page {
                let canonical = match identifier.stored_form(self.run.region) {
                    StoredForm::NotCanonical(canonical) => Some(canonical),
                    StoredForm::Canonical | StoredForm::Blank | StoredForm::Malformed => None,
                };
                if !is_in_force || canonical.is_some() {
                    self.run.holders.insert(holder);
                    self.run.ignored.extend([identifier].into_iter().chain(canonical));
                }
            }
            after = end;
        }
        Ok(())
    }

    /// Checks these holders.
    async fn check_holders(&mut self) -> anyhow::Result<()> {
        let mut holders: Vec<ContactId> = self.run.holders.iter().copied().collect();
        holders.sort_unstable();
        for holder in holders {
            let rows = self.database.audit_contacts(Rows::Only(holder.0)).await.map_err(read_error)?;
            self.confirm_and_report(rows.iter().map(Subject::contact).collect()).await?;
        }
        Ok(())
    }

    async fn check_contacts(&mut self) -> anyhow::Result<()> {
        self.show_progress("contacts", self.database.last_contact().await.map_err(read_error)?.unsigned_abs())?;
        while let Some(rows) = self.next_contacts().await? {
            self.report.counts.contacts += rows.len() as u64;
            let suspects = self.suspects(&rows);
            self.confirm_and_report(suspects).await?;
        }
        Ok(())
    }

    /// Returns the next page of contacts. `None` ends a pass, and the next call begins another.
    async fn next_contacts(&mut self) -> anyhow::Result<Option<Vec<ContactRow>>> {
        let after = self.last_contact.unwrap_or(i64::MIN);
        let rows = self.database.audit_contacts(Rows::After(after, PAGE_SIZE)).await.map_err(read_error)?;
        self.progress.set_position(self.last_contact.unwrap_or_default().unsigned_abs());
        self.last_contact = rows.last().map(|newest| newest.contact.id.0);
        Ok(self.last_contact.is_some().then_some(rows))
    }

    fn suspects(&self, rows: &[ContactRow]) -> Vec<Subject> {
        let is_checked = |row: &&ContactRow| row.contact.is_holder && self.run.holders.contains(&row.contact.id);
        let rows = rows.iter().filter(|row| !is_checked(row));
        rows.filter(|row| !check_contact(row, self.run.region).is_empty()).map(Subject::contact).collect()
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
            self.confirm_and_report(suspects.map(Subject::identifier).collect()).await?;
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
            self.confirm_and_report(suspects.map(Subject::merge).collect()).await?;
        }
    }

    async fn check_evidence(&mut self) -> anyhow::Result<()> {
        let mut after = i64::MIN;
        loop {
            let rows = self.database.audit_evidence(Rows::After(after, PAGE_SIZE)).await.map_err(read_error)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            self.report.counts.evidence += rows.len() as u64;
            let suspects = rows.iter().filter(|row| check_evidence(row).is_some());
            self.confirm_and_report(suspects.map(Subject::evidence).collect()).await?;
        }
    }

    /// Reads the suspects of a page once more, then repairs (if asked to) and reports those that are still damaged.
    async fn confirm_and_report(&mut self, suspects: Vec<Subject>) -> anyhow::Result<()> {
        let (region, mut confirmed) = (self.run.region, Vec::new());
        for subject in suspects {
            let findings = subject.findings(&self.database, region).await.map_err(read_error)?;
            if !findings.is_empty() {
                confirmed.push((subject, findings));
            }
        }
        self.run.handled.begin_page(confirmed.iter().filter_map(|(subject, _)| subject.about()));
        for (subject, mut findings) in confirmed {
            let treatment = self.treat(&subject, &findings).await?;
            // A blank value that was cleared can leave a contact without any identifier.
            let new = treatment.left.iter().filter(|left| !findings.contains(left));
            findings.extend(new.cloned().collect::<Vec<_>>());
            let report = &mut self.report;
            let printed = self.progress.suspend(|| report.write_findings(&findings, treatment));
            printed.context("cannot print the findings")?;
        }
        Ok(())
    }

    /// Repairs a damaged row or plans its repair, as the mode says.
    async fn treat(&mut self, subject: &Subject, findings: &[Finding]) -> anyhow::Result<Treatment> {
        let mut treatment = Treatment { left: findings.to_vec(), ..Treatment::default() };
        if self.mode == VerifyMode::Report {
            return Ok(treatment);
        }
        if let Some(failure) = self.run.handled.failure(subject.root()) {
            treatment.failure = Some(failure.clone());
            if failure.is_doubtful {
                treatment.left = self.findings_left(subject, &treatment).await?;
            }
            return Ok(treatment);
        }
        let (database, run) = (&self.database, &mut self.run);
        let done = if self.mode == VerifyMode::Plan {
            subject.plan(database, run).await.map(|planned| treatment.repairs = planned).map_err(RepairError::from)
        } else {
            subject.repair(database, run, &mut treatment.repairs).await
        };
        if let Err(error) = done {
            treatment.possible = error.doubt.repairs().to_vec();
            treatment.failure = Some(self.go_on_after(error, subject).await?);
        }
        if self.mode == VerifyMode::Repair {
            treatment.left = self.findings_left(subject, &treatment).await?;
        }
        Ok(treatment)
    }

    /// Returns what is still damaged after a treatment.
    ///
    /// # Errors
    /// If the database is lost. The operator must hear of a repair that is in doubt then, too.
    async fn findings_left(&self, subject: &Subject, treatment: &Treatment) -> anyhow::Result<Vec<Finding>> {
        let left = subject.findings(&self.database, self.run.region).await;
        left.map_err(|error| match &treatment.failure {
            Some(failure) => anyhow::anyhow!("cannot read the tables: {error}; before that: {}", failure.reason),
            None => read_error(error),
        })
    }

    /// Goes on after the attempt to repair an identity, or to plan that, failed: the others must not suffer. Returns
    /// the reason, in words for operators.
    ///
    /// # Errors
    /// If the database is lost.
    async fn go_on_after(&mut self, failure: RepairError, subject: &Subject) -> anyhow::Result<Failure> {
        if failure.error.is_unavailable() {
            // The statement may have been slow because of its data, and the database answers others. It also answers
            // if a lock hides the tables from the ping.
            match self.database.ping().await {
                Ok(()) | Err(StoreError::LostRace(_) | StoreError::TooSlow(_)) => {}
                Err(lost) => anyhow::bail!("the database is lost: {}", RepairError { error: lost, ..failure }),
            }
        }
        let failure = Failure { reason: failure.to_string(), is_doubtful: failure.doubt.exists() };
        self.run.handled.fail(subject.root(), &failure);
        Ok(failure)
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
