use chrono::{DateTime, SecondsFormat};

use crate::domain::Timestamp;

/// Returns a moment as RFC 3339 has it.
pub fn moment_text(moment: Timestamp) -> String {
    let moment = DateTime::from_timestamp_micros(moment.0).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Reads a moment in the form of RFC 3339. A part of a microsecond does not count.
///
/// # Errors
/// What is wrong, without the text.
pub fn parse_moment(text: &str) -> Result<Timestamp, String> {
    let moment = DateTime::parse_from_rfc3339(text.trim());
    let moment = moment.map_err(|_| "must be a moment such as 2026-11-27T11:20:41Z".to_owned())?;
    Ok(Timestamp(moment.timestamp_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_as_it_is_printed() {
        let text = "2026-11-27T11:20:41.310214Z";
        assert_eq!(parse_moment(text).map(moment_text), Ok(text.to_owned()));
        assert_eq!(parse_moment("2026-11-27T12:20:41.3102149+01:00").map(moment_text), Ok(text.to_owned()));
        for wrong in ["", "yesterday", "2026-11-27", "2026-11-27T11:20:41", "2026-13-27T11:20:41Z"] {
            assert!(parse_moment(wrong).is_err(), "{wrong}");
        }
    }
}
