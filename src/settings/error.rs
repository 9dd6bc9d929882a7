/// A setting that stops the start. Reads as one line that names the setting the way its source spells
/// it, such as `QUEUE_LIMIT (environment): must be a whole number from 1 to 1000000`.
///
/// It never holds the value: a password may stand in any of them by mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct InvalidSetting {
    setting: String,
    reason: String,
}

impl InvalidSetting {
    pub(super) fn new(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { setting: setting.into(), reason: reason.into() }
    }
}
