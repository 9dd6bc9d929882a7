//! Makes the merges equal to those of the file, and to the joins that the source does not have.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::error::AdoptError;
use super::load::{CHANGES_PER_TRANSACTION, PAGE_SIZE};
use super::source::{Page, Source};
use crate::domain::adoption::{AdoptedIdentities, AdoptedMerge};
use crate::progress::Progress;
use crate::store::Database;
use crate::store::adoption::{AdoptionRun, StoredMerge};

/// Makes the merges equal to those of the file, and to the joins that the source does not have. It goes on after those
/// that are stored as they are to be.
pub(super) async fn load_merges(
    database: &Database,
    run: &mut AdoptionRun,
    source: &Arc<Source>,
    identities: &AdoptedIdentities,
) -> Result<(), AdoptError> {
    let mut progress = Progress::begin("merges", identities.count_merges() as u64);
    let at = run.started_at;
    let joins = (source.last_merge_id() + 1..).zip(identities.merges());
    let joins = joins.map(|(id, merge): (i64, AdoptedMerge)| StoredMerge::new(id, merge, at).map_err(AdoptError::from));
    let mut wanted = Wanted { of_file: Source::merges(source), read: VecDeque::new(), joins };
    let (mut equal, mut is_equal) = (0, true);
    while is_equal {
        let stored = database.adopted_merges(equal, PAGE_SIZE).await?;
        if stored.is_empty() {
            break;
        }
        for stored in stored {
            is_equal = is_equal && wanted.take_if(&stored).await?;
            if is_equal {
                equal = stored.id();
                progress.add(1);
            }
        }
    }
    database.delete_merges_from(run, equal + 1).await?;
    let mut rows = Vec::new();
    while let Some(merge) = wanted.next().await? {
        rows.push(merge);
        if rows.len() == CHANGES_PER_TRANSACTION {
            database.insert_adopted_merges(run, &std::mem::take(&mut rows)).await?;
            progress.add(CHANGES_PER_TRANSACTION as u64);
        }
    }
    database.insert_adopted_merges(run, &rows).await?;
    progress.add(rows.len() as u64);
    progress.end();
    Ok(())
}

/// The merges that are to be there, by id: those of the file come first.
struct Wanted<J> {
    of_file: mpsc::Receiver<Page<StoredMerge>>,
    /// Merges that were read and not taken yet.
    read: VecDeque<StoredMerge>,
    joins: J,
}

impl<J: Iterator<Item = Result<StoredMerge, AdoptError>>> Wanted<J> {
    async fn next(&mut self) -> Result<Option<StoredMerge>, AdoptError> {
        self.read_on().await?;
        Ok(self.read.pop_front())
    }

    /// Takes the next one if it equals this one.
    async fn take_if(&mut self, stored: &StoredMerge) -> Result<bool, AdoptError> {
        self.read_on().await?;
        Ok(self.read.pop_front_if(|wanted| wanted == stored).is_some())
    }

    /// Sees to it that one is read, if there is one.
    async fn read_on(&mut self) -> Result<(), AdoptError> {
        while self.read.is_empty() {
            match self.of_file.recv().await.transpose()? {
                Some(page) => self.read.extend(page),
                None => match self.joins.next().transpose()? {
                    Some(join) => self.read.push_back(join),
                    None => return Ok(()),
                },
            }
        }
        Ok(())
    }
}
