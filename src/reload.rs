//! Values that are made from files, and are made again when the files change: certificates and tokens.
//!
//! The content of the files is compared every few seconds. Notifications of the kernel would miss a change: Kubernetes
//! replaces mounted secrets by swapping a symbolic link of a parent folder.
//!
//! A change is taken over when two comparisons in a row see the same content. A file that is being written in place can
//! be valid in between: a part of the entries, a part of a chain.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use tokio::sync::watch;

use crate::metrics::{Label, Metrics, ReloadEnd, ReloadedFile};

/// Maximum size of a file, in bytes. A path such as `/dev/zero` must not fill the memory.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How a value is made from files.
pub trait FileSource: Send + Sync + 'static {
    /// The value.
    type Value: Send + Sync;

    /// What log lines and metrics call the files.
    const WHAT: ReloadedFile;

    /// Returns the files.
    fn files(&self) -> &[SettingFile];

    /// Makes the value from the contents of the files, in their order. `previous` is the value in force.
    ///
    /// # Errors
    /// The reason, without a part of a content.
    fn build(&self, contents: &[Vec<u8>], previous: Option<&Self::Value>) -> Result<Self::Value, String>;

    /// Records what a value says to metrics. `previous` is the value that it replaces.
    fn record(&self, value: &Self::Value, previous: Option<&Self::Value>, metrics: &Metrics);
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

/// A value that follows its files. All of it is replaced at once.
pub struct Reloaded<S: FileSource> {
    source: S,
    current: watch::Sender<Arc<S::Value>>,
    polled: Mutex<Polled>,
    metrics: OnceLock<Metrics>,
}

/// A digest instead of the contents: one of the files can be a private key.
type ContentDigest = [u8; SHA256_OUTPUT_LEN];

/// What is known of the contents.
struct Polled {
    /// Those that were tried last.
    tried: ContentDigest,
    /// Those that the last comparison saw.
    seen: ContentDigest,
}

impl<S: FileSource> Reloaded<S> {
    /// Makes the value for the first time.
    ///
    /// # Errors
    /// [`LoadError`] names the file, and never has a part of its content.
    pub fn load(source: S) -> Result<Self, LoadError> {
        let contents = read_all(source.files());
        let tried = digest(&contents);
        let value = contents.and_then(|contents| source.build(&contents, None)).map_err(LoadError)?;
        Ok(Self {
            source,
            current: watch::Sender::new(Arc::new(value)),
            polled: Mutex::new(Polled { tried, seen: tried }),
            metrics: OnceLock::new(),
        })
    }

    /// Returns the value in force.
    pub fn current(&self) -> Arc<S::Value> {
        Arc::clone(&self.current.borrow())
    }

    /// Resolves when the value has been replaced after this call.
    pub fn replaced(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut changes = self.current.subscribe();
        async move {
            if changes.changed().await.is_err() {
                std::future::pending().await // The value is dropped: nothing replaces it any more.
            }
        }
    }

    /// Records in these metrics from now on.
    pub fn measure_by(&self, metrics: &Metrics) {
        self.source.record(&self.current(), None, self.metrics.get_or_init(|| metrics.clone()));
    }

    fn count_reload(&self, end: ReloadEnd) {
        if let Some(metrics) = self.metrics.get() {
            metrics.count_reload(S::WHAT, end);
        }
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

    /// Makes the value again if the files have changed, and have not changed since the last call. If it cannot be made,
    /// the value in force stays.
    pub fn reload_if_changed(&self) {
        let contents = read_all(self.source.files());
        let digest_now = digest(&contents);
        let mut polled = self.polled.lock().unwrap_or_else(PoisonError::into_inner);
        let seen_before = std::mem::replace(&mut polled.seen, digest_now);
        if digest_now == polled.tried || digest_now != seen_before {
            return;
        }
        polled.tried = digest_now;
        match contents.and_then(|contents| self.source.build(&contents, Some(&self.current()))) {
            Ok(value) => {
                if let Some(metrics) = self.metrics.get() {
                    self.source.record(&value, Some(&self.current()), metrics);
                }
                self.current.send_replace(Arc::new(value));
                self.count_reload(ReloadEnd::Ok);
                tracing::info!(what = S::WHAT.value(), "reloaded after a change of the files");
            }
            Err(reason) => {
                self.count_reload(ReloadEnd::Error);
                tracing::warn!(
                    what = S::WHAT.value(),
                    reason,
                    "cannot be reloaded: what was loaded before stays in force"
                );
            }
        }
    }
}

impl<S: FileSource> fmt::Debug for Reloaded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").field("what", &S::WHAT.value()).finish_non_exhaustive()
    }
}

fn read_all(files: &[SettingFile]) -> Result<Vec<Vec<u8>>, String> {
    files.iter().map(|file| read_regular(&file.path).map_err(|reason| file.unreadable(&reason))).collect()
}

/// Reads a file that can be read again. A pipe would give its content once, and block until somebody writes.
fn read_regular(path: &Path) -> Result<Vec<u8>, String> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err("it is no regular file".to_owned()),
        _ => read_bytes(path),
    }
}

/// Reads a file.
///
/// # Errors
/// The path and the reason.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    read_bytes(path).map_err(|reason| format!("cannot read {}: {reason}", path.display()))
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_BYTES { Err("it is too large".to_owned()) } else { Ok(bytes) }
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

impl fmt::Display for SettingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.setting)
    }
}

impl SettingFile {
    fn unreadable(&self, reason: &str) -> String {
        format!("cannot read {self}: {reason}")
    }

    /// Returns the reason why a value cannot be made, with the setting and the path.
    pub fn wrong(&self, reason: &str) -> String {
        format!("{self} {reason}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two files with the same text.
    struct Twins([SettingFile; 2]);

    fn twins(paths: [&Path; 2]) -> Twins {
        let [one, two] = paths.map(Path::to_owned);
        Twins([SettingFile { setting: "ONE", path: one }, SettingFile { setting: "TWO", path: two }])
    }

    impl FileSource for Twins {
        type Value = String;
        const WHAT: ReloadedFile = ReloadedFile::Tokens;

        fn files(&self) -> &[SettingFile] {
            &self.0
        }

        fn build(&self, contents: &[Vec<u8>], _: Option<&String>) -> Result<String, String> {
            let [one, two] = contents else { return Err("two files".to_owned()) };
            if one == two { Ok(String::from_utf8_lossy(one).into_owned()) } else { Err("they differ".to_owned()) }
        }

        fn record(&self, _: &String, _: Option<&String>, _: &Metrics) {}
    }

    #[test]
    fn a_value_follows_its_files_and_stays_when_they_are_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["one", "two"].map(|name| folder.path().join(name));
        let write = |file: usize, text: &str| std::fs::write(&paths[file], text).unwrap();
        let load = || Reloaded::load(twins([&paths[0], &paths[1]]));
        write(0, "a");
        let error = load().unwrap_err().to_string();
        assert_eq!(error, format!("cannot read {} (TWO): No such file or directory (os error 2)", paths[1].display()));
        write(1, "a");
        let (twins, metrics) = (load().unwrap(), Metrics::on());
        twins.measure_by(&metrics);
        let poll = |value: &str, succeeded, failed| {
            twins.reload_if_changed();
            let counts = [ReloadEnd::Ok, ReloadEnd::Error].map(|end| metrics.reloads(ReloadedFile::Tokens, end));
            assert_eq!((twins.current().as_str(), counts), (value, [succeeded, failed]));
        };
        let check = |value: &str, succeeded, failed| {
            twins.reload_if_changed();
            poll(value, succeeded, failed);
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
        // Each content is there for one comparison only.
        for text in ["c", "d", "e"] {
            write(0, text);
            write(1, text);
            poll("b", 2, 2);
        }
        poll("e", 3, 2);
    }

    #[test]
    fn a_file_that_is_not_regular_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [PathBuf::from("/dev/null"), folder.path().to_owned(), pipe] {
            let error = Reloaded::load(twins([&path, &path])).unwrap_err().to_string();
            assert_eq!(error, format!("cannot read {} (ONE): it is no regular file", path.display()));
        }
    }
}
