//! A small disk that can be full.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// What the whole of a long campaign needs, and the log of SQLite beside it.
const SIZE: &str = "size=96m";

/// A disk in memory, mounted for one test.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Why there can be none.
    pub fn missing() -> Result<(), String> {
        let id = Command::new("id").arg("-u").output().map_err(|_| "id does not run".to_owned())?;
        if id.stdout == b"0\n" { Ok(()) } else { Err("only root can mount a small disk".to_owned()) }
    }

    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("identity_disk_{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder in the temporary folder");
        let disk = Self { folder };
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&disk.folder).status();
        assert!(done.expect("mount runs").success());
        disk
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes until there is no room.
    pub fn fill(&self) {
        let mut ballast = File::create(self.file("ballast")).expect("room for a name");
        for size in [1 << 20, 4 << 10, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    pub fn empty(&self) {
        std::fs::remove_file(self.file("ballast")).expect("it is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        let _ = std::fs::remove_dir(&self.folder);
    }
}
