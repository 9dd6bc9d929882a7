//! The first read of the old table: what its identities are, and the report.

use std::panic::resume_unwind;
use std::sync::Arc;

use chrono::Utc;
use ring::rand::{SecureRandom, SystemRandom};

use super::error::AdoptError;
use super::load_evidence::survey_evidence;
use super::memory::MemorySize;
use super::options::AdoptionOptions;
use super::report::{AdoptionReport, DateFacts, ReportedHub};
use super::source::Source;
use crate::domain::Timestamp;
use crate::domain::adoption::{AdoptedIdentities, AdoptionFacts, Hub, HubCause, OldContact, OldIdentities};
use crate::progress::{Progress, during};

/// What the old table says.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) identities: AdoptedIdentities,
    pub(super) report: AdoptionReport,
    /// Old id and new id of each primary whose id changes.
    pub(super) changed_primaries: Vec<(i64, i64)>,
}

/// What a survey needs beside the options.
#[derive(Clone, Copy, Debug)]
pub(super) struct SurveyLimits {
    pub(super) memory: MemorySize,
    pub(super) max_contacts: u64,
    pub(super) show_values: bool,
}

/// Reads all rows and decides about them.
pub(super) async fn survey(
    source: &Arc<Source>,
    options: &AdoptionOptions,
    limits: SurveyLimits,
) -> Result<Survey, AdoptError> {
    let rows = source.count().await?;
    let bytes_a_row = OldIdentities::bytes_a_row(source.has_sets());
    check_memory(rows, bytes_a_row, limits.memory)?;
    let mut key = [0; 16];
    SystemRandom::new().fill(&mut key).map_err(|_| AdoptError::NoRandom)?;
    let mut identities = OldIdentities::new(options.rules.clone(), usize::try_from(rows).unwrap_or(0), key);
    if source.has_sets() {
        identities.keep_carriers();
    }
    let mut dates = DateFacts::default();
    let now = Timestamp(Utc::now().timestamp_micros());
    let mut progress = Progress::begin("reading", rows);
    let mut pages = Source::pages(source);
    while let Some(page) = pages.recv().await.transpose()? {
        for row in &page {
            identities.add(row)?;
            count_dates(&mut dates, row, now);
        }
        // The table may grow meanwhile.
        check_memory(identities.len() as u64, bytes_a_row, limits.memory)?;
        progress.add(page.len() as u64);
    }
    progress.end();
    let decide = decide(identities, options, limits.max_contacts);
    let (identities, changed_primaries, facts) = during("deciding", decide).await;
    let hubs = report_hubs(source, identities.hubs(), limits.show_values).await?;
    let mut report = AdoptionReport::new(source.lines(), facts, dates, &changed_primaries, hubs);
    // What joins need is known only now. A decision about those that join many may change it.
    if !report.needs_decision() {
        require_memory(rows, identities.bytes(), limits.memory)?;
    }
    report.evidence = survey_evidence(source, &identities).await?;
    Ok(Survey { identities, report, changed_primaries })
}

/// Decides about all rows, on a thread of its own: it takes a while.
async fn decide(
    identities: OldIdentities,
    options: &AdoptionOptions,
    max_contacts: u64,
) -> (AdoptedIdentities, Vec<(i64, i64)>, AdoptionFacts) {
    let options = options.clone();
    let work = tokio::task::spawn_blocking(move || {
        let identities = identities.decide(options.max_join, &options.accepted, &options.accepted_links);
        let (changed_primaries, facts) = (identities.changed_primaries(), identities.facts(max_contacts));
        (identities, changed_primaries, facts)
    });
    work.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

fn check_memory(rows: u64, bytes_a_row: u64, memory: MemorySize) -> Result<(), AdoptError> {
    require_memory(rows, rows.saturating_mul(bytes_a_row), memory)
}

fn require_memory(rows: u64, bytes: u64, memory: MemorySize) -> Result<(), AdoptError> {
    let needed = MemorySize(bytes);
    if needed > memory { Err(AdoptError::Memory { rows, needed, given: memory }) } else { Ok(()) }
}

fn count_dates(dates: &mut DateFacts, row: &OldContact, now: Timestamp) {
    dates.created_missing += u64::from(row.created_at.is_none());
    dates.updated_missing += u64::from(row.updated_at.is_none());
    dates.unreadable += [row.unreadable.created_at, row.unreadable.updated_at].map(u64::from).iter().sum::<u64>();
    let all = [row.created_at, row.updated_at, row.deleted_at];
    dates.in_the_future += all.into_iter().flatten().filter(|at| *at > now).count() as u64;
}

/// Returns the hubs as they are reported. A value is read again: memory holds none.
async fn report_hubs(source: &Source, hubs: &[Hub], show_values: bool) -> Result<Vec<ReportedHub>, AdoptError> {
    let mut reported = Vec::new();
    for hub in hubs {
        let value = match hub.cause {
            HubCause::Identifier(kind) if show_values => source.value(hub.contact, kind).await?,
            HubCause::Identifier(_) | HubCause::MissingRow => None,
        };
        reported.push(ReportedHub {
            kind: hub.cause.name(),
            old_identities: hub.identities,
            contact: hub.contact,
            accepted: hub.is_accepted,
            value,
        });
    }
    Ok(reported)
}
