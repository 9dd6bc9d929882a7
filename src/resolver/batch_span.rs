//! Spans of the batches in which jobs are handled.

use super::job::Job;
use super::write_transaction::{Committed, TransactionError};
use crate::metrics::LaneKind;
use crate::traces::BatchSpan;

/// Begins the span of a look-up or a transaction for these jobs, and records their waits for it. Empty if none of them
/// is sampled.
pub(super) fn begin_batch(lane: LaneKind, jobs: &mut [Job]) -> BatchSpan {
    let waits_since = |job: &Job| (!job.is_wait_recorded).then_some(job.queued.into_std());
    let span = BatchSpan::begin(lane, jobs.len(), jobs.iter().map(|job| (&job.trace, waits_since(job))));
    if span.is_recorded() {
        jobs.iter_mut().for_each(|job| job.is_wait_recorded = true);
    }
    span
}

/// Why a transaction failed or starts over, for its span.
pub(super) fn reason(result: &Result<Committed, TransactionError>) -> Option<&'static str> {
    match result {
        Ok(_) => None,
        Err(TransactionError::RootsChanged(_)) => Some("roots_changed"),
        Err(TransactionError::PartlyUnchanged { .. }) => Some("partly_unchanged"),
        Err(TransactionError::NobodyWaits) => Some("nobody_waits"),
        Err(TransactionError::CommitUnknown(_)) => Some("commit_unknown"),
        Err(TransactionError::Store(error)) => Some(error.kind()),
    }
}
