use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::caller_table::CallerTable;
use super::entries::{self, CallerEntry, Rate};
use super::scope::Scopes;
use super::token::TokenHash;

/// A token to append to a file of callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// The name of the caller.
    pub name: String,
    /// The hash of the token.
    pub token: TokenHash,
    /// What the caller may do. Without it, what its other entries say.
    pub scopes: Option<Scopes>,
    /// How often it may call. Without it, what its other entries say; a new caller has no limit.
    pub rate: Option<Rate>,
}

/// Why an entry cannot be appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The file is no file of callers, or the entry contradicts it.
    #[error("{0} cannot take the entry: {1}")]
    Content(PathBuf, String),
    /// A new caller needs scopes.
    #[error("{0} has no caller of this name, so its scopes must be given")]
    Scopes(PathBuf),
    /// The file cannot be read or written.
    #[error("cannot change {0}")]
    Io(PathBuf, #[source] io::Error),
}

/// Appends a token to a file of callers, and makes the file if there is none. Readers see the old content or the new
/// one. Two processes that append at the same time both succeed.
///
/// # Errors
/// [`AppendError`]; the file is as it was.
pub fn append(path: &Path, new: NewToken) -> Result<(), AppendError> {
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
    let wrong = |reason| AppendError::Content(path.to_owned(), reason);
    let known = entries::parse(&text).map_err(wrong)?.into_iter().find(|entry| entry.name == new.name);
    let scopes = new.scopes.or(known.as_ref().map(|entry| entry.scopes));
    let rate = new.rate.or(known.and_then(|entry| entry.rate));
    let scopes = scopes.ok_or_else(|| AppendError::Scopes(path.to_owned()))?;
    let entry = CallerEntry { name: new.name, token: Some(new.token), scopes, rate };
    if !text.is_empty() {
        text.push_str(if text.ends_with('\n') { "\n" } else { "\n\n" });
    }
    text.push_str(&entry.to_toml());
    CallerTable::parse(&text, None).map_err(wrong)?;
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

    fn entry(name: &str, token: &str) -> NewToken {
        let (name, token, scopes) = (name.to_owned(), TokenHash::of(token), "identify".parse().ok());
        NewToken { name, token, scopes, rate: None }
    }

    fn toml_of(name: &str, token: &str) -> String {
        let NewToken { name, token, scopes, rate } = entry(name, token);
        CallerEntry { name, token: Some(token), scopes: scopes.unwrap(), rate }.to_toml()
    }

    fn appended(folder: &Path, new: NewToken) -> Result<String, AppendError> {
        append(&folder.join("callers.toml"), new)?;
        Ok(fs::read_to_string(folder.join("callers.toml")).unwrap())
    }

    #[test]
    fn a_further_token_of_a_caller_has_what_the_first_has() {
        let folder = tempfile::tempdir().unwrap();
        let number = |number| std::num::NonZeroU32::new(number).unwrap();
        let rate = Some(Rate { per_second: number(5), burst: number(9) });
        appended(folder.path(), NewToken { rate, ..entry("one", "t1") }).unwrap();
        let refused = appended(folder.path(), NewToken { scopes: None, ..entry("two", "t2") }).unwrap_err();
        assert!(matches!(refused, AppendError::Scopes(_)), "{refused}");
        let text = appended(folder.path(), NewToken { scopes: None, ..entry("one", "t3") }).unwrap();
        let [first, second] = &entries::parse(&text).unwrap()[..] else { panic!("{text}") };
        assert_eq!((second.rate, second.scopes), (rate, first.scopes));
        assert_ne!(second.token, first.token);
        let other = Some(Rate { per_second: number(6), burst: number(9) });
        let refused = appended(folder.path(), NewToken { rate: other, ..entry("one", "t4") }).unwrap_err();
        assert!(refused.to_string().contains("must have the same scopes, rate and burst"), "{refused}");
    }

    #[test]
    fn an_entry_is_appended_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callers.toml");
        append(&path, entry("one", "t1")).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("# ours\n{}", first.trim_end())).unwrap();
        append(&path, entry("two", "t2")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&format!("# ours\n{first}")) && text.ends_with(&toml_of("two", "t2")), "{text}");
        let refused = append(&path, entry("three", "t2")).unwrap_err();
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
        append(&path, entry("one", "t1")).unwrap();
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        append(&link, entry("two", "t2")).unwrap();
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
        append(&path, entry("one", "t1")).unwrap();
        // Only root may give a file away. For others, the owner is the same either way.
        let _ = chown(&path, Some(4_321), Some(1_234));
        let owner = || fs::metadata(&path).map(|file| (file.uid(), file.gid())).unwrap();
        let before = owner();
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, folder.path().join(format!(".callers.{}.tmp", std::process::id()))).unwrap();
        append(&path, entry("two", "t2")).unwrap();
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
                scope.spawn(move || append(path, entry(&format!("caller-{number}"), &number.to_string())).unwrap());
            }
        });
        assert_eq!(fs::read_to_string(path).unwrap().matches("[[caller]]").count(), 8);
    }
}
