//! The sets of an export that no contact carries: what becomes of each, and storing them.

use std::sync::Arc;

use super::contact_file::FileSet;
use super::error::AdoptError;
use super::load::CHANGES_PER_TRANSACTION;
use super::report::ReportedEvidence;
use super::source::Source;
use crate::domain::Identifier;
use crate::domain::adoption::{AdoptedIdentities, SetPlace};
use crate::progress::Progress;
use crate::store::Database;
use crate::store::adoption::{AdoptedSet, AdoptionRun};

/// How many of the sets that are left out a report names.
const FIRST_LEFT_OUT: usize = 10;

/// Returns what becomes of the sets that the source has; `None` if it has none.
pub(super) async fn survey_evidence(
    source: &Arc<Source>,
    identities: &AdoptedIdentities,
) -> Result<Option<ReportedEvidence>, AdoptError> {
    if !source.has_sets() {
        return Ok(None);
    }
    let mut reported = ReportedEvidence::default();
    let mut pages = Source::sets(source);
    while let Some(page) = pages.recv().await.transpose()? {
        for set in page {
            let (_, place) = placed(identities, &set);
            let count = match place {
                SetPlace::With(_) => &mut reported.kept,
                SetPlace::Carried => &mut reported.carried_by_contacts,
                SetPlace::OfSeveral => &mut reported.of_several_identities,
                SetPlace::OfNobody => &mut reported.of_nobody,
                SetPlace::TooSmall => &mut reported.too_small,
            };
            *count += 1;
            let is_left_out = matches!(place, SetPlace::OfSeveral | SetPlace::OfNobody | SetPlace::TooSmall);
            if is_left_out && reported.left_out_first.len() < FIRST_LEFT_OUT {
                reported.left_out_first.push(set.id);
            }
        }
    }
    Ok(Some(reported))
}

/// Stores the sets that belong to one identity and that no contact carries.
pub(super) async fn load_evidence(
    database: &Database,
    run: &AdoptionRun,
    source: &Arc<Source>,
    identities: &AdoptedIdentities,
    reported: Option<&ReportedEvidence>,
) -> Result<(), AdoptError> {
    let Some(reported) = reported else { return Ok(()) };
    let mut progress = Progress::begin("evidence", reported.kept);
    let mut sets = Vec::new();
    let mut pages = Source::sets(source);
    while let Some(page) = pages.recv().await.transpose()? {
        for set in page {
            if let (identifiers, SetPlace::With(contact)) = placed(identities, &set) {
                sets.push(AdoptedSet::new((set.id, contact), set.origin, &identifiers, set.created_at)?);
            }
            if sets.len() == CHANGES_PER_TRANSACTION {
                database.insert_adopted_sets(run, &sets).await?;
                progress.add(CHANGES_PER_TRANSACTION as u64);
                sets.clear();
            }
        }
    }
    database.insert_adopted_sets(run, &sets).await?;
    progress.add(sets.len() as u64);
    progress.end();
    Ok(())
}

/// The identifiers of a set by the rules in force, sorted, and where it belongs. An identifier that is none by these
/// rules belongs to nobody.
fn placed(identities: &AdoptedIdentities, set: &FileSet) -> (Vec<Identifier>, SetPlace) {
    let rules = identities.rules();
    let clean = |(kind, value): &(_, String)| rules.clean(*kind, Some(value)).identifier;
    let Some(mut identifiers) = set.identifiers.iter().map(clean).collect::<Option<Vec<_>>>() else {
        return (Vec::new(), SetPlace::OfNobody);
    };
    identifiers.sort();
    identifiers.dedup();
    let place = identities.place(set.contact, &identifiers);
    (identifiers, place)
}
