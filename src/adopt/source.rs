//! Where contacts come from: the table of another system, or a file.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc;

use super::contact_file::{ContactFile, ContactFileOptions, FileError, FileSet, value_of};
use super::error::AdoptError;
use super::old_rows::contact;
use crate::domain::IdentifierKind;
use crate::domain::adoption::OldContact;
use crate::store::adoption::StoredMerge;
use crate::store::old_table::{OldTable, OldTableOptions};

/// What is to be read.
#[derive(Clone, Debug)]
pub enum SourceOptions {
    /// The table of another system: its database, and how the table and its columns are found.
    Table(SecretString, OldTableOptions),
    /// A file.
    File(ContactFileOptions),
}

/// A source of contacts. Each read begins from the start.
#[derive(Debug)]
pub(super) enum Source {
    Table(Box<OldTable>),
    File(ContactFile),
}

/// Pages that are read ahead.
const AHEAD: usize = 4;

/// Entries of a file in one page.
const FILE_PAGE: usize = 5_000;

/// Why the next page cannot be read, or the page.
pub(super) type Page<T> = Result<Vec<T>, AdoptError>;

impl Source {
    /// Connects to the database, or reads the file once.
    pub(super) async fn open(options: &SourceOptions) -> Result<Self, AdoptError> {
        match options {
            SourceOptions::Table(from, options) => {
                Ok(Self::Table(Box::new(OldTable::open(from.expose_secret(), options).await?)))
            }
            SourceOptions::File(options) => Ok(Self::File(tokio::task::block_in_place(|| ContactFile::open(options))?)),
        }
    }

    /// Returns how it is read, line by line, for the operator to check.
    pub(super) fn lines(&self) -> Vec<String> {
        match self {
            Self::Table(table) => table.mapping().to_string().lines().map(str::to_owned).collect(),
            Self::File(file) => file.lines(),
        }
    }

    /// Returns a text that stands for how it is read; of a file, for its content too.
    pub(super) fn fingerprint(&self) -> String {
        match self {
            Self::Table(table) => table.mapping().fingerprint(),
            Self::File(file) => file.fingerprint(),
        }
    }

    /// Returns the number of rows.
    pub(super) async fn count(&self) -> Result<u64, AdoptError> {
        match self {
            Self::Table(table) => Ok(table.count().await?),
            Self::File(file) => Ok(file.rows),
        }
    }

    /// Returns the value of this kind that a row has.
    pub(super) async fn value(&self, id: i64, kind: IdentifierKind) -> Result<Option<String>, AdoptError> {
        let found = match self {
            Self::Table(table) => table.rows_by_id(&[id]).await?.first().map(contact),
            Self::File(file) => {
                let mut found = None;
                // To the end: only then it is known that the file is the same.
                let mut take = |contact: OldContact| {
                    if contact.id == id {
                        found = Some(contact);
                    }
                    true
                };
                tokio::task::block_in_place(|| file.read(&mut take))?;
                found
            }
        };
        Ok(found.and_then(|contact| value_of(contact, kind)))
    }

    /// Returns the greatest id of its merges; 0 without any.
    pub(super) fn last_merge_id(&self) -> i64 {
        match self {
            Self::Table(_) => 0,
            Self::File(file) => file.last_merge_id,
        }
    }

    /// Returns whether it has sets of identifiers that were seen together.
    pub(super) fn has_sets(&self) -> bool {
        match self {
            Self::Table(_) => false,
            Self::File(file) => file.has_sets,
        }
    }

    /// Begins to read all rows, by id, ahead of the reader.
    pub(super) fn pages(source: &Arc<Self>) -> mpsc::Receiver<Page<OldContact>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        match &**source {
            Self::Table(table) => {
                let table = table.clone();
                tokio::spawn(async move { send_table(&table, &sender).await });
            }
            Self::File(_) => send_file(source, sender, ContactFile::read),
        }
        receiver
    }

    /// Begins to read the merges that it has, by id, ahead of the reader.
    pub(super) fn merges(source: &Arc<Self>) -> mpsc::Receiver<Page<StoredMerge>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        send_file(source, sender, ContactFile::read_merges);
        receiver
    }

    /// Begins to read the sets that it has, by id, ahead of the reader.
    pub(super) fn sets(source: &Arc<Self>) -> mpsc::Receiver<Page<FileSet>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        send_file(source, sender, ContactFile::read_sets);
        receiver
    }
}

/// Sends the rows until the end, an error, or until nobody receives them any more.
async fn send_table(table: &OldTable, sender: &mpsc::Sender<Page<OldContact>>) {
    let mut last = 0;
    loop {
        let page = table.rows_after(last, OldTable::PAGE_SIZE).await;
        let rows = page.as_ref().map_or(0, Vec::len);
        let is_last = u64::try_from(rows).is_ok_and(|rows| rows < OldTable::PAGE_SIZE);
        if let Ok(page) = &page {
            last = page.last().map_or(last, |row| row.id);
        }
        let page = page.map(|page| page.iter().map(contact).collect()).map_err(AdoptError::from);
        if sender.send(page).await.is_err() || is_last {
            return;
        }
    }
}

/// Reads entries of a file, one after another, until the callback returns false.
type ReadEntries<T> = fn(&ContactFile, &mut dyn FnMut(T) -> bool) -> Result<(), FileError>;

/// The same for what this function reads of a file, in a thread that may wait for the disk. A table has nothing of it.
fn send_file<T: Send + 'static>(source: &Arc<Source>, sender: mpsc::Sender<Page<T>>, read: ReadEntries<T>) {
    let source = Arc::clone(source);
    tokio::task::spawn_blocking(move || {
        let Source::File(file) = &*source else { return };
        let mut page = Vec::with_capacity(FILE_PAGE);
        let read = read(file, &mut |entry| {
            page.push(entry);
            page.len() < FILE_PAGE || sender.blocking_send(Ok(std::mem::take(&mut page))).is_ok()
        });
        let _ = sender.blocking_send(read.map(|()| page).map_err(AdoptError::from)); // Or the receiver has failed.
    });
}
