//! Dates as text, and as numbers.

use jiff::civil::DateTime;

use super::time_zone::{OldTimeZone, micros_in_utc, storable};
use crate::domain::Timestamp;

/// A date of an old table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldDate {
    /// There is none: null, blank, zero, or MySQL's `0000-00-00`.
    Absent,
    At(Timestamp),
    /// It is no date, or one that the tables cannot store.
    Unreadable,
}

impl OldDate {
    pub(super) fn from_moment(moment: Option<Timestamp>) -> Self {
        moment.map_or(Self::Unreadable, Self::At)
    }

    /// Reads `2024-01-31`, `2024-01-31 10:11:12.345678`, `2024-01-31T10:11:12Z`, `2024-01-31 10:11:12 +02:00`, and a
    /// number in digits. A text without an offset is read on the clocks of this zone.
    ///
    /// Digits behind microseconds are cut off. Words behind the offset are left out: Go's time is
    /// `2024-01-31 10:11:12.5 +0000 UTC`.
    pub(crate) fn from_text(text: &str, zone: &OldTimeZone) -> Self {
        let text = text.trim();
        if text.is_empty() || text == "0" || text.starts_with("0000-00-00") {
            return Self::Absent;
        }
        if text.len() >= MIN_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map_or(Self::Unreadable, Self::from_number);
        }
        Self::from_moment(parse(text.as_bytes(), zone))
    }

    /// Returns whether it takes a time zone to read this text.
    pub(crate) fn needs_zone(text: &str) -> bool {
        let elsewhere = "Asia/Kolkata".parse::<OldTimeZone>();
        elsewhere.is_ok_and(|zone| Self::from_text(text, &zone) != Self::from_text(text, &OldTimeZone::utc()))
    }

    /// Reads seconds, milliseconds, microseconds or nanoseconds since the beginning of 1970. Which of them it is shows
    /// in the size: each unit stands for the years 1973 to 5138. Zero is no date. Other small numbers are unreadable:
    /// a 1 can be a mark, and 20240131 a day.
    pub(super) fn from_number(number: i64) -> Self {
        let micros = match number.unsigned_abs() {
            0 => return Self::Absent,
            1..100_000_000 => return Self::Unreadable,
            100_000_000..100_000_000_000 => number.checked_mul(1_000_000),
            100_000_000_000..100_000_000_000_000 => number.checked_mul(1_000),
            100_000_000_000_000..100_000_000_000_000_000 => Some(number),
            100_000_000_000_000_000.. => Some(number.div_euclid(1_000)),
        };
        Self::from_moment(micros.and_then(storable))
    }

    /// The same for a number with a fraction. SQLite's `julianday()` counts days; its numbers from 1858 to 2132 are
    /// known by their size.
    pub(super) fn from_real(number: f64) -> Self {
        let micros = match number.abs() {
            0.0 => return Self::Absent,
            2_400_000.5..2_500_000.0 if number > 0.0 => (number - JULIAN_DAY_OF_1970) * 86_400e6,
            1e8..1e11 => number * 1e6,
            1e11..1e14 => number * 1e3,
            1e14..1e17 => number,
            _ => return Self::Unreadable,
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most 1e17")]
        Self::from_moment(storable(micros.round() as i64))
    }
}

/// A number with fewer digits, such as `20240131`, can mean too much.
const MIN_DIGITS: usize = 9;

const JULIAN_DAY_OF_1970: f64 = 2_440_587.5;

/// Reads a date and a time. `None` if it is none.
fn parse(text: &[u8], zone: &OldTimeZone) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *date else { return None };
    let year = i16::try_from(digits(&[y0, y1, y2, y3])?).ok()?;
    let (month, day) = (two(m0, m1)?, two(d0, d1)?);
    let (time, rest) = match rest {
        [] => (Time::default(), rest),
        [b' ' | b'T' | b't', rest @ ..] => Time::parse(rest)?,
        _ => return None,
    };
    let clock = DateTime::new(year, month, day, time.hour, time.minute, time.second, time.micros * 1_000).ok()?;
    match offset_seconds(rest.trim_ascii_start())? {
        None => zone.moment(clock),
        Some(seconds) => storable(micros_in_utc(clock) - seconds * 1_000_000),
    }
}

#[derive(Default)]
struct Time {
    hour: i8,
    minute: i8,
    second: i8,
    micros: i32,
}

impl Time {
    /// Reads `10:11`, `10:11:12`, `10:11:12.345`. Returns what stands behind it too.
    fn parse(text: &[u8]) -> Option<(Self, &[u8])> {
        let [h0, h1, b':', m0, m1, rest @ ..] = text else { return None };
        let mut time = Self { hour: two(*h0, *h1)?, minute: two(*m0, *m1)?, ..Self::default() };
        let [b':', s0, s1, rest @ ..] = rest else { return Some((time, rest)) };
        time.second = two(*s0, *s1)?;
        let [b'.' | b',', rest @ ..] = rest else { return Some((time, rest)) };
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (fraction, rest) = rest.split_at(length);
        let mut micros = fraction.iter().chain(&[b'0'; 6]).take(6);
        time.micros = micros.try_fold(0, |micros, byte| Some(micros * 10 + i32::from(byte.checked_sub(b'0')?)))?;
        (length > 0).then_some((time, rest))
    }
}

/// Reads an offset: `Z`, `+02`, `+0200`, `+02:00`, with words behind it. `Some(None)` without one, `None` if it is
/// something else.
#[expect(clippy::option_option, reason = "no offset is not a wrong one")]
fn offset_seconds(text: &[u8]) -> Option<Option<i64>> {
    let (sign, digits) = match text {
        [] => return Some(None),
        b"Z" | b"z" | b"UTC" | b"GMT" => return Some(Some(0)),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes, rest) = match *digits {
        [h0, h1, b':', m0, m1, ref rest @ ..] => (two(h0, h1)?, two(m0, m1)?, rest),
        [h0, h1, m0, m1, ref rest @ ..] if m0.is_ascii_digit() => (two(h0, h1)?, two(m0, m1)?, rest),
        [h0, h1, ref rest @ ..] => (two(h0, h1)?, 0, rest),
        _ => return None,
    };
    let is_end = rest.is_empty() || rest.starts_with(b" ");
    let is_offset = hours <= 18 && minutes < 60 && is_end;
    is_offset.then_some(Some(sign * (i64::from(hours) * 3_600 + i64::from(minutes) * 60)))
}

fn two(tens: u8, ones: u8) -> Option<i8> {
    i8::try_from(digits(&[tens, ones])?).ok()
}

fn digits(text: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    text.iter().try_fold(0, |number, byte| Some(number * 10 + digit(byte)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        read_in("UTC", text)
    }

    fn read_in(zone: &str, text: &str) -> String {
        show(OldDate::from_text(text, &zone.parse().unwrap()))
    }

    fn show(date: OldDate) -> String {
        match date {
            OldDate::At(moment) => jiff::Timestamp::from_microsecond(moment.0).unwrap().to_string(),
            OldDate::Absent => "absent".to_owned(),
            OldDate::Unreadable => "unreadable".to_owned(),
        }
    }

    #[test]
    fn dates_as_other_systems_write_them() {
        for (text, expected) in [
            ("2024-01-31 10:11:12", "2024-01-31T10:11:12Z"), // SQLite, TypeORM
            ("2024-01-31 10:11:12.345", "2024-01-31T10:11:12.345Z"),
            ("2024-01-31 10:11:12.345678", "2024-01-31T10:11:12.345678Z"), // Django, SQLAlchemy
            ("2024-01-31 10:11:12.345000 +00:00", "2024-01-31T10:11:12.345Z"), // Sequelize
            ("2024-01-31T10:11:12.345Z", "2024-01-31T10:11:12.345Z"),      // JavaScript
            ("2024-01-31T10:11:12+02:00", "2024-01-31T08:11:12Z"),
            ("2024-01-31 10:11:12.345678912-05:30", "2024-01-31T15:41:12.345678Z"), // Go
            ("2024-01-31 10:11:12.5 +0000 UTC", "2024-01-31T10:11:12.5Z"),          // Go
            ("2024-01-31 10:11:12.5 +0200 CEST m=+0.01", "2024-01-31T08:11:12.5Z"), // Go
            ("2024-01-31 10:11:12+00", "2024-01-31T10:11:12Z"),                     // PostgreSQL
            ("2024-01-31 10:11:12 UTC", "2024-01-31T10:11:12Z"),                    // Rails
            ("2024-01-31 10:11", "2024-01-31T10:11:00Z"),
            ("2024-01-31", "2024-01-31T00:00:00Z"),
            (" 2024-02-29 00:00:00 ", "2024-02-29T00:00:00Z"),
            ("1706695872", "2024-01-31T10:11:12Z"),
            ("1706695872345", "2024-01-31T10:11:12.345Z"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn only_a_date_without_an_offset_is_on_the_clocks_of_the_zone() {
        assert_eq!(read_in("Europe/Berlin", "2024-07-01 10:00:00"), "2024-07-01T08:00:00Z");
        for text in ["2024-07-01 10:00:00Z", "2024-07-01T12:00:00+02:00", "1719828000"] {
            assert_eq!(read_in("Europe/Berlin", text), "2024-07-01T10:00:00Z", "{text}");
        }
    }

    #[test]
    fn no_date_is_absent() {
        for text in ["", "  ", "0", "0000-00-00", "0000-00-00 00:00:00", "0000-00-00 00:00:00.000000"] {
            assert_eq!(read(text), "absent", "{text:?}");
        }
    }

    #[test]
    fn what_is_no_date_is_unreadable() {
        for text in [
            "2023-02-29 00:00:00",
            "2024-00-10 00:00:00",
            "2024-01-00",
            "2024-13-01",
            "2024-01-31 24:00:00",
            "2024-01-31 10:60:00",
            "2024-01-31 10:11:60",
            "2024-01-31 10:11:12.",
            "2024-01-31 10:11:12 +25:00",
            "2024-01-31 10:11:12+0200x",
            "2024-01-31 10:11:12 Berlin",
            "2024-01-31x",
            "20240131",
            "1",
            "31.01.2024",
            "Wed Jan 31 2024",
            "0999-12-31 00:00:00",
            "99999-01-01",
            "99999999999999999999",
            "now",
            "ä024-01-31",
            "2024-01-3ä",
        ] {
            assert_eq!(read(text), "unreadable", "{text}");
        }
    }

    #[test]
    fn the_unit_of_a_number_shows_in_its_size() {
        for number in [1_706_695_872, 1_706_695_872_000, 1_706_695_872_000_000, 1_706_695_872_000_000_000] {
            assert_eq!(show(OldDate::from_number(number)), "2024-01-31T10:11:12Z", "{number}");
        }
        assert_eq!(show(OldDate::from_number(-100_000_000)), "1966-10-31T14:13:20Z");
        assert_eq!((show(OldDate::from_number(0)), show(OldDate::from_real(0.0))), ("absent".into(), "absent".into()));
        for number in [1, -1, 20_240_131, 99_999_999] {
            assert_eq!(show(OldDate::from_number(number)), "unreadable", "{number}");
        }
        assert_eq!(show(OldDate::from_number(-99_999_999_999)), "unreadable");
        assert_eq!(show(OldDate::from_number(i64::MAX)), "2262-04-11T23:47:16.854775Z");
        assert_eq!(show(OldDate::from_real(1_706_695_872.5)), "2024-01-31T10:11:12.5Z");
        assert_eq!(show(OldDate::from_real(1_706_695_872_500.0)), "2024-01-31T10:11:12.5Z");
        assert_eq!(show(OldDate::from_real(2_460_340.5)), "2024-01-31T00:00:00Z");
        for number in [f64::NAN, f64::INFINITY, 1e18, -1e18, 1.0, -2_460_340.5, 20_240_131.0] {
            assert_eq!(show(OldDate::from_real(number)), "unreadable", "{number}");
        }
    }
}
