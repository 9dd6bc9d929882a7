use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::file::File;
use super::value;

/// Every variable is also read with this prefix, and then wins: some platforms set variables such as `PORT` themselves.
pub(super) const PREFIX: &str = "IDENTITY_";

/// Where a setting's value came from. The later variant wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SettingOrigin {
    Default,
    File,
    Environment,
    /// A variable with the prefix `IDENTITY_`.
    PrefixedEnvironment,
    Flag,
}

impl SettingOrigin {
    /// Returns whether the value came from a variable.
    pub(super) fn is_environment(self) -> bool {
        matches!(self, Self::Environment | Self::PrefixedEnvironment)
    }
}

/// A parsed command line, the environment and the settings file, with the origin of each value.
pub(super) struct Sources {
    pub(super) command: Command,
    pub(super) matches: ArgMatches,
    pub(super) file: Option<File>,
}

impl Sources {
    /// Returns where the setting's value came from.
    pub(super) fn origin(&self, id: &str) -> SettingOrigin {
        match self.matches.value_source(id) {
            Some(ValueSource::CommandLine) => SettingOrigin::Flag,
            Some(ValueSource::EnvVariable) if self.has_prefix(id) => SettingOrigin::PrefixedEnvironment,
            Some(ValueSource::EnvVariable) => SettingOrigin::Environment,
            _ if self.file.as_ref().is_some_and(|file| file.has(id)) => SettingOrigin::File,
            _ => SettingOrigin::Default,
        }
    }

    fn has_prefix(&self, id: &str) -> bool {
        let arg = self.command.get_arguments().find(|arg| arg.get_id() == id);
        arg.and_then(Arg::get_env).is_some_and(|variable| variable.to_string_lossy().starts_with(PREFIX))
    }

    /// Returns whether the value is not the default.
    pub(super) fn is_given(&self, id: &str) -> bool {
        self.origin(id) > SettingOrigin::Default
    }

    /// Returns the setting's name the way its source spells it.
    pub(super) fn name_in_source(&self, id: &str) -> String {
        match (&self.file, self.origin(id)) {
            (Some(file), SettingOrigin::File) => file.name_of(id),
            _ => {
                let arg = self.command.get_arguments().find(|arg| arg.get_id() == id);
                arg.map_or_else(|| id.to_owned(), |arg| value::name_in_source(arg, self.matches.value_source(id)))
            }
        }
    }
}
