use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::authenticator::{Authenticator, Credentials, Unauthenticated};
use super::caller_table::CallerTable;
use super::known_caller::KnownCaller;
use crate::metrics::{Metrics, ReloadedFile};
use crate::reload::{FileSource, Reloaded, SettingFile};

/// The callers of `TOKENS_FILE`, which follow it.
pub type Callers = Reloaded<CallerFile>;

/// The file of callers.
#[derive(Clone, Debug)]
pub struct CallerFile(SettingFile);

impl CallerFile {
    /// Stands for the file at this path.
    pub fn new(path: &Path) -> Self {
        Self(SettingFile { setting: "TOKENS_FILE", path: path.to_owned() })
    }
}

impl FileSource for CallerFile {
    type Value = CallerTable;
    const WHAT: ReloadedFile = ReloadedFile::Tokens;

    fn files(&self) -> &[SettingFile] {
        std::slice::from_ref(&self.0)
    }

    fn build(&self, contents: &[Vec<u8>], previous: Option<&CallerTable>) -> Result<CallerTable, String> {
        let text = contents.first().and_then(|content| std::str::from_utf8(content).ok());
        let table = text.ok_or_else(|| "must be UTF-8".to_owned()).and_then(|text| CallerTable::parse(text, previous));
        let table = table.map_err(|reason| self.0.wrong(&reason))?;
        if table.is_empty() && previous.is_some_and(|previous| !previous.is_empty()) {
            return Err(self.0.wrong("has no caller any more: if that is meant, restart the service"));
        }
        Ok(table)
    }

    fn record(&self, value: &CallerTable, previous: Option<&CallerTable>, metrics: &Metrics) {
        value.measure_by(metrics);
        for gone in previous.into_iter().flat_map(CallerTable::names).filter(|name| !value.has(name)) {
            metrics.forget_caller(gone);
        }
    }
}

impl Authenticator for Callers {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Arc<KnownCaller>, Unauthenticated> {
        self.current().find(credentials)
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.replaced().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::TokenHash;
    use crate::metrics::ReloadEnd;

    /// A file that is written in place is cut at the end of an entry for a moment, or is empty.
    #[test]
    fn a_part_of_the_file_removes_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callers.toml");
        let entry = |name: &str| {
            let hash = TokenHash::of(name).hex();
            format!("[[caller]]\nname = '{name}'\ntoken_sha256 = '{hash}'\nscopes = ['identify']\n")
        };
        let write = |names: &[&str]| std::fs::write(&path, names.iter().map(|name| entry(name)).collect::<String>());
        write(&["one", "two"]).unwrap();
        let (callers, metrics) = (Callers::load(CallerFile::new(&path)).unwrap(), Metrics::on());
        callers.measure_by(&metrics);
        let failed_so_far = || metrics.reloads(ReloadedFile::Tokens, ReloadEnd::Error);
        let poll = |names: &[&str], failed| {
            callers.reload_if_changed();
            let known = |name| callers.authenticate(&Credentials { token: Some(name), certificate_names: &[] }).is_ok();
            let found: Vec<_> = ["one", "two", "three"].into_iter().filter(|name| known(name)).collect();
            assert_eq!((found.as_slice(), failed_so_far()), (names, failed));
        };
        for part in [&[][..], &["one"], &["one", "two"], &["one", "two", "three"]] {
            write(part).unwrap();
            poll(&["one", "two"], 0);
        }
        poll(&["one", "two", "three"], 0);
        // It stays empty.
        for text in ["", "# nobody\n"] {
            let before = failed_so_far();
            std::fs::write(&path, text).unwrap();
            poll(&["one", "two", "three"], before);
            poll(&["one", "two", "three"], before + 1);
        }
        write(&["two"]).unwrap();
        poll(&["one", "two", "three"], 2);
        poll(&["two"], 2);
    }

    #[test]
    fn a_service_can_start_without_a_caller_and_get_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callers.toml");
        std::fs::write(&path, "").unwrap();
        let callers = Callers::load(CallerFile::new(&path)).unwrap();
        std::fs::write(&path, "[[caller]]\nname = 'one'\nscopes = ['identify']\n").unwrap();
        (0..2).for_each(|_| callers.reload_if_changed());
        assert!(callers.current().has("one"));
    }
}
