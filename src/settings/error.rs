use clap::Error;

/// A wrong setting, which stops the start. It reads as one line, for example
/// `QUEUE_LIMIT (environment): must be a whole number from 1 to 1000000`.
///
/// The line names the setting the way its source spells it. It never holds the value, which may be a password that
/// somebody put there by mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct InvalidSetting {
    setting: String,
    reason: String,
}

impl InvalidSetting {
    pub(crate) fn new(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { setting: setting.into(), reason: reason.into() }
    }
}

/// Why a command line gave no settings.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The command line asks for the help text or the version. Print it and exit with 0.
    #[error("{0}")]
    Help(Error),
    /// A setting is wrong. One line for the operator.
    #[error("{0}")]
    Invalid(#[from] InvalidSetting),
    /// The command line is wrong. One line for the operator.
    #[error("{0}")]
    Usage(String),
}
