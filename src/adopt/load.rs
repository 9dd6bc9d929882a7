//! Makes contacts and identifiers equal to what the old table says. It compares first, and writes what differs: so it
//! goes on after a crash, and takes over what has changed since.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::error::AdoptError;
use super::source::Source;
use crate::domain::adoption::{AdoptedIdentities, OldContact};
use crate::domain::{Identifier, IdentifierKind};
use crate::progress::Progress;
use crate::store::adoption::{AdoptionRun, ContactChanges, IdentifierChange, Original, OwnedIdentifier, StoredRow};
use crate::store::{Database, StoreError};

/// Changes in one transaction: so many that commits cost little, and so few that each is short.
pub(super) const CHANGES_PER_TRANSACTION: usize = 4_000;

/// Rows of this service that one statement reads.
pub(super) const PAGE_SIZE: u64 = 4_000;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Contacts that were inserted, replaced or deleted.
    pub(super) changes: u64,
    /// Contacts that are to be there.
    pub(super) contacts: u64,
    /// Whether the old table was the same at both reads.
    pub(super) is_complete: bool,
}

/// Reads the old table again, and makes the contacts equal to it.
pub(super) async fn load_contacts(
    database: &Database,
    run: &mut AdoptionRun,
    source: &Arc<Source>,
    identities: &mut AdoptedIdentities,
) -> Result<Written, AdoptError> {
    let mut progress = Progress::begin("contacts", identities.rows() as u64);
    let mut load = ContactLoad {
        database,
        own_until: run.last_contact_id,
        run,
        stored: VecDeque::new(),
        read_until: i64::MIN,
        is_at_end: false,
        compared: 0,
        changes: ContactChanges::default(),
        written: Written::default(),
    };
    let mut content = DefaultHasher::new();
    let mut pages = Source::pages(source);
    while let Some(page) = pages.recv().await.transpose()? {
        for row in &page {
            row.hash(&mut content);
            if let Some(wanted) = stored_row(identities, row)? {
                load.compare(wanted).await?;
            }
        }
        progress.add(page.len() as u64);
    }
    load.delete_before(None).await?;
    load.flush(1).await?;
    progress.end();
    let is_complete = content.finish() == identities.content();
    Ok(Written { is_complete, ..load.written })
}

/// Returns the row that stands for a row of the old table. `None` if it came after the identities were decided.
fn stored_row(identities: &mut AdoptedIdentities, row: &OldContact) -> Result<Option<StoredRow>, StoreError> {
    let Some(adopted) = identities.adopt(row) else { return Ok(None) };
    let original = adopted.reason.clone().map(|reason| Original {
        email: row.email.clone(),
        phone_number: row.phone_number.clone(),
        linked_id: row.linked_id,
        link_precedence: row.precedence.clone(),
        reason,
    });
    StoredRow::new(&adopted, original).map(Some)
}

struct ContactLoad<'a> {
    database: &'a Database,
    run: &'a mut AdoptionRun,
    /// The greatest id that the adoption had written before. A stored row above it is not the adoption's.
    own_until: i64,
    /// Stored rows that were read and not compared yet.
    stored: VecDeque<StoredRow>,
    /// The id of the last stored row that was read.
    read_until: i64,
    is_at_end: bool,
    /// The id up to which rows were compared.
    compared: i64,
    changes: ContactChanges,
    written: Written,
}

impl ContactLoad<'_> {
    /// Compares the next row of the old table with what is stored.
    async fn compare(&mut self, wanted: StoredRow) -> Result<(), AdoptError> {
        self.delete_before(Some(wanted.id())).await?;
        self.compared = wanted.id();
        self.written.contacts += 1;
        match self.stored.pop_front_if(|stored| stored.id() == wanted.id()) {
            Some(same) if same == wanted => {}
            Some(other) => {
                self.check_own(other.id())?;
                self.changes.deleted.push(other.id());
                self.changes.inserted.push(wanted);
            }
            None => self.changes.inserted.push(wanted),
        }
        self.flush(CHANGES_PER_TRANSACTION).await
    }

    /// Deletes what is stored before this id and is not in the old table; without an id, all the rest.
    async fn delete_before(&mut self, id: Option<i64>) -> Result<(), AdoptError> {
        loop {
            if self.stored.is_empty() && !self.is_at_end {
                let page = self.database.adopted_page(self.read_until, PAGE_SIZE, false).await?;
                self.is_at_end = (page.len() as u64) < PAGE_SIZE;
                self.read_until = page.last().map_or(self.read_until, StoredRow::id);
                self.stored = page.into();
            }
            let is_surplus = |stored: &mut StoredRow| id.is_none_or(|id| stored.id() < id);
            let Some(surplus) = self.stored.pop_front_if(is_surplus) else { return Ok(()) };
            self.check_own(surplus.id())?;
            self.compared = surplus.id();
            self.changes.deleted.push(surplus.id());
            self.flush(CHANGES_PER_TRANSACTION).await?;
        }
    }

    /// Fails if the adoption cannot have written a stored row.
    fn check_own(&self, id: i64) -> Result<(), AdoptError> {
        if id > self.own_until { Err(AdoptError::WrittenMeanwhile(self.own_until)) } else { Ok(()) }
    }

    async fn flush(&mut self, at_least: usize) -> Result<(), AdoptError> {
        if self.changes.len() >= at_least {
            if self.written.changes == 0 {
                self.database.delete_holders(self.run).await?;
            }
            self.database.write_adopted_rows(self.run, &self.changes, self.compared).await?;
            self.written.changes += self.changes.len() as u64;
            self.changes = ContactChanges::default();
        }
        Ok(())
    }
}

/// Gives each identifier of a live contact to the oldest that carries it.
pub(super) async fn load_identifiers(
    database: &Database,
    run: &AdoptionRun,
    contacts: u64,
    ignored: &BTreeSet<Identifier>,
) -> Result<(), AdoptError> {
    // Most contacts have both kinds, so this is about the number, and never less.
    let mut progress = Progress::begin("identifiers", contacts.saturating_mul(2));
    let mut done = 0;
    for kind in IdentifierKind::ALL {
        let of_kind = ignored.iter().filter(|identifier| identifier.kind() == kind);
        let ignored: BTreeSet<Vec<u8>> = of_kind.map(|identifier| identifier.value().as_bytes().to_vec()).collect();
        let (sender, carried) = mpsc::channel(4);
        let mut load = IdentifierLoad {
            database,
            run,
            kind,
            ignored,
            stored: Vec::new(),
            is_at_end: false,
            changes: Vec::new(),
            done,
        };
        let send = async { Ok(database.send_carried_identifiers(kind, sender).await?) };
        let ((), ()) = tokio::try_join!(send, load.run(carried, &mut progress))?;
        done = load.done;
    }
    progress.end();
    Ok(())
}

struct IdentifierLoad<'a> {
    database: &'a Database,
    run: &'a AdoptionRun,
    kind: IdentifierKind,
    ignored: BTreeSet<Vec<u8>>,
    /// Stored rows that were read and not compared yet, the last first.
    stored: Vec<OwnedIdentifier>,
    is_at_end: bool,
    changes: Vec<IdentifierChange>,
    done: i64,
}

impl IdentifierLoad<'_> {
    async fn run(
        &mut self,
        mut carried: mpsc::Receiver<Vec<OwnedIdentifier>>,
        progress: &mut Progress,
    ) -> Result<(), AdoptError> {
        self.read_stored(None).await?;
        let mut before: Option<Vec<u8>> = None;
        while let Some(batch) = carried.recv().await {
            let rows = batch.len() as u64;
            for wanted in batch {
                // A younger contact carries it too.
                if before.as_ref() != Some(&wanted.value) && !self.ignored.contains(&wanted.value) {
                    before = Some(wanted.value.clone());
                    self.compare(wanted).await?;
                }
            }
            progress.add(rows);
        }
        while let Some(surplus) = self.next_stored_before(None).await? {
            self.delete(surplus)?;
            self.flush(CHANGES_PER_TRANSACTION).await?;
        }
        self.flush(1).await
    }

    async fn compare(&mut self, wanted: OwnedIdentifier) -> Result<(), AdoptError> {
        while let Some(surplus) = self.next_stored_before(Some(&wanted.value)).await? {
            self.delete(surplus)?;
            self.flush(CHANGES_PER_TRANSACTION).await?;
        }
        let stored = self.take_stored(|stored| stored == wanted.value.as_slice()).await?;
        if stored.as_ref() != Some(&wanted) {
            if let Some(stored) = stored {
                self.delete(stored)?;
            }
            self.changes.push(IdentifierChange::Insert(wanted));
        }
        self.done += 1;
        self.flush(CHANGES_PER_TRANSACTION).await
    }

    /// Takes an identifier from its owner, if the adoption has written that contact.
    fn delete(&mut self, stored: OwnedIdentifier) -> Result<(), AdoptError> {
        if stored.contact > self.run.last_contact_id {
            return Err(AdoptError::WrittenMeanwhile(self.run.last_contact_id));
        }
        self.changes.push(IdentifierChange::Delete(stored.value));
        Ok(())
    }

    /// Takes the next stored row with a smaller value, or the next one.
    async fn next_stored_before(&mut self, value: Option<&[u8]>) -> Result<Option<OwnedIdentifier>, AdoptError> {
        loop {
            let next = self.take_stored(|stored| value.is_none_or(|value| stored < value)).await?;
            if next.as_ref().is_none_or(|next| !self.ignored.contains(&next.value)) {
                return Ok(next);
            }
        }
    }

    /// Takes the next stored row if its value meets a condition.
    async fn take_stored(&mut self, fits: impl Fn(&[u8]) -> bool) -> Result<Option<OwnedIdentifier>, AdoptError> {
        let taken = self.stored.pop_if(|stored| fits(&stored.value));
        if let Some(taken) = &taken
            && self.stored.is_empty()
        {
            self.read_stored(Some(&taken.value)).await?;
        }
        Ok(taken)
    }

    async fn read_stored(&mut self, after: Option<&[u8]>) -> Result<(), AdoptError> {
        if !self.is_at_end {
            self.stored = self.database.owned_identifiers(self.kind, after, PAGE_SIZE).await?;
            self.is_at_end = (self.stored.len() as u64) < PAGE_SIZE;
            self.stored.reverse();
        }
        Ok(())
    }

    async fn flush(&mut self, at_least: usize) -> Result<(), AdoptError> {
        if self.changes.len() >= at_least {
            let changes = std::mem::take(&mut self.changes);
            self.database.write_owned_identifiers(self.run, self.kind, &changes, self.done).await?;
        }
        Ok(())
    }
}
