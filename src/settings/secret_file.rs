//! Secrets that stand in files of their own, as orchestrators mount them.

use std::fs;
use std::path::Path;

use secrecy::SecretString;

use super::error::InvalidSetting;
use super::sources::Sources;

/// Returns the secret in the file that the setting `id` names, without the line break at its end; `None` if it names
/// none. `direct` is the setting that can have the secret itself.
///
/// # Errors
/// When both settings are given, or when the file cannot be read.
pub(super) fn read(
    path: Option<&Path>,
    id: &str,
    direct: &str,
    sources: &Sources,
) -> Result<Option<SecretString>, InvalidSetting> {
    let Some(path) = path else { return Ok(None) };
    let named = sources.name_in_source(id);
    if sources.is_given(direct) {
        let reason = format!("cannot be given together with {}", sources.name_in_source(direct));
        return Err(InvalidSetting::new(named, reason));
    }
    // Without the path: somebody may have put the secret itself there.
    let text = fs::read_to_string(path)
        .map_err(|error| InvalidSetting::new(named, format!("must be a file that can be read: {error}")))?;
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(Some(secret.into()))
}
