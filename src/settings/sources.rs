use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::file::File;
use super::value;

/// Where a setting's value came from. The greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Default,
    File,
    Environment,
    Flag,
}

/// Tells for each setting where its value came from.
pub(super) struct Sources {
    pub(super) command: Command,
    pub(super) matches: ArgMatches,
    pub(super) file: Option<File>,
}

impl Sources {
    pub(super) fn origin(&self, id: &str) -> Origin {
        match self.matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => Origin::Environment,
            _ if self.file.as_ref().is_some_and(|file| file.has(id)) => Origin::File,
            _ => Origin::Default,
        }
    }

    pub(super) fn is_given(&self, id: &str) -> bool {
        self.origin(id) > Origin::Default
    }

    /// The setting's name the way its source spells it.
    pub(super) fn spelled(&self, id: &str) -> String {
        match (&self.file, self.origin(id)) {
            (Some(file), Origin::File) => file.spelled(id),
            _ => {
                let arg = self.command.get_arguments().find(|arg| arg.get_id() == id);
                arg.map_or_else(|| id.to_owned(), |arg| value::spelled(arg, self.matches.value_source(id)))
            }
        }
    }
}
