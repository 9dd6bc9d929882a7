use std::any::TypeId;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use toml::{Table, Value};

use super::error::InvalidSetting;

/// A settings file: TOML with one key for each setting.
pub(super) struct File {
    path: PathBuf,
    table: Table,
}

impl File {
    /// Reads and parses a file. `path_source` is the setting that the path came from.
    ///
    /// # Errors
    /// When the file cannot be read, or when it is not valid TOML.
    pub(super) fn read(path: &Path, path_source: String) -> Result<Self, InvalidSetting> {
        let text = fs::read_to_string(path)
            .map_err(|error| InvalidSetting::new(path_source, format!("cannot read {}: {error}", path.display())))?;
        // The message of the TOML parser quotes the line, which may hold a password.
        let table = text.parse().map_err(|error: toml::de::Error| {
            let line = 1 + text[..error.span().map_or(0, |span| span.start)].matches('\n').count();
            let reason = error.message().replace('\n', ", ");
            InvalidSetting::new(path.display().to_string(), format!("line {line} is not valid TOML: {reason}"))
        })?;
        Ok(Self { path: path.to_owned(), table })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Returns the name of a key for an error or a report: the key and the file.
    pub(super) fn name_of(&self, key: &str) -> String {
        format!("{key} ({})", self.path.display())
    }

    /// Returns the command with the file's values as its defaults.
    ///
    /// So one parser checks flags, environment and file.
    ///
    /// # Errors
    /// When a key is not a setting, or when a value has the wrong type.
    pub(super) fn set_defaults(&self, mut command: Command) -> Result<Command, InvalidSetting> {
        for (key, value) in &self.table {
            let arg = command.get_arguments().find(|arg| arg.get_id() == key.as_str() && is_setting(arg));
            let arg = arg.ok_or_else(|| InvalidSetting::new(self.name_of(key), "there is no such setting"))?;
            let kind = TomlType::from_arg(arg);
            let text = match (kind, value) {
                (TomlType::Text, Value::String(text)) => text.clone(),
                (TomlType::Number | TomlType::Fraction, Value::Integer(number)) => number.to_string(),
                (TomlType::Fraction, Value::Float(number)) => number.to_string(),
                (TomlType::Bool, Value::Boolean(boolean)) => boolean.to_string(),
                _ => return Err(InvalidSetting::new(self.name_of(key), kind.rule())),
            };
            command = command.mut_arg(key, |arg| arg.default_value(text));
        }
        Ok(command)
    }
}

/// Returns whether the argument is a setting: any argument but the path of the file, help and version.
pub(super) fn is_setting(arg: &Arg) -> bool {
    !["config", "help", "version"].contains(&arg.get_id().as_str())
}

/// The TOML type of a setting.
#[derive(Clone, Copy)]
pub(super) enum TomlType {
    Text,
    Number,
    Fraction,
    Bool,
}

impl TomlType {
    pub(super) fn from_arg(arg: &Arg) -> Self {
        let parsed = arg.get_value_parser().type_id();
        if parsed == TypeId::of::<bool>() {
            Self::Bool
        } else if parsed == TypeId::of::<f64>() {
            Self::Fraction
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
            Self::Fraction => "must be a number, without quotes",
            Self::Bool => "must be true or false, without quotes",
        }
    }
}
