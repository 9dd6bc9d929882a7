use std::any::TypeId;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use toml::{Table, Value};

use super::InvalidSetting;

/// The settings file: TOML, one key for a setting.
pub(super) struct File {
    path: PathBuf,
    table: Table,
}

impl File {
    /// # Errors
    /// The file cannot be read or is no TOML; the error is `named` for where its path came from.
    pub(super) fn read(path: &Path, named: String) -> Result<Self, InvalidSetting> {
        let text = fs::read_to_string(path)
            .map_err(|error| InvalidSetting::new(named, format!("cannot read {}: {error}", path.display())))?;
        // TOML's own report quotes the line, which may hold a password.
        let table = text.parse().map_err(|error: toml::de::Error| {
            let line = 1 + text[..error.span().map_or(0, |span| span.start)].matches('\n').count();
            let reason = error.message().replace('\n', ", ");
            InvalidSetting::new(path.display().to_string(), format!("line {line} is no valid TOML: {reason}"))
        })?;
        Ok(Self { path: path.to_owned(), table })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A key as an error or a report names it.
    pub(super) fn spelled(&self, key: &str) -> String {
        format!("{key} ({})", self.path.display())
    }

    /// The command with the file's values as the defaults, so that one parser judges flags, environment and file alike.
    ///
    /// # Errors
    /// A key that is no setting, or a value of the wrong type.
    pub(super) fn below(&self, mut command: Command) -> Result<Command, InvalidSetting> {
        for (key, value) in &self.table {
            let arg = command.get_arguments().find(|arg| arg.get_id() == key.as_str() && is_setting(arg));
            let arg = arg.ok_or_else(|| InvalidSetting::new(self.spelled(key), "there is no such setting"))?;
            let kind = Kind::of(arg);
            let text = match (kind, value) {
                (Kind::Text, Value::String(text)) => text.clone(),
                (Kind::Number, Value::Integer(number)) => number.to_string(),
                (Kind::Bool, Value::Boolean(boolean)) => boolean.to_string(),
                _ => return Err(InvalidSetting::new(self.spelled(key), kind.rule())),
            };
            command = command.mut_arg(key, |arg| arg.default_value(text));
        }
        Ok(command)
    }
}

/// Whether the argument can stand in a file: all but the path of the file itself, help and version.
pub(super) fn is_setting(arg: &Arg) -> bool {
    !["config", "help", "version"].contains(&arg.get_id().as_str())
}

/// The TOML type of a setting.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Number,
    Bool,
}

impl Kind {
    pub(super) fn of(arg: &Arg) -> Self {
        let parsed = arg.get_value_parser().type_id();
        if parsed == TypeId::of::<bool>() {
            Self::Bool
        } else if [TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<usize>()].iter().any(|id| parsed == *id) {
            Self::Number
        } else {
            Self::Text
        }
    }

    fn rule(self) -> &'static str {
        match self {
            Self::Text => "must be a string, in quotes",
            Self::Number => "must be a whole number, without quotes",
            Self::Bool => "must be true or false, without quotes",
        }
    }
}
