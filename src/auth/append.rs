use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::caller_table::CallerTable;
use super::entries::CallerEntry;

/// Why an entry cannot be appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The file is no file of callers, or the entry contradicts it.
    #[error("{0} cannot take the entry: {1}")]
    Content(PathBuf, String),
    /// The file cannot be read or written.
    #[error("cannot change {0}")]
    Io(PathBuf, #[source] io::Error),
}

/// Appends an entry to a file of callers, and makes the file if there is none. Readers see the old content or the new
/// one. Two processes that append at the same time both succeed.
///
/// # Errors
/// [`AppendError`]; the file is as it was.
pub fn append(path: &Path, entry: &CallerEntry) -> Result<(), AppendError> {
    let failed = |error| AppendError::Io(path.to_owned(), error);
    // The file that a symbolic link leads to, so that the link stays.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    // Of the folder, because the file is replaced. It ends with the handle.
    let lock = File::open(&folder).map_err(failed)?;
    lock.lock().map_err(failed)?;

    let mut text = match fs::read_to_string(&target) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    if !text.is_empty() {
        text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
    }
    text.push_str(&entry.to_toml());
    CallerTable::parse(&text, None).map_err(|reason| AppendError::Content(path.to_owned(), reason))?;
    replace(&target, &folder, &text).map_err(failed)
}

/// Writes a new file beside the old one, and renames it. The owner, the group and the permissions stay.
fn replace(target: &Path, folder: &Path, text: &str) -> io::Result<()> {
    let new = folder.join(format!(".callers.{}.tmp", std::process::id()));
    // What a process with the same number left when it was killed. The lock keeps others out.
    let _ = fs::remove_file(&new);
    let mut options = OpenOptions::new();
    // It follows no symbolic link.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    let mut write = || {
        if let Ok(old) = fs::metadata(target) {
            keep_owner(&file, &old)?;
            file.set_permissions(old.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, target)
    };
    write().inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Gives a new file the owner and the group of the old one. Without the right to, it fails: the service might not be
/// able to read the new file.
#[cfg(unix)]
fn keep_owner(file: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let new = file.metadata()?;
    let change = |old: u32, new: u32| (old != new).then_some(old);
    match (change(old.uid(), new.uid()), change(old.gid(), new.gid())) {
        (None, None) => Ok(()),
        (owner, group) => fchown(file, owner, group),
    }
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::TokenHash;

    fn entry(name: &str, token: &str) -> CallerEntry {
        let token = Some(TokenHash::of(token));
        CallerEntry { name: name.to_owned(), token, scopes: "identify".parse().unwrap(), rate: None }
    }

    #[test]
    fn an_entry_is_appended_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callers.toml");
        append(&path, &entry("one", "t1")).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("# ours\n{}", first.trim_end())).unwrap();
        append(&path, &entry("two", "t2")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with(&format!("# ours\n{first}")) && text.ends_with(&entry("two", "t2").to_toml()),
            "{text}"
        );
        let refused = append(&path, &entry("three", "t2")).unwrap_err();
        assert!(matches!(refused, AppendError::Content(..)), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no other file is left");
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_its_owners_and_a_link_stays_a_link() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("callers.toml"), folder.path().join("link"));
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        append(&path, &entry("one", "t1")).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        append(&link, &entry("two", "t2")).unwrap();
        assert_eq!(mode(), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(CallerTable::parse(&fs::read_to_string(&path).unwrap(), None).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn the_owner_stays_and_a_planted_link_is_not_followed() {
        use std::os::unix::fs::{MetadataExt, chown, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("callers.toml"), folder.path().join("victim"));
        append(&path, &entry("one", "t1")).unwrap();
        // Only root may give a file away. For others, the owner is the same either way.
        let _ = chown(&path, Some(4_321), Some(1_234));
        let owner = || fs::metadata(&path).map(|file| (file.uid(), file.gid())).unwrap();
        let before = owner();
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, folder.path().join(format!(".callers.{}.tmp", std::process::id()))).unwrap();
        append(&path, &entry("two", "t2")).unwrap();
        assert_eq!(owner(), before);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[test]
    fn entries_of_several_writers_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = &folder.path().join("callers.toml");
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || append(path, &entry(&format!("caller-{number}"), &number.to_string())).unwrap());
            }
        });
        assert_eq!(fs::read_to_string(path).unwrap().matches("[[caller]]").count(), 8);
    }
}
