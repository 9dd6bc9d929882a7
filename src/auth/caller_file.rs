use std::path::Path;
use std::sync::Arc;

use super::authenticator::{Authenticator, Credentials, Unauthenticated};
use super::caller_table::CallerTable;
use super::known_caller::KnownCaller;
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
    const WHAT: &'static str = "callers";

    fn paths(&self) -> Vec<&Path> {
        vec![&self.0.path]
    }

    fn build(&self, contents: &[Vec<u8>], previous: Option<&CallerTable>) -> Result<CallerTable, String> {
        let text = contents.first().and_then(|content| std::str::from_utf8(content).ok());
        let table = text.ok_or_else(|| "must be UTF-8".to_owned()).and_then(|text| CallerTable::parse(text, previous));
        table.map_err(|reason| self.0.wrong(&reason))
    }
}

impl Authenticator for Callers {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Arc<KnownCaller>, Unauthenticated> {
        self.current().find(credentials)
    }
}
