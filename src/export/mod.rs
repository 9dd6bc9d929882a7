//! `identity export`: contacts, identifiers, merges and evidence as they were at one moment, as CSV or as lines of
//! JSON.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `encode` | rows as CSV and as lines of JSON |
//! | `output` | stdout, a file, or a folder with a file for each table |
//! | `part_file` | a file that gets its name when it is complete |
//! | `error` | why an export failed |
//!
//! Rows are read and written page by page, so memory holds a page, whatever the size of the tables.

mod encode;
mod error;
mod output;
mod part_file;

use std::io::IsTerminal;

pub use encode::FileFormat;
use encode::Record;
pub use error::ExportError;
pub use output::Output;

use crate::progress::Progress;
use crate::store::Database;
use crate::store::export::{ExportedTable, TableSnapshot, TableState};

/// Writes these tables, all as they were at one moment. Returns the number of rows of each. Changes nothing in the
/// database.
///
/// # Errors
/// [`ExportError`]. Then the files do not have their names, except if giving the names failed in the middle.
pub async fn export(
    database: &Database,
    tables: &[ExportedTable],
    format: FileFormat,
    output: &mut Output,
) -> Result<Vec<(ExportedTable, u64)>, ExportError> {
    let snapshot = database.begin_snapshot().await?;
    if snapshot.has_unfinished_adoption().await? {
        return Err(ExportError::UnfinishedAdoption);
    }
    let mut states = Vec::new();
    for table in tables {
        states.push((*table, snapshot.state(*table).await?));
    }
    let has_bar = !(output.is_stdout() && std::io::stdout().is_terminal());
    let mut writer =
        Writer { snapshot: &snapshot, format, output, has_bar, written: TableState::EMPTY, progress: None };
    if let Some(first) = tables.first() {
        writer.write(*first, &encode::head(format, tables)?)?;
    }
    for (table, state) in &states {
        writer.write_table(*table, *state).await?;
    }
    let rows = states.iter().map(|(_, state)| state.rows).sum();
    if let Some(last) = tables.last() {
        writer.write(*last, &encode::foot(format, rows)?)?;
    }
    snapshot.end().await?;
    output.finish()?;
    Ok(states.into_iter().map(|(table, state)| (table, state.rows)).collect())
}

struct Writer<'a> {
    snapshot: &'a TableSnapshot,
    format: FileFormat,
    output: &'a mut Output,
    has_bar: bool,
    /// What is written of the table under way.
    written: TableState,
    progress: Option<Progress>,
}

impl Writer<'_> {
    async fn write_table(&mut self, table: ExportedTable, state: TableState) -> Result<(), ExportError> {
        self.written = TableState::EMPTY;
        let begin = if self.has_bar { Progress::begin } else { Progress::begin_without_bar };
        self.progress = Some(begin(table.name(), state.rows));
        self.write(table, &encode::table_head(self.format, table)?)?;
        match table {
            ExportedTable::Contacts => self.write_contacts().await?,
            ExportedTable::Identifiers => self.write_identifiers().await?,
            ExportedTable::Merges => self.write_merges().await?,
            ExportedTable::Evidence => self.write_evidence().await?,
        }
        if let Some(progress) = self.progress.take() {
            progress.end();
        }
        if self.written != state {
            let (counted, read) = (state.rows, self.written.rows);
            return Err(ExportError::NotOneMoment { table: table.name(), counted, read });
        }
        Ok(())
    }

    async fn write_contacts(&mut self) -> Result<(), ExportError> {
        let mut after = i64::MIN;
        loop {
            let page = self.snapshot.contacts_after(after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            self.write_page(ExportedTable::Contacts, &page)?;
        }
    }

    async fn write_identifiers(&mut self) -> Result<(), ExportError> {
        let mut kind = String::new();
        while let Some(next) = self.snapshot.kind_after(&kind).await? {
            kind = next;
            let mut after: Option<Vec<u8>> = None;
            loop {
                let page = self.snapshot.identifiers_after(&kind, after.as_deref()).await?;
                self.write_page(ExportedTable::Identifiers, &page)?;
                let Some(last) = page.into_iter().next_back() else { break };
                after = Some(last.value);
            }
        }
        Ok(())
    }

    async fn write_merges(&mut self) -> Result<(), ExportError> {
        let mut after = i64::MIN;
        loop {
            let page = self.snapshot.merges_after(after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            self.write_page(ExportedTable::Merges, &page)?;
        }
    }

    async fn write_evidence(&mut self) -> Result<(), ExportError> {
        let mut after = i64::MIN;
        loop {
            let page = self.snapshot.evidence_after(after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.id;
            self.write_page(ExportedTable::Evidence, &page)?;
        }
    }

    fn write_page<R: Record>(&mut self, table: ExportedTable, page: &[R]) -> Result<(), ExportError> {
        self.write(table, &encode::encode(self.format, page)?)?;
        let rows = page.len() as u64;
        self.written.rows += rows;
        self.written.newest = page.iter().map(R::newest).fold(self.written.newest, i64::max);
        if let Some(progress) = &mut self.progress {
            progress.add(rows);
        }
        Ok(())
    }

    fn write(&mut self, table: ExportedTable, bytes: &[u8]) -> Result<(), ExportError> {
        // The reader of a pipe can be slow.
        Ok(tokio::task::block_in_place(|| self.output.write(table, bytes))?)
    }
}
