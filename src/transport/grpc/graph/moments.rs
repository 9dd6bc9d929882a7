//! Moments in messages.

use prost_reflect::prost_types;

use crate::domain::Timestamp;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::{FieldPath, FieldProblem};

/// The first second of the year 1, and the last one of the year 9999: what a `google.protobuf.Timestamp` can be.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Returns a moment as a message.
pub(super) fn timestamp(moment: Timestamp) -> prost_types::Timestamp {
    let nanos = moment.0.rem_euclid(1_000_000) * 1_000;
    prost_types::Timestamp {
        seconds: moment.0.div_euclid(1_000_000),
        nanos: i32::try_from(nanos).unwrap_or_default(), // It is less than a second.
    }
}

/// Returns the moment of the field `read_time`, if the request has one. A part of a microsecond does not count.
///
/// # Errors
/// [`FieldProblem::ReadTime`] if it is malformed.
pub(super) fn parse_read_time(given: Option<&prost_types::Timestamp>) -> Result<Option<Timestamp>, ApiError> {
    let Some(prost_types::Timestamp { seconds, nanos }) = given else { return Ok(None) };
    if !SECONDS.contains(seconds) || !(0..1_000_000_000).contains(nanos) {
        return Err(ApiError::of_field(FieldPath::ReadTime, FieldProblem::ReadTime));
    }
    Ok(Some(Timestamp(seconds * 1_000_000 + i64::from(nanos / 1_000))))
}

/// Fails if the moment is later than the clock of the database.
///
/// # Errors
/// [`FieldProblem::ReadTimeLater`].
pub(super) fn check_read_time(at: Option<Timestamp>, now: Timestamp) -> Result<(), ApiError> {
    match at {
        Some(at) if at > now => Err(ApiError::of_field(FieldPath::ReadTime, FieldProblem::ReadTimeLater)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_microseconds_also_before_1970() {
        let parts = |micros| {
            let prost_types::Timestamp { seconds, nanos } = timestamp(Timestamp(micros));
            (seconds, nanos)
        };
        assert_eq!(parts(1_700_000_000_123_456), (1_700_000_000, 123_456_000));
        assert_eq!((parts(0), parts(-1)), ((0, 0), (-1, 999_999_000)));
    }

    #[test]
    fn a_read_time_is_a_moment_up_to_the_present() {
        let parse = |seconds, nanos| parse_read_time(Some(&prost_types::Timestamp { seconds, nanos }));
        assert_eq!(parse_read_time(None), Ok(None));
        for micros in [0, -1, 1_700_000_000_123_456] {
            assert_eq!(parse_read_time(Some(&timestamp(Timestamp(micros)))), Ok(Some(Timestamp(micros))));
        }
        assert_eq!(parse(7, 1_999), Ok(Some(Timestamp(7_000_001))));
        assert!(parse(*SECONDS.start(), 0).is_ok() && parse(*SECONDS.end(), 999_999_999).is_ok());
        for (seconds, nanos) in [
            (0, -1),
            (0, 1_000_000_000),
            (i64::MIN, 0),
            (i64::MAX, 0),
            (SECONDS.end() + 1, 0),
            (SECONDS.start() - 1, 0),
        ] {
            assert!(parse(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
        let now = Timestamp(7);
        for (at, is_good) in [(None, true), (Some(7), true), (Some(-7), true), (Some(8), false)] {
            assert_eq!(check_read_time(at.map(Timestamp), now).is_ok(), is_good, "{at:?}");
        }
    }
}
