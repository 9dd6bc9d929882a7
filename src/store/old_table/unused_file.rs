//! SQLite files in WAL mode that no other program has open.
//!
//! A reader of such a file makes two files beside it (`-wal`, `-shm`), and one that may not write leaves them there.
//! While no program has the file open, it can be read as one that never changes, which makes no file. A program that
//! opens it makes the first of them at once: so each read is checked afterwards.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file that no other program had open.
#[derive(Debug)]
pub(super) struct UnusedFile {
    path: PathBuf,
    wal: PathBuf,
    state: (u64, SystemTime),
}

/// The place in the header that says by 2 that a file is in WAL mode. <https://www.sqlite.org/fileformat.html>
const READ_VERSION: usize = 19;

impl UnusedFile {
    /// The file at this path, if it is in WAL mode and no program has it open.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        let mut header = [0; READ_VERSION + 1];
        File::open(&path).ok()?.read_exact(&mut header).ok()?;
        let wal = beside(&path, "-wal");
        let is_unused = header[READ_VERSION] == 2 && !wal.exists();
        let state = state(&path)?;
        Some(Self { path, wal, state }).filter(|_| is_unused)
    }

    /// Whether everything that was read so far is right: no program has opened the file since.
    pub(super) fn is_still_unused(&self) -> bool {
        !self.wal.exists() && state(&self.path) == Some(self.state)
    }
}

/// Whether a program has left its `-wal` without its `-shm`. A reader would make a new `-shm`, which belongs to the
/// reader: then the old system, as another user, could not open its database.
pub(super) async fn is_left_by_a_crash(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let is_left = || beside(&path, "-wal").exists() && !beside(&path, "-shm").exists();
    if !is_left() {
        return false;
    }
    // A program that opens the database makes the one after the other.
    tokio::time::sleep(Duration::from_millis(200)).await;
    is_left()
}

/// The path of the file that SQLite puts beside a database. SQLite itself follows symbolic links first.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(ending);
    PathBuf::from(path)
}

fn state(path: &Path) -> Option<(u64, SystemTime)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
