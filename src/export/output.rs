//! Where an export goes.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::part_file::PartFile;
use crate::store::export::ExportedTable;

/// Only the owner may read the folder: it has personal data.
const FOLDER_MODE: u32 = 0o700;

/// Where an export goes. Files get their names when all is written.
#[derive(Debug)]
pub struct Output(Target);

#[derive(Debug)]
enum Target {
    Stdout,
    File(PartFile),
    /// A file for each table.
    Folder(Vec<(ExportedTable, PartFile)>),
}

impl Output {
    /// Returns stdout.
    pub fn stdout() -> Self {
        Self(Target::Stdout)
    }

    /// Returns a file for all that is exported. It is replaced only if `replaces`.
    ///
    /// # Errors
    /// A sentence about the path for the operator.
    pub fn file(path: &Path, replaces: bool) -> Result<Self, String> {
        Ok(Self(Target::File(PartFile::create(path, replaces)?)))
    }

    /// Returns a folder with a CSV file for each table. The files are replaced only if `replaces`; other files in the
    /// folder stay.
    ///
    /// # Errors
    /// A sentence about the path for the operator.
    pub fn folder(path: &Path, tables: &[ExportedTable], replaces: bool) -> Result<Self, String> {
        if !path.is_dir() {
            let made = DirBuilder::new().mode(FOLDER_MODE).create(path);
            made.map_err(|error| format!("must be a folder that is there or can be made: {error}"))?;
        }
        let create = |table: &ExportedTable| {
            let name = format!("{}.csv", table.name());
            let file = PartFile::create(&path.join(&name), replaces).map_err(|error| format!("{name} in it: {error}"));
            Ok((*table, file?))
        };
        Ok(Self(Target::Folder(tables.iter().map(create).collect::<Result<_, String>>()?)))
    }

    /// Returns whether it is stdout.
    pub fn is_stdout(&self) -> bool {
        matches!(self.0, Target::Stdout)
    }

    /// Writes bytes about a table.
    pub(super) fn write(&mut self, table: ExportedTable, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Target::Stdout => io::stdout().lock().write_all(bytes),
            Target::File(file) => file.write(bytes),
            Target::Folder(files) => match files.iter_mut().find(|(of, _)| *of == table) {
                Some((_, file)) => file.write(bytes),
                None => Ok(()),
            },
        }
    }

    /// Gives the files their names, after all is written.
    pub(super) fn finish(&self) -> io::Result<()> {
        let files: Vec<&PartFile> = match &self.0 {
            Target::Stdout => return io::stdout().lock().flush(),
            Target::File(file) => vec![file],
            Target::Folder(files) => files.iter().map(|(_, file)| file).collect(),
        };
        files.iter().try_for_each(|file| file.sync())?;
        if files.len() > 1 {
            // A file of another moment must not stand beside the new ones.
            files.iter().try_for_each(|file| file.remove_old())?;
        }
        files.iter().try_for_each(|file| file.rename())
    }
}
