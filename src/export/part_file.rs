//! A file that gets its name when it is complete.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
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
    replaces: bool,
}

impl PartFile {
    /// Begins the file. Without `replaces`, there must be none of this name.
    ///
    /// # Errors
    /// A sentence about the path for the operator.
    pub(super) fn create(path: &Path, replaces: bool) -> Result<Self, String> {
        match path.metadata() {
            Ok(metadata) if !metadata.is_file() => return Err("must be a regular file".to_owned()),
            Ok(_) if !replaces => return Err("there is such a file: give another name, or --force".to_owned()),
            Ok(_) | Err(_) => {}
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let cannot = |error: io::Error| format!("must be a file that can be written: {error}");
        let open = OpenOptions::new().create(true).write(true).truncate(false).mode(MODE).open(&part);
        let file = open.map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err("another run writes this file now".to_owned()),
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        let created = Self { path: path.to_owned(), part, file, replaces };
        if !created.has_its_name() {
            return Err("there is something else of this name with the ending .part: remove it".to_owned());
        }
        created.file.set_permissions(Permissions::from_mode(MODE)).map_err(cannot)?;
        created.file.set_len(0).map_err(cannot)?;
        Ok(created)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Waits until the content is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
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
        if !self.replaces && self.path.symlink_metadata().is_ok() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "somebody else has made a file of this name"));
        }
        std::fs::rename(&self.part, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    /// Whether the name still leads to this very file, and not by a symbolic link.
    fn has_its_name(&self) -> bool {
        let (Ok(own), Ok(named)) = (self.file.metadata(), self.part.symlink_metadata()) else { return false };
        named.is_file() && (own.dev(), own.ino()) == (named.dev(), named.ino())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // It is there only if something failed.
        if self.has_its_name() {
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
        file.sync().unwrap();
        file.rename().unwrap();
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
        std::fs::write(&part, "much more than the new content").unwrap();
        let mut file = PartFile::create(&path, false).unwrap();
        file.write(b"new").unwrap();
        assert_eq!(part.metadata().unwrap().mode() & 0o777, MODE);
        file.rename().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn other_things_than_files_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(PartFile::create(folder.path(), true).unwrap_err(), "must be a regular file");
        assert_eq!(PartFile::create(Path::new("/dev/null"), true).unwrap_err(), "must be a regular file");
        let (path, other) = (folder.path().join("one"), folder.path().join("other"));
        std::fs::write(&other, "kept").unwrap();
        std::os::unix::fs::symlink(&other, folder.path().join("one.part")).unwrap();
        assert!(PartFile::create(&path, true).unwrap_err().contains("something else"));
        assert_eq!(std::fs::read(&other).unwrap(), b"kept");
        assert!(PartFile::create(&folder.path().join("no/such/folder"), false).unwrap_err().contains("can be written"));
    }
}
