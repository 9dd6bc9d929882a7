//! `identity adopt` and `identity import`: take over the contacts of another system, from its table or from a file.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `options` | what an adoption is begun with, and what must stay the same |
//! | `memory` | `--memory` |
//! | `error` | why an adoption failed |
//! | `source` | what is read: an old table, or a file; read ahead |
//! | `old_rows` | the rows of an old table as the rules see them |
//! | `contact_file/` | files of contacts |
//! | `survey` | the first read: identities and report |
//! | `load` | the second read: makes contacts and identifiers equal to it |
//! | `load_merges` | merges: those of a file, and joins that the source does not have |
//! | `load_evidence` | the sets of a file that no contact carries |
//! | `report` | what is reported |
//!
//! The old table is read twice, and is never written to. Each run compares everything and writes what differs. So the
//! same command goes on after a crash, and takes over what has changed in the old table. An adoption is done when both
//! reads of a run saw the same rows.

mod contact_file;
mod error;
mod load;
mod load_evidence;
mod load_merges;
mod memory;
mod old_rows;
mod options;
mod report;
mod source;
mod survey;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use ring::rand::{SecureRandom, SystemRandom};

use crate::domain::{Identifier, Timestamp};
use crate::progress::during;
use crate::store::adoption::{AdoptionRun, AdoptionState, RunToken, ServiceWrote};
use crate::store::{AdoptionPhase, Database, StoreError};
pub use contact_file::{ContactFileOptions, FileError};
pub use error::AdoptError;
pub use memory::{InvalidMemorySize, MemorySize};
pub use options::{AdoptionOptions, without_secrets};
pub use report::{AdoptionReport, ReportFormat, ReportedEvidence};
use source::Source;
pub use source::SourceOptions;
use survey::{Survey, SurveyLimits, survey};

/// What is to be adopted, and how.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// What is read.
    pub source: SourceOptions,
    /// What decides about the result.
    pub options: AdoptionOptions,
    /// The memory that the rows may need.
    pub memory: MemorySize,
    /// The limit of contacts in an identity.
    pub max_contacts: u64,
    /// Whether the report has the values of identifiers over `--max-join`.
    pub show_values: bool,
}

/// How an adoption ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptionEnd {
    /// Nothing was to be written.
    DryRun,
    /// Nothing was written: identifiers need a decision.
    DecisionsNeeded,
    /// All of the old table is in the target.
    Done,
    /// The old table changed meanwhile.
    Behind,
}

/// What an adoption did.
#[derive(Debug)]
pub struct AdoptionOutcome {
    /// How it ended.
    pub end: AdoptionEnd,
    /// What it does, or would do.
    pub report: AdoptionReport,
    /// Old id and new id of each primary whose id changes.
    pub changed_primaries: Vec<(i64, i64)>,
    /// Contacts that this run inserted, replaced or deleted.
    pub contacts_written: u64,
    /// Whether the target has an adoption now that is not done: the service does not start.
    pub is_unfinished: bool,
}

impl Adoption {
    /// Reads the source, and reports what an adoption would do. Writes nothing. `target` is none if there
    /// is no database yet.
    ///
    /// # Errors
    /// [`AdoptError`].
    pub async fn dry_run(&self, target: Option<&Database>) -> Result<AdoptionOutcome, AdoptError> {
        let (adoption, source) = self.open().await?;
        let mut is_unfinished = false;
        if let Some(target) = target
            && let Some(state) = adoption.check_target(target, &source).await?
        {
            if written_since(target, &state).await? == Some(ServiceWrote) {
                return Err(AdoptError::ServiceWrote("a further adoption"));
            }
            is_unfinished = state.phase != AdoptionPhase::Done;
        }
        let survey = survey(&source, &adoption.options, self.limits()).await?;
        let needs_decision = survey.report.needs_decision();
        let end = if needs_decision { AdoptionEnd::DecisionsNeeded } else { AdoptionEnd::DryRun };
        Ok(outcome(end, survey, 0, is_unfinished))
    }

    /// Takes over the source, or what has changed in it. `connect` connects to the target, and makes an
    /// SQLite file if there is none; it is called once there is something to write. `target` is none if there is no
    /// database yet.
    ///
    /// # Errors
    /// [`AdoptError`]. The same command goes on.
    pub async fn apply<E: From<AdoptError>>(
        &self,
        target: Option<&Database>,
        connect: impl AsyncFnOnce() -> Result<Database, E>,
    ) -> Result<AdoptionOutcome, E> {
        let (adoption, source) = self.open().await?;
        let taken = match target {
            Some(target) => adoption.take(target, &source).await?,
            None => None,
        };
        let is_begun = taken.is_some();
        let survey = survey(&source, &adoption.options, self.limits()).await;
        let survey = survey.map_err(|error| if is_begun { error.while_taken() } else { error })?;
        if survey.report.needs_decision() {
            return Ok(outcome(AdoptionEnd::DecisionsNeeded, survey, 0, is_begun));
        }
        if let Some(target) = target {
            return Ok(adoption.load(target, &source, taken, survey).await?);
        }
        let made = connect().await?;
        let outcome = adoption.load(&made, &source, None, survey).await;
        made.close().await;
        Ok(outcome?)
    }

    async fn load(
        &self,
        target: &Database,
        source: &Arc<Source>,
        taken: Option<(AdoptionRun, AdoptionPhase)>,
        survey: Survey,
    ) -> Result<AdoptionOutcome, AdoptError> {
        let (mut run, phase) = match taken {
            Some(taken) => taken,
            None => (self.begin(target, source).await?, AdoptionPhase::Contacts),
        };
        self.load_by(target, source, &mut run, phase, survey).await.map_err(AdoptError::while_taken)
    }

    async fn load_by(
        &self,
        target: &Database,
        source: &Arc<Source>,
        run: &mut AdoptionRun,
        phase: AdoptionPhase,
        mut survey: Survey,
    ) -> Result<AdoptionOutcome, AdoptError> {
        let written = load::load_contacts(target, run, source, &mut survey.identities).await?;
        check_alone(target, run, written.contacts).await?;
        if written.changes > 0 || phase <= AdoptionPhase::Identifiers {
            target.enter_adoption_phase(run, AdoptionPhase::Identifiers).await?;
            load::load_identifiers(target, run, written.contacts, &self.options.rules.ignored).await?;
        }
        load_merges::load_merges(target, run, source, &survey.identities).await?;
        let reported = survey.report.evidence.as_ref();
        load_evidence::load_evidence(target, run, source, &survey.identities, reported).await?;
        during("statistics", target.finish_tables()).await?;
        target.hold_ignored(run, &self.options.rules.ignored).await?;
        let content = during("checking", async {
            let content = target.digest_of_tables().await?;
            check_alone(target, run, written.contacts).await?;
            Ok::<_, AdoptError>(content)
        });
        let content = content.await?;
        let (phase, end) = match written.is_complete {
            true => (AdoptionPhase::Done, AdoptionEnd::Done),
            false => (AdoptionPhase::Behind, AdoptionEnd::Behind),
        };
        target.begin_evidence(run).await?;
        target.end_adoption(run, phase, written.contacts, &content).await?;
        Ok(outcome(end, survey, written.changes, end == AdoptionEnd::Behind))
    }

    /// Opens the source. What a file says of ignored identifiers is added to `--ignore`.
    async fn open(&self) -> Result<(Self, Arc<Source>), AdoptError> {
        let source = Source::open(&self.source).await?;
        let mut adoption = self.clone();
        if let Source::File(file) = &source {
            // By the rules of today: those of the export may have been others.
            let rules = &mut adoption.options.rules;
            let held = file.held.iter().filter_map(|(kind, value)| rules.clean(*kind, Some(value)).identifier);
            let held: Vec<Identifier> = held.collect();
            rules.ignored.extend(held);
        }
        Ok((adoption, Arc::new(source)))
    }

    fn limits(&self) -> SurveyLimits {
        SurveyLimits { memory: self.memory, max_contacts: self.max_contacts, show_values: self.show_values }
    }

    /// Returns the adoption that the target has, if it has one. Fails unless the target is empty or has this adoption.
    /// Writes nothing.
    async fn check_target(&self, target: &Database, source: &Source) -> Result<Option<AdoptionState>, AdoptError> {
        let Some(state) = target.adoption().await? else {
            target.check_schema().await?;
            return if target.has_rows().await? { Err(AdoptError::NotEmpty) } else { Ok(None) };
        };
        target.check_tables().await?;
        let differences = options::differences(&state.options, &self.for_state(source));
        if state.phase == AdoptionPhase::Undoing {
            Err(AdoptError::Undoing)
        } else if differences.is_empty() {
            Ok(Some(state))
        } else {
            Err(AdoptError::OtherOptions(differences))
        }
    }

    /// Takes the adoption that the target has, if it has one, and says in which phase it was. From here on the service
    /// does not start, and one that runs stops.
    async fn take(
        &self,
        target: &Database,
        source: &Source,
    ) -> Result<Option<(AdoptionRun, AdoptionPhase)>, AdoptError> {
        let Some(state) = self.check_target(target, source).await? else { return Ok(None) };
        target.migrate_up().await?;
        let run = take(target, &state, "a further adoption").await?;
        if state.phase.is_or_was_done() {
            target.enter_adoption_phase(&run, AdoptionPhase::Behind).await?;
        }
        Ok(Some((run, state.phase)))
    }

    /// Makes the tables and records the beginning.
    async fn begin(&self, target: &Database, source: &Source) -> Result<AdoptionRun, AdoptError> {
        let had_tables = target.has_contact_tables().await?;
        target.migrate_up().await?;
        let now = Timestamp(Utc::now().timestamp_micros());
        let run = target.begin_adoption(&self.for_state(source), now, token()?).await;
        let run = run.map_err(|error| {
            if matches!(error, StoreError::DuplicateKey(_)) { AdoptError::OtherRun } else { error.into() }
        })?;
        if had_tables {
            // A service may have found them empty too.
            tokio::time::sleep(SERVICE_STOPS_WITHIN).await;
        }
        if target.has_rows().await? {
            target.forget_adoption(&run).await?;
            return Err(AdoptError::NotEmpty);
        }
        // A user without the rights for the last step fails now, and not after hours.
        target.finish_tables().await?;
        Ok(run)
    }

    fn for_state(&self, source: &Source) -> serde_json::Value {
        self.options.for_state(&source.fingerprint())
    }
}

fn outcome(end: AdoptionEnd, survey: Survey, contacts_written: u64, is_unfinished: bool) -> AdoptionOutcome {
    let Survey { report, changed_primaries, .. } = survey;
    AdoptionOutcome { end, report, changed_primaries, contacts_written, is_unfinished }
}

/// How long a running service may take to see that an adoption has begun, and to end. It looks
/// twice a second.
const SERVICE_STOPS_WITHIN: Duration = Duration::from_secs(2);

/// Takes an adoption from the run that has it, unless somebody else has written.
async fn take(target: &Database, state: &AdoptionState, what: &'static str) -> Result<AdoptionRun, AdoptError> {
    let is_done = state.phase.is_or_was_done();
    // A service that has written is not disturbed: what most changes leave behind is seen at once.
    if is_done && target.has_rows_above(state.last_contact_id, state.last_merge_id).await? {
        return Err(AdoptError::ServiceWrote(what));
    }
    let during = if is_done { AdoptionPhase::Checking } else { state.phase };
    let run = target.take_adoption(state, during, token()?).await?;
    if is_done {
        tokio::time::sleep(SERVICE_STOPS_WITHIN).await;
    }
    // The run before may have written more after its state was read.
    let (last_contact_id, last_merge_id) = (run.last_contact_id, run.last_merge_id);
    let now = AdoptionState { last_contact_id, last_merge_id, ..state.clone() };
    match written_since(target, &now).await.map_err(AdoptError::while_taken)? {
        None => Ok(run),
        Some(ServiceWrote) if is_done => {
            let is_done_again = target.enter_adoption_phase(&run, AdoptionPhase::Done).await;
            is_done_again.map_err(|error| AdoptError::from(error).while_taken())?;
            Err(AdoptError::ServiceWrote(what))
        }
        Some(ServiceWrote) if state.phase == AdoptionPhase::Behind => Err(AdoptError::ServiceWrote(what)),
        Some(ServiceWrote) => Err(AdoptError::WrittenMeanwhile(run.last_contact_id)),
    }
}

/// Returns whether somebody else has written. After the end of a run that takes a read of all tables.
async fn written_since(target: &Database, state: &AdoptionState) -> Result<Option<ServiceWrote>, AdoptError> {
    Ok(during("looking for changes of others", target.written_since(state)).await?)
}

/// Fails if the contacts and merges are not those that the run has written.
async fn check_alone(target: &Database, run: &AdoptionRun, contacts: u64) -> Result<(), AdoptError> {
    let is_alone = target.count_contacts().await? == contacts
        && !target.has_rows_above(run.last_contact_id, run.last_merge_id).await?;
    if is_alone { Ok(()) } else { Err(AdoptError::WrittenMeanwhile(run.last_contact_id)) }
}

fn token() -> Result<RunToken, AdoptError> {
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| AdoptError::NoRandom)?;
    Ok(RunToken::new(random))
}

/// Empties the target, unless the service has written there.
///
/// # Errors
/// [`AdoptError`]. The same command goes on.
pub async fn undo(target: &Database) -> Result<(), AdoptError> {
    let state = target.adoption().await?.ok_or(AdoptError::NothingToUndo)?;
    // PostgreSQL would look for a table that is gone in the other schemas of its path.
    target.check_tables().await?;
    let run = take(target, &state, "--undo").await?;
    target.enter_adoption_phase(&run, AdoptionPhase::Undoing).await?;
    target.empty_tables(&run).await?;
    target.forget_adoption(&run).await?;
    Ok(())
}
