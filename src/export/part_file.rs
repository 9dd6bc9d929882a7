//! A file that gets its name when it is complete.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Only the owner may read it: it has personal data.
const MODE: u32 = 0o600;

/// A file that is written as `PATH.part`, and renamed to `PATH` when it is complete. So half a file is never taken for
/// a complete one. A crash leaves `PATH.part`, and the next run writes it anew.
#[derive(Debug)]
pub(super) struct PartFile {
    path: PathBuf,
    part: PathBuf,
    /// It is locked: two runs cannot write the same file.
    file: File,
    folder: File,
    replaces: bool,
    is_complete: bool,
}

impl PartFile {
    /// Begins the file. Without `replaces`, there must be none of this name.
    ///
    /// # Errors
    /// A sentence about the path for the operator.
    pub(super) fn create(path: &Path, replaces: bool) -> Result<Self, String> {
        match path.symlink_metadata() {
            Ok(metadata) if !metadata.is_file() => return Err("must be a regular file, and no link to one".to_owned()),
            Ok(_) if !replaces => return Err("there is such a file: give another name, or --force".to_owned()),
            Ok(_) | Err(_) => {}
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let cannot = |error: io::Error| format!("must be a file that can be written: {error}");
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = File::open(folder).map_err(cannot)?;
        // Always a new file. One that is there can belong to somebody else, and a link can lead anywhere.
        let create = || OpenOptions::new().create_new(true).write(true).mode(MODE).open(&part);
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_left_over(&part)?;
                create()
            }
            created => created,
        };
        let file = file.map_err(cannot)?;
        lock(&file)?;
        let created = Self { path: path.to_owned(), part, file, folder, replaces, is_complete: false };
        // Another run can have taken it for a left-over before it was locked.
        if created.has_its_name() { Ok(created) } else { Err(WRITTEN_BY_OTHERS.to_owned()) }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Waits until the content is on the disk. From then on the file stays, also if it does not get its name.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        self.is_complete = true;
        Ok(())
    }

    /// Waits until its name is on the disk.
    pub(super) fn sync_name(&self) -> io::Result<()> {
        self.folder.sync_all()
    }

    /// Removes the file that is there, if it may be replaced.
    pub(super) fn remove_old(&self) -> io::Result<()> {
        if !self.replaces {
            return Ok(());
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Gives the file its name.
    pub(super) fn rename(&self) -> io::Result<()> {
        if !self.has_its_name() {
            return Err(io::Error::other("somebody has replaced the file while it was written"));
        }
        if !self.replaces {
            // It fails if there is a file by now. Not each file system knows a second name of a file.
            match std::fs::hard_link(&self.part, &self.path) {
                Ok(()) => return std::fs::remove_file(&self.part),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) if self.path.symlink_metadata().is_ok() => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => {}
            }
        }
        std::fs::rename(&self.part, &self.path)
    }

    /// Whether the name still leads to this very file, and not by a symbolic link.
    fn has_its_name(&self) -> bool {
        let (Ok(own), Ok(named)) = (self.file.metadata(), self.part.symlink_metadata()) else { return false };
        named.is_file() && (own.dev(), own.ino()) == (named.dev(), named.ino())
    }
}

/// What is said if another run writes the file.
const WRITTEN_BY_OTHERS: &str = "another run writes this file now";

fn lock(file: &File) -> Result<(), String> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(WRITTEN_BY_OTHERS.to_owned()),
        Err(TryLockError::Error(error)) => Err(format!("must be a file that can be locked: {error}")),
    }
}

/// Removes what a run has left that crashed.
fn remove_left_over(part: &Path) -> Result<(), String> {
    let other = || "there is something else of this name with the ending .part: remove it".to_owned();
    if !part.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(other());
    }
    let left = File::open(part).map_err(|_| other())?;
    lock(&left)?;
    std::fs::remove_file(part).map_err(|_| other())
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // It is there only if something failed.
        if !self.is_complete && self.has_its_name() {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_name_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contacts.csv");
        let mut file = PartFile::create(&path, false).unwrap();
        file.write(b"id\r\n").unwrap();
        assert!(!path.exists());
        assert_eq!(PartFile::create(&path, false).unwrap_err(), "another run writes this file now");
        file.complete().unwrap();
        file.rename().unwrap();
        file.sync_name().unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"id\r\n");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, MODE);
        assert!(PartFile::create(&path, false).unwrap_err().contains("--force"));
        // What failed leaves the old file, and nothing else.
        PartFile::create(&path, true).unwrap().write(b"half").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"id\r\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_crash_has_left_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.ndjson");
        let part = folder.path().join("all.ndjson.part");
        // It is also a name of a file of somebody else, who would have a handle to what is written.
        let planted = folder.path().join("planted");
        std::fs::write(&planted, "much more than the new content").unwrap();
        std::fs::hard_link(&planted, &part).unwrap();
        let mut file = PartFile::create(&path, false).unwrap();
        file.write(b"new").unwrap();
        assert_eq!(part.metadata().unwrap().mode() & 0o777, MODE);
        file.rename().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read(&planted).unwrap(), b"much more than the new content");
    }

    #[test]
    fn a_complete_file_stays_if_it_cannot_get_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.ndjson");
        let mut file = PartFile::create(&path, false).unwrap();
        file.write(b"all").unwrap();
        file.complete().unwrap();
        std::fs::write(&path, "of somebody else").unwrap();
        assert_eq!(file.rename().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"of somebody else");
        assert_eq!(std::fs::read(folder.path().join("all.ndjson.part")).unwrap(), b"all");
    }

    #[test]
    fn other_things_than_files_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let regular = "must be a regular file, and no link to one";
        assert_eq!(PartFile::create(folder.path(), true).unwrap_err(), regular);
        assert_eq!(PartFile::create(Path::new("/dev/null"), true).unwrap_err(), regular);
        let (path, other) = (folder.path().join("one"), folder.path().join("other"));
        std::fs::write(&other, "kept").unwrap();
        for target in [&other, &folder.path().join("nothing")] {
            let link = folder.path().join("one.part");
            std::os::unix::fs::symlink(target, &link).unwrap();
            assert!(PartFile::create(&path, true).unwrap_err().contains("something else"));
            std::fs::rename(&link, &path).unwrap();
            assert_eq!(PartFile::create(&path, true).unwrap_err(), regular);
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(std::fs::read(&other).unwrap(), b"kept");
        assert!(!folder.path().join("nothing").exists());
        assert!(PartFile::create(&folder.path().join("no/such/folder"), false).unwrap_err().contains("can be written"));
    }
}
