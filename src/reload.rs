//! Values that are made from files, and are made again when the files change: certificates and tokens.
//!
//! The content of the files is compared every few seconds. Notifications of the kernel would miss a change: Kubernetes
//! replaces mounted secrets by swapping a symbolic link of a parent folder.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

/// Maximum size of a file, in bytes. A path such as `/dev/zero` must not fill the memory.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How a value is made from files.
pub trait FileSource: Send + Sync + 'static {
    /// The value.
    type Value: Send + Sync;

    /// What log lines call the value.
    const WHAT: &'static str;

    /// Returns the paths of the files.
    fn paths(&self) -> Vec<&Path>;

    /// Makes the value from the contents of the files, in the order of the paths. `previous` is the value in force.
    ///
    /// # Errors
    /// The reason, without a part of a content.
    fn build(&self, contents: &[Vec<u8>], previous: Option<&Self::Value>) -> Result<Self::Value, String>;
}

/// Why a value cannot be made from its files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(String);

impl LoadError {
    /// Returns the error for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// How often a value was made again.
#[derive(Debug, Default)]
pub struct ReloadCounts {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl ReloadCounts {
    /// Returns how many changes of the files were taken over.
    pub fn succeeded(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed)
    }

    /// Returns how many changes were refused, so that the previous value stayed in force.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// A value that follows its files. All of it is replaced at once.
pub struct Reloaded<S: FileSource> {
    source: S,
    current: RwLock<Arc<S::Value>>,
    /// The digest of the contents that were tried last.
    tried: Mutex<ContentDigest>,
    counts: ReloadCounts,
}

/// A digest instead of the contents: one of the files can be a private key.
type ContentDigest = [u8; SHA256_OUTPUT_LEN];

impl<S: FileSource> Reloaded<S> {
    /// Makes the value for the first time.
    ///
    /// # Errors
    /// [`LoadError`] names the file, and never has a part of its content.
    pub fn load(source: S) -> Result<Self, LoadError> {
        let contents = read_all(&source.paths());
        let tried = Mutex::new(digest(&contents));
        let value = contents.and_then(|contents| source.build(&contents, None)).map_err(LoadError)?;
        Ok(Self { source, current: RwLock::new(Arc::new(value)), tried, counts: ReloadCounts::default() })
    }

    /// Returns the value in force.
    pub fn current(&self) -> Arc<S::Value> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the counts, for metrics.
    pub fn counts(&self) -> &ReloadCounts {
        &self.counts
    }

    /// Compares the files for as long as it is polled, and makes the value again after each change.
    pub async fn follow(self: Arc<Self>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let this = Arc::clone(&self);
            // A file system can be slow. The value in force stays when the task fails.
            let _ = tokio::task::spawn_blocking(move || this.reload_if_changed()).await;
        }
    }

    /// Makes the value again if the files have changed. If it cannot be made, the value in force stays.
    pub fn reload_if_changed(&self) {
        let contents = read_all(&self.source.paths());
        let digest_now = digest(&contents);
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        // Files that change right now are read the next time, so that all of them are of one time.
        if digest_now == *tried || digest(&read_all(&self.source.paths())) != digest_now {
            return;
        }
        *tried = digest_now;
        match contents.and_then(|contents| self.source.build(&contents, Some(&self.current()))) {
            Ok(value) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
                self.counts.succeeded.fetch_add(1, Ordering::Relaxed);
                tracing::info!(what = S::WHAT, "reloaded after a change of the files");
            }
            Err(reason) => {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(what = S::WHAT, reason, "cannot be reloaded: what was loaded before stays in force");
            }
        }
    }
}

impl<S: FileSource> fmt::Debug for Reloaded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").field("what", &S::WHAT).field("counts", &self.counts).finish_non_exhaustive()
    }
}

fn read_all(paths: &[&Path]) -> Result<Vec<Vec<u8>>, String> {
    paths.iter().map(|path| read(path)).collect()
}

/// Reads a file.
///
/// # Errors
/// The path and the reason.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |reason: String| format!("cannot read {}: {reason}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| cannot(error.to_string()))?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| cannot(error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES { Err(cannot("it is too large".to_owned())) } else { Ok(bytes) }
}

fn digest(contents: &Result<Vec<Vec<u8>>, String>) -> ContentDigest {
    let mut context = Context::new(&SHA256);
    match contents {
        Ok(contents) => {
            for content in contents {
                context.update(&content.len().to_be_bytes());
                context.update(content);
            }
        }
        Err(reason) => context.update(reason.as_bytes()),
    }
    let mut digest = ContentDigest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// A path of a file that a value is made from, with the setting that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFile {
    /// The name of the setting, for errors.
    pub setting: &'static str,
    /// Where the file is.
    pub path: PathBuf,
}

impl SettingFile {
    /// Returns the reason why a value cannot be made, with the setting and the path.
    pub fn wrong(&self, reason: &str) -> String {
        format!("{} ({}) {reason}", self.path.display(), self.setting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two files with the same text.
    struct Twins([PathBuf; 2]);

    impl FileSource for Twins {
        type Value = String;
        const WHAT: &'static str = "twins";

        fn paths(&self) -> Vec<&Path> {
            self.0.iter().map(PathBuf::as_path).collect()
        }

        fn build(&self, contents: &[Vec<u8>], _: Option<&String>) -> Result<String, String> {
            let [one, two] = contents else { return Err("two files".to_owned()) };
            if one == two { Ok(String::from_utf8_lossy(one).into_owned()) } else { Err("they differ".to_owned()) }
        }
    }

    #[test]
    fn a_value_follows_its_files_and_stays_when_they_are_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["one", "two"].map(|name| folder.path().join(name));
        let write = |file: usize, text: &str| std::fs::write(&paths[file], text).unwrap();
        assert!(Reloaded::load(Twins(paths.clone())).unwrap_err().to_string().starts_with("cannot read "));
        write(0, "a");
        write(1, "a");
        let twins = Reloaded::load(Twins(paths.clone())).unwrap();
        let check = |value: &str, succeeded, failed| {
            twins.reload_if_changed();
            let counts = (twins.counts().succeeded(), twins.counts().failed());
            assert_eq!((twins.current().as_str(), counts), (value, (succeeded, failed)));
        };
        check("a", 0, 0);
        write(0, "b");
        check("a", 0, 1);
        check("a", 0, 1); // The same content is tried once.
        write(1, "b");
        check("b", 1, 1);
        std::fs::remove_file(&paths[0]).unwrap();
        check("b", 1, 2);
        write(0, "b");
        check("b", 2, 2);
    }
}
