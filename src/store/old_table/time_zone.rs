//! The time zone in which an old system wrote dates without one.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use crate::domain::Timestamp;

/// A time zone of the IANA list, such as `Europe/Berlin`. The list is part of the program: a container needs no files.
///
/// When clocks go back, an hour comes twice, and a date in it does not say which one it means: it is read as the first
/// one. When clocks go forward, an hour is left out. A date in it is read as if the clocks had not changed yet:
/// 02:30, which did not exist, as the moment that the clocks called 03:30.
#[derive(Clone, Debug)]
pub struct OldTimeZone {
    /// The name as the list spells it.
    name: String,
    /// `None` is UTC, whose dates need no rule.
    rules: Option<TimeZone>,
}

/// Why a text is no time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a name of the IANA list of time zones, such as Europe/Berlin, Asia/Kolkata or UTC")]
pub struct InvalidTimeZone;

impl OldTimeZone {
    /// UTC.
    pub(crate) fn utc() -> Self {
        Self { name: "UTC".to_owned(), rules: None }
    }

    /// The moment of a date on a clock in this zone. `None` if it is outside the years that the tables can store.
    pub(super) fn moment(&self, date: DateTime) -> Option<Timestamp> {
        match &self.rules {
            None => storable(micros_in_utc(date)),
            Some(rules) => storable(rules.to_ambiguous_timestamp(date).compatible().ok()?.as_microsecond()),
        }
    }

    /// The moment of a date, given as if its clock were in UTC.
    pub(super) fn moment_of_clock(&self, micros: i64) -> Option<Timestamp> {
        if self.rules.is_none() {
            return storable(micros);
        }
        let as_utc = jiff::Timestamp::from_microsecond(micros).ok()?;
        self.moment(Offset::UTC.to_datetime(as_utc))
    }
}

impl FromStr for OldTimeZone {
    type Err = InvalidTimeZone;

    fn from_str(name: &str) -> Result<Self, InvalidTimeZone> {
        if ["utc", "etc/utc", "z"].contains(&name.to_ascii_lowercase().as_str()) {
            return Ok(Self::utc());
        }
        let rules = TimeZoneDatabase::bundled().get(name).map_err(|_| InvalidTimeZone)?;
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Ok(Self { name, rules: Some(rules) })
    }
}

impl Display for OldTimeZone {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// The microseconds since 1970 of a date on a clock in UTC. (`jiff::Timestamp` ends a day before the year 9999 does,
/// which some systems write for "never".)
pub(super) fn micros_in_utc(date: DateTime) -> i64 {
    let since = date.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    since.as_secs() * 1_000_000 + i64::from(since.subsec_micros())
}

/// The earliest and the latest moment that each database can store: the years 1000 to 9999.
const EARLIEST: i64 = -30_610_224_000_000_000;
const LATEST: i64 = 253_402_300_799_999_999;

/// A moment that each database can store.
pub(super) fn storable(micros: i64) -> Option<Timestamp> {
    (EARLIEST..=LATEST).contains(&micros).then_some(Timestamp(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(zone: &str, date: &str) -> Option<String> {
        let zone: OldTimeZone = zone.parse().unwrap();
        let date: DateTime = date.parse().unwrap();
        let moment = zone.moment(date);
        assert_eq!(zone.moment_of_clock(micros_in_utc(date)), moment);
        Some(jiff::Timestamp::from_microsecond(moment?.0).unwrap().to_string())
    }

    #[test]
    fn a_date_is_read_on_the_clocks_of_its_zone() {
        assert_eq!(moment("UTC", "2024-07-01T12:00:00.123456").unwrap(), "2024-07-01T12:00:00.123456Z");
        assert_eq!(moment("Europe/Berlin", "2024-07-01T12:00:00").unwrap(), "2024-07-01T10:00:00Z");
        assert_eq!(moment("Europe/Berlin", "2024-01-01T12:00:00").unwrap(), "2024-01-01T11:00:00Z");
        assert_eq!(moment("Asia/Kolkata", "2024-01-01T12:00:00.000001").unwrap(), "2024-01-01T06:30:00.000001Z");
    }

    #[test]
    fn of_the_hour_that_comes_twice_it_is_the_first() {
        assert_eq!(moment("Europe/Berlin", "2024-10-27T02:30:00").unwrap(), "2024-10-27T00:30:00Z");
        assert_eq!(moment("Europe/Berlin", "2024-10-27T03:00:00").unwrap(), "2024-10-27T02:00:00Z");
    }

    #[test]
    fn in_the_hour_that_is_left_out_the_clocks_have_not_changed_yet() {
        assert_eq!(moment("Europe/Berlin", "2024-03-31T02:30:00").unwrap(), "2024-03-31T01:30:00Z");
        assert_eq!(moment("Europe/Berlin", "2024-03-31T03:30:00").unwrap(), "2024-03-31T01:30:00Z");
    }

    #[test]
    fn only_years_that_each_database_can_store() {
        assert_eq!(moment("UTC", "1000-01-01T00:00:00").unwrap(), "1000-01-01T00:00:00Z");
        let last: DateTime = "9999-12-31T23:59:59.999999".parse().unwrap();
        assert_eq!(OldTimeZone::utc().moment(last), Some(Timestamp(LATEST)));
        assert_eq!((storable(EARLIEST - 1), storable(LATEST + 1)), (None, None));
        assert_eq!(moment("UTC", "0999-12-31T23:59:59"), None);
        assert_eq!(moment("Europe/Berlin", "9999-12-31T23:59:59"), None);
    }

    #[test]
    fn a_zone_has_a_name_of_the_list() {
        let named = |name: &str| name.parse::<OldTimeZone>().map(|zone| zone.to_string());
        assert_eq!(named("europe/berlin"), Ok("Europe/Berlin".to_owned()));
        assert_eq!(named("Etc/UTC"), Ok("UTC".to_owned()));
        for wrong in ["Berlin", "CEST+2", "+02:00", "", "local", "../etc/passwd"] {
            assert_eq!(named(wrong), Err(InvalidTimeZone), "{wrong}");
        }
    }
}
